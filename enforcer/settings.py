"""What the node's administrator settles: a YAML file with camelCase keys, and ZONEBRIDGE_* over it.

Only `enforcer.cli` loads it. All faults are told at once, each with its path; secrets are named here, never held.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ByteSize,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from enforcer.errors import SettingsError
from enforcer.reconcile import Failure
from enforcer.ruleset import Mode

PREFIX = "ZONEBRIDGE_"
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
Seconds = Annotated[float, Field(gt=0)]
_MIB = 2**20


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True
    )


class SpoolSettings(_Section):
    """`dir` defaults to `<stateDir>/spool`. `sync_seconds`: how often what was written is forced to the disk."""

    dir: Path | None = None
    max_bytes: Annotated[ByteSize, Field(ge=_MIB)] = ByteSize(512 * _MIB)
    segment_bytes: Annotated[ByteSize, Field(ge=64 * 1024)] = ByteSize(8 * _MIB)
    sync_seconds: Seconds = 0.5

    @model_validator(mode="after")
    def _several_segments(self) -> Self:
        if self.segment_bytes * 2 > self.max_bytes:
            raise ValueError("segmentBytes must be at most half of maxBytes")
        return self


class FlowSettings(_Section):
    """Packets of one connection and rule within `window_seconds` are one flow record."""

    window_seconds: Seconds = 5.0
    max_entries: Annotated[int, Field(ge=1)] = 50_000
    labels: tuple[str, ...] = ()


class AlertSettings(_Section):
    """A repeated alert is counted for `window_seconds`; `stale_seconds` without the API server is worth an alert."""

    window_seconds: Seconds = 60.0
    max_entries: Annotated[int, Field(ge=1)] = 10_000
    stale_seconds: Seconds = 300.0


class MetricsSettings(_Section):
    """Where metrics and health are served; no address, no server."""

    address: str | None = None

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        if address is not None:
            host_and_port(address)
        return address


class LogSettings(_Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: LogFormat = LogFormat.JSON


class NflogSettings(_Section):
    """The NFLOG group that this enforcer alone reads, and what holds floods off: the kernel's limit, then the buffer.

    `rate` and `burst` are records a second for each rule and direction.
    """

    group: Annotated[int, Field(ge=1, le=65535)] = 9470
    rate: Annotated[int, Field(ge=1)] = 50
    burst: Annotated[int, Field(ge=1)] = 200
    buffer_bytes: Annotated[ByteSize, Field(ge=64 * 1024)] = ByteSize(16 * _MIB)


class LoopSettings(_Section):
    """The kernel is written at most every `min_seconds`, and looked over at least every `max_seconds`.

    Looking over where nothing has changed costs microseconds; what somebody else changed is put back by then.
    """

    min_seconds: Annotated[float, Field(ge=0)] = 0.05
    max_seconds: Seconds = 2.0


class Records(StrEnum):
    """Which records a destination gets."""

    ALL = "all"
    ALERTS = "alerts"
    FLOWS = "flows"


class _Destination(_Section):
    name: Name
    records: Records = Records.ALL


class HecSettings(_Destination):
    """A Splunk HTTP Event Collector. The token is in a file or an environment variable, never in this file."""

    type: Literal["hec"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/.*)?$")]
    token_file: Path | None = None
    token_env: str | None = None
    ca_file: Path | None = None
    index: str | None = None
    source: str = "zonebridge"
    sourcetype: str | None = None
    batch_bytes: Annotated[ByteSize, Field(ge=1024, le=50 * _MIB)] = ByteSize(900_000)
    timeout_seconds: Seconds = 30.0
    acknowledge: bool = False

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if (self.token_file is None) == (self.token_env is None):
            raise ValueError("give either tokenFile or tokenEnv")
        return self


class SyslogSettings(_Destination):
    """A syslog receiver, RFC 5424 in octet-counted frames over TLS, or over plain TCP where `tls` is false."""

    type: Literal["syslog"]
    address: str
    tls: bool = True
    ca_file: Path | None = None
    server_name: str | None = None
    facility: Annotated[int, Field(ge=0, le=23)] = 16
    structured_data: bool = False
    timeout_seconds: Seconds = 30.0

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str) -> str:
        host_and_port(address)
        return address


class FileSettings(_Destination):
    """JSON lines into a file, or to standard output with the path `-`."""

    type: Literal["file"]
    path: str


DestinationSettings = Annotated[HecSettings | SyslogSettings | FileSettings, Field(discriminator="type")]


class Settings(_Section):
    """Everything. `tier` is the Tier to follow; `kubeconfig` absent is the pod's own service account.

    `pod_networks`: the prefixes that pods get addresses from where the nodes' podCIDRs don't tell.
    """

    cluster: Name
    tier: Name = "panorama"
    node_name: Name
    kubeconfig: Path | None = None
    pod_networks: tuple[IPvAnyNetwork, ...] = ()
    mode: Mode = Mode.ENFORCE
    failure: Failure = Failure.CLOSED
    state_dir: Path = Path("/var/lib/zonebridge")
    spool: SpoolSettings = SpoolSettings()
    flows: FlowSettings = FlowSettings()
    alerts: AlertSettings = AlertSettings()
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    nflog: NflogSettings = NflogSettings()
    reconcile: LoopSettings = LoopSettings()
    destinations: tuple[DestinationSettings, ...] = ()

    @model_validator(mode="after")
    def _names_once(self) -> Self:
        names = [destination.name for destination in self.destinations]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"destinations: two have the name '{twice[0]}'; each needs its own")
        return self

    @property
    def spool_dir(self) -> Path:
        return self.spool.dir or self.state_dir / "spool"


def host_and_port(address: str) -> tuple[str, int]:
    """`127.0.0.1:9469` or `[::1]:9469`. Raises ValueError."""
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:\s]+)):(\d{1,5})", address)
    if found is None or not int(found[3]) < 2**16:
        raise ValueError("must be HOST:PORT, an IPv6 address in brackets")
    return found[1] or found[2], int(found[3])


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """The settings of a file with the environment over it. Raises SettingsError with every fault."""
    where = "the environment" if path is None else str(path)
    given = _merged({} if path is None else _read(path), _from_environment(environment))
    given.setdefault("nodeName", environment.get("NODE_NAME") or socket.gethostname())
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(where, tuple(_faults(error))) from error
    missing = tuple(_missing_secrets(settings, environment))
    if missing:
        raise SettingsError(where, missing)
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(str(path), (f"can't be read: {error.strerror}; name the settings file with -c",)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(str(path), (f"is not YAML: {' '.join(str(error).split())}",)) from error
    if content is not None and not isinstance(content, dict):
        raise SettingsError(str(path), ("must be a mapping of settings",))
    return content or {}


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """ZONEBRIDGE_SPOOL__MAX_BYTES is spool.maxBytes. Kubernetes' own ZONEBRIDGE_SERVICE_HOST and such are not ours."""
    given: dict[str, Any] = {}
    for variable, text in sorted(environment.items()):
        if not variable.startswith(PREFIX):
            continue
        first, *rest = variable.removeprefix(PREFIX).lower().split("__")
        if first in Settings.model_fields:
            value: Any = yaml.safe_load(text) if text.startswith(("[", "{")) else text
            for part in reversed([first, *rest]):
                value = {to_camel(part): value}
            given = _merged(given, value)
    return given


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        held = merged.get(key)
        merged[key] = _merged(held, value) if isinstance(held, dict) and isinstance(value, dict) else value
    return merged


