"""What the node's administrator settles: a YAML file with camelCase keys, and ZONEBRIDGE_* over it.

Only `enforcer.cli` loads it. All faults are told at once, each with its path; secrets are named here, never held.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import (
    BeforeValidator,
    ByteSize,
    Field,
    IPvAnyNetwork,
    ValidationError,
    field_validator,
    model_validator,
)

from enforcer.rules.connmark import ALL_BITS, LEAST_BITS, ConnmarkLayout
from enforcer.rules.options import Failure, Mode
from enforcer.settings.detection import DetectionSettings
from enforcer.shipping.spool import Drop
from enforcer.state_file import STATE_DIR
from zones.runtime import settings_file
from zones.runtime.errors import SettingsError
from zones.runtime.settings_file import Formerly, UnreadableSettingsError
from zones.runtime.types import MIB, Address, LogSettings, Name, Seconds, Section, SettingsFile, seconds
from zones.siem import destinations
from zones.siem.configuration import checked_link
from zones.siem.destinations import DestinationSettings, Records


class SpoolSettings(Section):
    """`dir` defaults to `<stateDir>/spool`. `sync_seconds`: how often what was written is forced to the disk.

    `drop`: which records go above `max_bytes`, those that wait longest or the latest.
    """

    dir: Path | None = None
    max_bytes: Annotated[ByteSize, Field(ge=MIB)] = ByteSize(1024 * MIB)
    segment_bytes: Annotated[ByteSize, Field(ge=64 * 1024)] = ByteSize(8 * MIB)
    sync_seconds: Annotated[Seconds, Formerly("syncSeconds")] = Field(default=0.5, alias="syncInterval")
    drop: Drop = Drop.OLDEST

    @model_validator(mode="after")
    def _several_segments(self) -> Self:
        if self.segment_bytes * 2 > self.max_bytes:
            raise ValueError("segmentBytes must be at most half of maxBytes")
        return self


class FlowSettings(Section):
    """Packets of one connection and rule within `window_seconds` are one flow record.

    Of at most `max_connections` at a time the end is told, where the rule wants that.
    """

    window_seconds: Annotated[Seconds, Formerly("windowSeconds")] = Field(default=5.0, alias="window")
    max_entries: Annotated[int, Field(ge=1)] = 50_000
    max_connections: Annotated[int, Field(ge=1)] = 262_144
    labels: tuple[str, ...] = ()


class AlertSettings(Section):
    """A repeated alert is counted for `window_seconds`; `stale_seconds` without the API server is worth an alert.

    Denied flows have at most `max_entries` alerts of their own at a time, and `per_source` for one rule and source.
    `per_second` and `burst` bound all alerts of the node. `link`: where the site shows a revision.
    """

    window_seconds: Annotated[Seconds, Formerly("windowSeconds")] = Field(default=60.0, alias="window")
    max_entries: Annotated[int, Field(ge=1)] = 10_000
    per_source: Annotated[int, Field(ge=1)] = 20
    per_second: Annotated[float, Field(gt=0)] = 20.0
    burst: Annotated[int, Field(ge=10)] = 200
    stale_seconds: Annotated[Seconds, Formerly("staleSeconds")] = Field(default=300.0, alias="staleAfter")
    link: Annotated[str, Field(max_length=1024)] | None = None

    @field_validator("link")
    @classmethod
    def _an_address_with_places(cls, link: str | None) -> str | None:
        return None if link is None else checked_link(link)


class SeenSettings(Section):
    """What is counted where a destination has `records: seen`: connections by their ends and rule.

    Told each `window_seconds`, in at most twice `max_rows` rows.
    """

    window_seconds: Annotated[float, BeforeValidator(seconds), Field(ge=1, le=86_400), Formerly("windowSeconds")] = (
        Field(default=300.0, alias="window")
    )
    max_rows: Annotated[int, Field(ge=100, le=100_000)] = 2_000


class PodEventSettings(Section):
    """Kubernetes Events on this node's pods: why a connection was refused. `rules`: whether they name the rule.

    `per_minute`: written Events of the node; `per_pod`: different denials that one pod is told at a time.
    """

    enabled: bool = True
    rules: bool = True
    per_minute: Annotated[int, Field(ge=1, le=600)] = 30
    per_pod: Annotated[int, Field(ge=1, le=100)] = 5


class EnforcementSettings(Section):
    """Where `mode: enforce` holds, step by step: on nodes with all of these labels, for zones that are named here.

    Absent: on every node, for every zone. Elsewhere what would be denied is only logged.
    """

    node_selector: dict[str, str] | None = None
    zones: tuple[str, ...] | None = None

    @model_validator(mode="after")
    def _not_nothing(self) -> Self:
        if self.node_selector == {} or self.zones == ():
            raise ValueError("an empty nodeSelector or list of zones enforces nothing; say mode: observe for that")
        return self


class MetricsSettings(Section):
    """Where metrics and health are served; no address, no server."""

    address: Address | None = None


class NflogSettings(Section):
    """The NFLOG group that this enforcer alone reads, and what holds floods off: the kernel's limit, then the buffer.

    `rate` and `burst` are records a second for each source; a `rate` of 0 is no limit.
    """

    group: Annotated[int, Field(ge=1, le=65535)] = 9470
    rate: Annotated[int, Field(ge=0)] = 1000
    burst: Annotated[int, Field(ge=1)] = 10_000
    buffer_bytes: Annotated[ByteSize, Field(ge=64 * 1024)] = ByteSize(16 * MIB)


class LoopSettings(Section):
    """The kernel is written at most every `min_seconds`, and looked over at least every `max_seconds`.

    Looking over where nothing has changed costs microseconds; what somebody else changed is put back by then.
    """

    min_seconds: Annotated[float, BeforeValidator(seconds), Field(ge=0), Formerly("minSeconds")] = Field(
        default=0.02, alias="minInterval"
    )
    max_seconds: Annotated[Seconds, Formerly("maxSeconds")] = Field(default=2.0, alias="maxInterval")


class KubeletSettings(Section):
    """Asking the node's own kubelet for its configuration, for the posture. `address`: where it serves `/configz`.

    `server_name`: the name in its certificate; the node's without it.
    """

    ask: bool = False
    address: Address = "127.0.0.1:10250"
    server_name: str | None = None
    ca_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")
    token_file: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    interval: Annotated[float, BeforeValidator(seconds), Field(ge=10)] = 300.0


class EnforcerSettings(SettingsFile):
    """Everything. `tier` is the Tier to follow; `kubeconfig` absent is the pod's own service account.

    `pod_networks`: the prefixes that pods get addresses from where the nodes' podCIDRs don't tell.
    `service_networks`: the prefixes that Services get addresses from.
    `uplinks`: the links behind which there are no pods of this node, by name or pattern; none: they are found.
    `connection_mark`: the bits of the connection mark that are ours; 0: no bit is, and every packet is judged.
    """

    cluster: Name
    tier: Name = "panorama"
    node_name: Name
    kubeconfig: Path | None = None
    pod_networks: tuple[IPvAnyNetwork, ...] = ()
    service_networks: tuple[IPvAnyNetwork, ...] = ()
    uplinks: tuple[Annotated[str, Field(pattern=r'^[^\s/"]{1,15}$')], ...] = ()
    connection_mark: int = ConnmarkLayout().mask
    mode: Mode = Mode.ENFORCE
    enforcement: EnforcementSettings = EnforcementSettings()
    failure: Failure = Failure.CLOSED
    state_dir: Path = STATE_DIR
    spool: SpoolSettings = SpoolSettings()
    flows: FlowSettings = FlowSettings()
    seen: SeenSettings = SeenSettings()
    alerts: AlertSettings = AlertSettings()
    detection: DetectionSettings | None = None
    pod_events: PodEventSettings = PodEventSettings()
    metrics: MetricsSettings = MetricsSettings()
    kubelet: KubeletSettings = KubeletSettings()
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
    def counts_seen(self) -> bool:
        """Whether anybody wants to know what was seen."""
        return any(destination.records is Records.SEEN for destination in self.destinations)

    @property
    def spool_dir(self) -> Path:
        return self.spool.dir or self.state_dir / "spool"


def load(path: Path | None, environment: Mapping[str, str]) -> EnforcerSettings:
    """The settings of a file with the environment over it. Raises SettingsError with every fault."""
    where = "the environment" if path is None else str(path)
    try:
        text = settings_file.read_for(EnforcerSettings, path, environment)
    except UnreadableSettingsError as error:
        raise SettingsError(error.where, (error.fault,)) from error
    content = text.merged()
    content.setdefault("nodeName", environment.get("NODE_NAME") or socket.gethostname())
    faults = tuple(destinations.faults(content.get("destinations", ()), environment))
    try:
        settings = EnforcerSettings.noted(content, text.notices)
    except ValidationError as error:
        raise SettingsError(where, (*settings_file.faults(error), *faults)) from error
    if faults:
        raise SettingsError(where, faults)
    return settings
