"""Where records go, as the settings file says it; and what is wrong with it before anything is sent.

It opens the files that are named, to tell at once what doesn't hold; it connects to nothing.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from zones.runtime import settings_file
from zones.runtime.settings_file import Formerly
from zones.runtime.types import MIB, Address, Name, Seconds, Section
from zones.seen import COUNTING, SEEN
from zones.siem.alerts import AlertKind
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.protocols.syslog import Framing

KINDS = ("flow", "alert", "checkpoint", SEEN, COUNTING, *AlertKind)
_PRIVATE_KEY = "PRIVATE KEY-----"


class Records(StrEnum):
    """Which records a destination gets. ALL: flows and alerts. SEEN: what is counted for the bridge."""

    ALL = "all"
    ALERTS = "alerts"
    FLOWS = "flows"
    SEEN = "seen"

    def wants(self, kind: str) -> bool:
        return kind in _KINDS_OF[self]


_KINDS_OF = {
    Records.ALL: frozenset({"flow", "alert"}),
    Records.ALERTS: frozenset({"alert"}),
    Records.FLOWS: frozenset({"flow"}),
    Records.SEEN: frozenset({SEEN, COUNTING}),
}


def _with_host_and_port(url: str) -> str:
    parts = urlsplit(url)
    if not parts.hostname or parts.username is not None or parts.query or parts.fragment or parts.port == 0:
        raise ValueError("must be http(s)://HOST:PORT/PATH without a user or a query")
    return url


Url = Annotated[str, Field(pattern=r"^https?://[!-~]+$"), AfterValidator(_with_host_and_port)]


def _one_for_all(value: object) -> object:
    return dict.fromkeys(("flow", "alert"), value) if isinstance(value, str) else value


def _known_kinds(value: Mapping[str, str]) -> Mapping[str, str]:
    for name in value:
        if name not in KINDS:
            raise ValueError(f"'{name}' is no kind of record; there are {', '.join(KINDS)}")
    return value


# One word for all records, or one for each kind: `{flow: pan:traffic, alert: pan:system, tier-refused: pan:config}`.
ByKind = Annotated[dict[str, str], BeforeValidator(_one_for_all), AfterValidator(_known_kinds)]


def chosen(words: Mapping[str, str], record: Mapping[str, Any]) -> str | None:
    """The word for a record: the alert's own before that for alerts in general."""
    return words.get(record.get("alert", ""), words.get(record["kind"]))


class _Destination(Section):
    """What every destination has: a name, which records it gets, and their format."""

    name: Name
    records: Records = Records.ALL
    format: FormatName = FormatName.JSON

    @model_validator(mode="after")
    def _carried(self) -> Self:
        if self.records is Records.SEEN and self.format is not FormatName.JSON:
            raise ValueError("what was seen is in the format json alone: leave out format")
        if not FORMATS[self.format].alerts and self.records is not Records.FLOWS:
            raise ValueError(f"the format {self.format} is for flows only: set records: flows")
        return self


class _TlsDestination(_Destination):
    """`cert_file` and `key_file`: what we show to a receiver that asks for a certificate."""

    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("keyFile is the key of a certificate: give certFile too")
        return self


class HecSettings(_TlsDestination):
    """A Splunk HTTP Event Collector. The token is in a file or an environment variable, never in this file."""

    type: Literal["hec"]
    url: Url
    token_file: Path | None = None
    token_env: str | None = None
    index: ByKind = Field(default_factory=dict)
    source: str = "zonebridge"
    sourcetype: ByKind = Field(default_factory=dict)
    batch_bytes: Annotated[ByteSize, Field(ge=1024, le=50 * MIB)] = ByteSize(900_000)
    timeout_seconds: Annotated[Seconds, Formerly("timeoutSeconds")] = Field(default=30.0, alias="timeout")
    acknowledge: bool = False
    in_flight: Annotated[int, Field(ge=1, le=256)] = 64

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.token_file is None) == (self.token_env is None):
            raise ValueError("give either tokenFile or tokenEnv")
        return self