def _faults(error: ValidationError) -> Iterable[str]:
    for each in error.errors(include_url=False, include_input=False):
        path = _path(each["loc"])
        message = each["msg"].removeprefix("Value error, ")
        message = "is not a setting" if each["type"] == "extra_forbidden" else message
        yield f"{path}: {message}" if path else message


def _path(location: tuple[int | str, ...]) -> str:
    """`destinations[0].url`; a union's own tag, which pydantic puts after the index, is no key of the file."""
    text = ""
    for at, part in enumerate(location):
        if isinstance(part, int):
            text += f"[{part}]"
        elif at == 0 or not (isinstance(location[at - 1], int) and part in {"hec", "syslog", "file"}):
            text += f".{part}" if text else part
    return text


def _missing_secrets(settings: Settings, environment: Mapping[str, str]) -> Iterable[str]:
    """Files and variables that the settings name but that aren't there."""
    for at, destination in enumerate(settings.destinations):
        for name in ("token_file", "ca_file"):
            path = getattr(destination, name, None)
            if path is not None and not path.is_file():
                yield f"destinations[{at}].{to_camel(name)}: there is no file {path}"
        if (
            isinstance(destination, HecSettings)
            and destination.token_env
            and not environment.get(destination.token_env)
        ):
            yield f"destinations[{at}].tokenEnv: the environment variable {destination.token_env} is not set"
