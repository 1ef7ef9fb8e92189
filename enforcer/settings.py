"""What the node's administrator settles: a YAML file with camelCase keys, and ZONEBRIDGE_* over it.

Only `enforcer.cli` loads it. All faults are told at once, each with its path; secrets are named here, never held.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    ByteSize,
    Field,
    IPvAnyNetwork,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from enforcer import destinations
from enforcer.destinations import DestinationSettings
from enforcer.errors import SettingsError
from enforcer.generations import ALL_BITS, LEAST_BITS, Marks
from enforcer.reconcile import Failure
from enforcer.ruleset import Mode
from enforcer.section import MIB, Name, Seconds, Section, host_and_port

PREFIX = "ZONEBRIDGE_"


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class SpoolSettings(Section):
    """`dir` defaults to `<stateDir>/spool`. `sync_seconds`: how often what was written is forced to the disk."""

    dir: Path | None = None
    max_bytes: Annotated[ByteSize, Field(ge=MIB)] = ByteSize(512 * MIB)
    segment_bytes: Annotated[ByteSize, Field(ge=64 * 1024)] = ByteSize(8 * MIB)
    sync_seconds: Seconds = 0.5

    @model_validator(mode="after")
    def _several_segments(self) -> Self:
        if self.segment_bytes * 2 > self.max_bytes:
            raise ValueError("segmentBytes must be at most half of maxBytes")
        return self


class FlowSettings(Section):
    """Packets of one connection and rule within `window_seconds` are one flow record."""

    window_seconds: Seconds = 5.0
    max_entries: Annotated[int, Field(ge=1)] = 50_000
    labels: tuple[str, ...] = ()


class AlertSettings(Section):
    """A repeated alert is counted for `window_seconds`; `stale_seconds` without the API server is worth an alert."""

    window_seconds: Seconds = 60.0
    max_entries: Annotated[int, Field(ge=1)] = 10_000
    stale_seconds: Seconds = 300.0


class MetricsSettings(Section):
    """Where metrics and health are served; no address, no server."""

    address: str | None = None

    @field_validator("address")
    @classmethod
    def _host_and_port(cls, address: str | None) -> str | None:
        if address is not None:
            host_and_port(address)
        return address


class LogSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: LogFormat = LogFormat.JSON


class NflogSettings(Section):
    """The NFLOG group that this enforcer alone reads, and what holds floods off: the kernel's limit, then the buffer.

    `rate` and `burst` are records a second for each rule and direction.
    """

    group: Annotated[int, Field(ge=1, le=65535)] = 9470
    rate: Annotated[int, Field(ge=1)] = 50
    burst: Annotated[int, Field(ge=1)] = 200
    buffer_bytes: Annotated[ByteSize, Field(ge=64 * 1024)] = ByteSize(16 * MIB)


class LoopSettings(Section):
    """The kernel is written at most every `min_seconds`, and looked over at least every `max_seconds`.

    Looking over where nothing has changed costs microseconds; what somebody else changed is put back by then.
    """

    min_seconds: Annotated[float, Field(ge=0)] = 0.02
    max_seconds: Seconds = 2.0


class Settings(Section):
    """Everything. `tier` is the Tier to follow; `kubeconfig` absent is the pod's own service account.

    `pod_networks`: the prefixes that pods get addresses from where the nodes' podCIDRs don't tell.
    `connection_mark`: the bits of the connection mark that are ours; 0: no bit is, and every packet is judged.
    """

    cluster: Name
    tier: Name = "panorama"
    node_name: Name
    kubeconfig: Path | None = None
    pod_networks: tuple[IPvAnyNetwork, ...] = ()
    connection_mark: int = Marks().mask
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

    @field_validator("connection_mark")
    @classmethod
    def _enough_bits(cls, mask: int) -> int:
        if not 0 <= mask <= ALL_BITS or (mask and mask.bit_count() < LEAST_BITS):
            raise ValueError(f"must be 0, or {LEAST_BITS} bits or more of 32, such as 0xff000000")
        return mask

    @property
    def spool_dir(self) -> Path:
        return self.spool.dir or self.state_dir / "spool"


def load(path: Path | None, environment: Mapping[str, str]) -> Settings:
    """The settings of a file with the environment over it. Raises SettingsError with every fault."""
    where = "the environment" if path is None else str(path)
    given = _merged({} if path is None else _read(path), _from_environment(environment))
    given.setdefault("nodeName", environment.get("NODE_NAME") or socket.gethostname())
    found = tuple(destinations.faults(given.get("destinations", ()), environment))
    try:
        settings = Settings.model_validate(given)
    except ValidationError as error:
        raise SettingsError(where, (*_faults(error), *found)) from error
    if found:
        raise SettingsError(where, found)
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
        elif at == 0 or not (isinstance(location[at - 1], int) and part in destinations.TYPES):
            text += f".{part}" if text else part
    return text