class SyslogSettings(_TlsDestination):
    """A syslog receiver, RFC 5424 over TLS, or over plain TCP where `tls` is false.

    `framing`: `newline` for receivers that read lines (Fluent Bit, Logstash, OpenTelemetry's default).
    """

    type: Literal["syslog"]
    address: Address
    tls: bool = True
    server_name: str | None = None
    facility: Annotated[int, Field(ge=0, le=23)] = 16
    severities: dict[
        Literal["informational", "low", "medium", "high", "critical", "allow", "deny"],
        Annotated[int, Field(ge=0, le=7)],
    ] = Field(default_factory=dict)
    structured_data: bool = False
    framing: Framing = Framing.OCTET_COUNTED
    timeout_seconds: Annotated[Seconds, Formerly("timeoutSeconds")] = Field(default=30.0, alias="timeout")

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.structured_data and self.format is not FormatName.JSON:
            raise ValueError("structuredData is a form of the record itself: leave out format, or structuredData")
        if not self.tls and (self.ca_file or self.cert_file):
            raise ValueError("caFile and certFile are for TLS: leave them out, or tls: false")
        return self


class FileSettings(_Destination):
    """Lines into a file, or to standard output with the path `-`."""

    type: Literal["file"]
    path: str


class CloudWatchSettings(_TlsDestination):
    """A stream of Amazon CloudWatch Logs; the node's own where `stream` doesn't name one. The group must be there."""

    type: Literal["cloudwatch"]
    region: Annotated[str, Field(pattern=r"^[a-z]{2}(-[a-z]+)+-\d$")]
    group: Annotated[str, Field(pattern=r"^[A-Za-z0-9_./#-]{1,512}$")]
    stream: Annotated[str, Field(pattern=r"^[^:*]{1,512}$")] | None = None
    url: Url | None = None
    timeout_seconds: Annotated[Seconds, Formerly("timeoutSeconds")] = Field(default=30.0, alias="timeout")


DestinationSettings = Annotated[
    HecSettings | SyslogSettings | FileSettings | CloudWatchSettings, Field(discriminator="type")
]
_ONE: TypeAdapter[DestinationSettings] = TypeAdapter(DestinationSettings)


def faults(content: object, environment: Mapping[str, str]) -> Iterator[str]:
    """What no schema can tell: names given twice, and secrets and certificates that aren't there or don't hold.

    It looks at each destination that is right in itself, whatever else is wrong in the file.
    """
    if not isinstance(content, Iterable) or isinstance(content, str):
        return
    listed = list(content)
    yield from _twice([item.get("name") for item in listed if isinstance(item, Mapping)])
    for at, item in enumerate(listed):
        try:
            settings = _ONE.validate_python(item)
        except ValidationError:
            continue
        for name, fault in (*_secrets(settings, environment), *_certificates(settings)):
            yield f"destinations[{at}].{name}: {fault}"


def _twice(names: list[object]) -> Iterator[str]:
    for name in sorted({str(name) for name in names if name is not None and names.count(name) > 1}):
        yield f"destinations: two have the name '{name}'; each needs its own"


def _secrets(settings: DestinationSettings, environment: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, path in settings_file.files(settings):
        if not path.is_file():
            yield name, f"there is no file {path}"
    yield from settings_file.unset_variables(settings, environment)


def _certificates(settings: DestinationSettings) -> Iterator[tuple[str, str]]:
    if not isinstance(settings, _TlsDestination):
        return
    if settings.ca_file is not None and settings.ca_file.is_file():
        fault = _authority_fault(settings.ca_file)
        if fault:
            yield "caFile", fault
    if settings.cert_file is not None and settings.cert_file.is_file():
        key = settings.key_file or settings.cert_file
        fault = _pair_fault(settings.cert_file, key) if key.is_file() else ""
        if fault:
            yield "certFile", fault


def _authority_fault(path: Path) -> str:
    try:
        context = ssl.create_default_context(cafile=str(path))
    except (ssl.SSLError, OSError) as error:
        return f"{path} has no certificate that can be read: {_reason(error)}"
    ends = [str(certificate["notAfter"]) for certificate in context.get_ca_certs()]
    if ends and all(ssl.cert_time_to_seconds(end) < time.time() for end in ends):
        return f"the certificates in {path} have all expired, the last one on {ends[-1]}"
    return ""


def _pair_fault(certificate: Path, key: Path) -> str:
    try:
        if f"ENCRYPTED {_PRIVATE_KEY}" in key.read_text("ascii"):
            return f"the key in {key} is encrypted: give one that isn't"
        ssl.create_default_context().load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError, UnicodeDecodeError) as error:
        return f"{certificate} with the key {key} can't be used: {_reason(error)}"
    return ""


def _reason(error: Exception) -> str:
    reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or error
    return " ".join(str(reason).replace("_", " ").split())
