"""What a site settles: the models of the bridge's one settings file, camelCase in YAML.

They hold and check values only; `bridge.settings.file` reads the file and the environment, `bridge.cli` asks for it.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, timedelta
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    IPvAnyAddress,
    PlainValidator,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bridge.guard_rail import GuardRail, parse_traffic
from bridge.posture.catalogue import BY_ID
from bridge.posture.exceptions import PostureException
from zones.compile import AppIdSide, DenyByPorts, OnInexpressibleDeny
from zones.infrastructure import ApiServerEnds, api_server_rules
from zones.net import AddressSet, IPNetwork, Ranges
from zones.policy import InfrastructureRule, usual_infrastructure
from zones.runtime.settings_file import Formerly
from zones.runtime.types import Address, Duration, LogSettings, Section, SettingsFile, duration
from zones.siem.configuration import checked_link
from zones.siem.destinations import ByKind, Url
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.protocols.syslog import Framing
from zones.workload import normalise
from zones.zone import QUARANTINE, Entitlement, Zoning

_IN_TAGS = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")


def _prefix(value: object) -> IPNetwork:
    try:
        return ip_network(str(value))
    except ValueError as error:
        raise ValueError(f"{error}; write a prefix like 10.0.0.0/8 or 2001:db8::/32") from None


DaysUnused = Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(days=1), le=timedelta(days=3650))]
TagTimeout = Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(minutes=1), le=timedelta(days=30))]
Prefix = Annotated[IPNetwork, PlainValidator(_prefix)]
# A Tier's name starts the names of its parts, which end in a dash and 32 digits.
TierName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
LabelKey = Annotated[
    str, Field(pattern=r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=317)
]
Text = Annotated[str, Field(min_length=1, max_length=253)]
Share = Annotated[float, Field(ge=0, le=1)]


def _or_variable(file: Path | None, info: ValidationInfo) -> Path | None:
    if (file is None) == (info.data.get("token_env") is None):
        raise ValueError("give either tokenFile or tokenEnv")
    return file


# Beside a field `token_env`, which stands before it.
TokenFile = Annotated[Path | None, AfterValidator(_or_variable)]
Port = Annotated[int, Field(ge=1, le=65535)]


class _Credentials(Section):
    """An API key or a password: in a file, or in an environment variable, which may be ZONEBRIDGE_…__API_KEY."""

    api_key_file: Path | None = None
    api_key_env: Text | None = None
    api_key: SecretStr | None = None
    username: Text | None = None
    password_file: Path | None = None
    password_env: Text | None = None
    password: SecretStr | None = None

    @property
    def keys(self) -> int:
        """How many API keys there are."""
        return sum(secret is not None for secret in (self.api_key_file, self.api_key_env, self.api_key))

    @property
    def passwords(self) -> int:
        return sum(secret is not None for secret in (self.password_file, self.password_env, self.password))


class PanoramaSettings(_Credentials):
    """One Panorama, or its HA peers."""

    hosts: Annotated[tuple[Text, ...], Field(min_length=1)]
    ca_file: Path | None = None
    verify: bool = True
    timeout: Duration = timedelta(seconds=15)
    deadline: Duration = timedelta(minutes=5)
    poll_interval: Duration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if self.keys + self.passwords != 1:
            raise ValueError("give exactly one of apiKeyFile, passwordFile (with username), or their environment form")
        if (self.username is None) != (self.passwords == 0):
            raise ValueError("username and passwordFile belong together")
        return self


class ClusterSettings(Section):
    """One cluster, which is one device group. `zones` are the zones this cluster has; without them every zone counts.

    `serial` is the identity that answers a rule's target.
    """

    name: Text
    device_group: Text
    kubeconfig: Path | None = None
    context: Text | None = None
    in_cluster: bool = False
    tier: TierName = "panorama"
    serial: Text | None = None
    zones: tuple[Text, ...] | None = None
    namespace: TierName = "zonebridge-system"

    @model_validator(mode="after")
    def _one_way_in(self) -> Self:
        if (self.kubeconfig is None) != self.in_cluster:
            raise ValueError("give either kubeconfig or inCluster: true")
        if self.context is not None and self.kubeconfig is None:
            raise ValueError("context goes with kubeconfig")
        return self


class ZoneSettings(Section):
    """How the members of a zone are known. `entitlement`: what namespaces without the annotation may use."""

    label_key: LabelKey = "zonebridge.io/zone"
    default: Text = "default"
    nodes: Text = "nodes"
    outside: Text = "outside"
    networks: dict[Text, tuple[Prefix, ...]] = Field(default_factory=dict)
    entitlement: Entitlement = Entitlement.STRICT

    @field_validator("default", "nodes", "outside")
    @classmethod
    def _not_reserved(cls, zone: str) -> str:
        if zone == QUARANTINE:
            raise ValueError(f"the zone '{zone}' is for pods that a Quarantine names; choose another one")
        return zone

    @field_validator("networks")
    @classmethod
    def _none_reserved(cls, networks: dict[str, tuple[Prefix, ...]]) -> dict[str, tuple[Prefix, ...]]:
        if QUARANTINE in networks:
            raise ValueError(f"no prefix is in the zone '{QUARANTINE}', which is for pods that a Quarantine names")
        return networks

    @field_validator("networks")
    @classmethod
    def _one_zone_each(cls, networks: dict[str, tuple[Prefix, ...]]) -> dict[str, tuple[Prefix, ...]]:
        counted = Counter(prefix for prefixes in networks.values() for prefix in set(prefixes))
        twice = [str(prefix) for prefix, times in counted.items() if times > 1]
        if twice:
            raise ValueError(f"{', '.join(twice)} is in more than one zone")
        return networks

    def zoning(self) -> Zoning:
        return Zoning.of(
            {zone: list(prefixes) for zone, prefixes in self.networks.items()},
            entitlement=self.entitlement,
            label_key=self.label_key,
            default=self.default,
            nodes=self.nodes,
            outside=self.outside,
        )


class AppIdSettings(Section):
    """`side`: which end of a flow a custom application names. `deny_by_ports`: what denies of predefined ones do."""

    side: AppIdSide = AppIdSide.DESTINATION
    deny_by_ports: DenyByPorts = DenyByPorts.APPLY


class ObjectSettings(Section):
    """`ancestors_win`: Panorama's setting that an ancestor's object takes precedence.

    `wildcard_top_down`: the firewalls' Wildcard Top Down Match Mode.
    """

    ancestors_win: bool = False
    wildcard_top_down: bool = False


class FeedSettings(Section):
    """How FQDNs are resolved and external lists fetched. `nameservers`: instead of the machine's own.

    `provided`: where the site has what Palo Alto Networks gives to firewalls only, by name: a URL or a file.
    """

    nameservers: tuple[IPvAnyAddress, ...] = ()
    ca_file: Path | None = None
    timeout: Duration = timedelta(seconds=10)
    max_bytes: Annotated[ByteSize, Field(ge=1024)] = ByteSize(32 * 2**20)
    max_entries: Annotated[int, Field(ge=1)] = 150_000
    max_names: Annotated[int, Field(ge=1)] = 1_000
    provided: dict[str, str] = Field(default_factory=dict)

    @field_validator("provided")
    @classmethod
    def _locations(cls, value: dict[str, str]) -> dict[str, str]:
        for name, location in value.items():
            if not (name.startswith("panw-") and name.endswith("-list")):
                raise ValueError(f"'{name}' is none of Palo Alto Networks' lists; they are called panw-…-list")
            if not location.startswith(("https://", "http://", "/")):
                raise ValueError(f"{name}: '{location}' is neither a URL nor the path of a file from the root")
        return value


class DnsSettings(Section):
    namespaces: tuple[Text, ...] = ("kube-system",)
    workloads: tuple[Text, ...] = ("coredns", "kube-dns", "node-local-dns")


class ApiServerSettings(Section):
    """The rules `infrastructure/api-server` and `from-api-server`. `false` is `{enabled: false}`.

    `addresses`: besides those that the cluster tells. `webhook_namespaces`: where the API server reaches pods; anywhere
    without it.
    """

    enabled: bool = True
    addresses: tuple[Prefix, ...] = ()
    ports: tuple[Port, ...] = ()
    webhook_namespaces: tuple[Text, ...] | None = None

    @model_validator(mode="before")
    @classmethod
    def _on_or_off(cls, value: object) -> object:
        return {"enabled": value} if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _with_ports(self) -> Self:
        if self.addresses and not self.ports:
            raise ValueError("addresses need ports: where the API server listens, as ports: [6443]")
        return self

    def ends(self) -> ApiServerEnds:
        """What is known of the API server without asking the cluster."""
        return ApiServerEnds(AddressSet.of(self.addresses), Ranges.of((port, port) for port in self.ports))

    def rules(self) -> tuple[InfrastructureRule, ...]:
        """The rules that follow from the settings alone, as offline commands show them."""
        namespaces = None if self.webhook_namespaces is None else frozenset(self.webhook_namespaces)
        return api_server_rules(self.ends(), namespaces) if self.enabled else ()


class OwnWorkloadSettings(Section):
    """Which pods are the bridge, where it can't tell by its own pod."""

    namespace: Text | None = None
    workload: Text | None = None


class InfrastructureSettings(Section):
    """What a cluster can't live without. `enabled: false` leaves even probes, DNS and the bridge to the rulebase."""

    enabled: bool = True
    system_namespaces: tuple[Text, ...] = ("kube-system",)
    system_workloads: tuple[Text, ...] = ("konnectivity-agent",)
    dns: DnsSettings = DnsSettings()
    api_server: ApiServerSettings = ApiServerSettings()
    bridge: OwnWorkloadSettings = OwnWorkloadSettings()

    def rules(self) -> tuple[InfrastructureRule, ...]:
        if not self.enabled:
            return ()
        return usual_infrastructure(
            frozenset(self.system_namespaces),
            frozenset(self.dns.namespaces),
            frozenset(map(normalise, self.dns.workloads)),
            frozenset(map(normalise, self.system_workloads)),
        )


class PopulationSettings(Section):
    """What enforcers are told of other nodes' pods besides zone and workload: the labels that their records carry."""

    labels: Annotated[tuple[LabelKey, ...], Field(max_length=16)] = ()


class RuleTagSettings(Section):
    """Tags on the device group's own rules, which tell what the cluster does with them.

    `unused_for`: whole days without a hit; `interval`: between two looks, each of which may be a commit.
    """

    unused_for: DaysUnused = timedelta(days=90)
    interval: Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(hours=1))] = timedelta(days=1)

    @field_validator("unused_for")
    @classmethod
    def _whole_days(cls, value: timedelta) -> timedelta:
        if value % timedelta(days=1):
            raise ValueError("the tag's name counts whole days; write one like 90d")
        return value


class RegistrationSettings(_Credentials):
    """What the bridge may write to Panorama; without `enabled`, nothing.

    `username` is the administrator that it writes as. Without a secret of its own it uses that of `panorama`.
    """

    enabled: bool = False
    device_group: bool = True
    parent: Text | None = None
    tags: bool = True
    addresses: bool = True
    services: bool = True
    quarantined: bool = False
    labels: Annotated[tuple[LabelKey, ...], Field(max_length=16)] = ("app.kubernetes.io/name", "app")
    timeout: TagTimeout | None = None
    max_addresses: Annotated[int, Field(ge=1, le=500_000)] = 500_000
    resync: Duration = timedelta(minutes=5)
    rule_tags: RuleTagSettings | None = None

    @model_validator(mode="after")
    def _as_somebody(self) -> Self:
        if self.enabled and self.username is None:
            raise ValueError("username is missing; it says which administrator's changes are committed, and no others'")
        if self.keys + self.passwords > 1:
            raise ValueError("give at most one of apiKeyFile, passwordFile, or their environment form")
        return self


class GuardSettings(Section):
    """What is too reckless to publish: no rule at all, more than this share of the rules gone at once, no way out.

    `allow_cut_off`: whether a revision may cut off the bridge itself.
    """

    max_deleted_share: Share = 0.5
    allow_empty: bool = False
    allow_cut_off: bool = False


class GuardRailSettings(Section):
    """What must never be allowed between two zones. `allow`: `never`, or the traffic that may be, as `[tcp/443]`."""

    from_zone: Text = Field(alias="from")
    to_zone: Text = Field(alias="to")
    allow: Literal["never"] | tuple[Text, ...] = "never"

    @field_validator("allow")
    @classmethod
    def _readable(cls, value: Literal["never"] | tuple[str, ...]) -> Literal["never"] | tuple[str, ...]:
        for text in () if value == "never" else value:
            parse_traffic(text)
        return value

    def rail(self) -> GuardRail:
        traffic = () if self.allow == "never" else tuple(map(parse_traffic, self.allow))
        return GuardRail(self.from_zone, self.to_zone, traffic)


class HistorySettings(Section):
    """Which revisions stay: so many at most, and for so long after another one took their place (None: for ever).

    `link`: where the site shows a revision, for alerts.
    """

    keep: Annotated[int, Field(ge=2, le=1_000)] = 100
    max_age: Duration | None = None
    link: Annotated[str, Field(max_length=1024)] | None = None

    @field_validator("link")
    @classmethod
    def _an_address_with_places(cls, link: str | None) -> str | None:
        return None if link is None else checked_link(link)


class _AlertDestination(Section):
    """`cert_file` and `key_file`: what we show to a receiver that asks for a certificate."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    timeout: Duration = timedelta(seconds=10)

    @model_validator(mode="after")
    def _key_of_a_certificate(self) -> Self:
        if self.key_file is not None and self.cert_file is None:
            raise ValueError("keyFile is the key of a certificate: give certFile too")
        return self


class _TokenSettings(Section):
    """For fields `token_env` and `token_file`: that neither is there is a fault of `tokenFile`, beside all others."""

    @model_validator(mode="before")
    @classmethod
    def _asked_for(cls, value: object) -> object:
        if isinstance(value, dict) and not value.keys() & {"tokenFile", "token_file"}:
            return {"tokenFile": None} | value
        return value


class HecDestination(_AlertDestination, _TokenSettings):
    """A Splunk HTTP Event Collector."""

    type: Literal["hec"]
    url: Url
    token_env: Text | None = None
    token_file: TokenFile = None
    index: ByKind = Field(default_factory=dict)
    source: Text = "zonebridge"
    sourcetype: ByKind = Field(default_factory=dict)


class SyslogDestination(_AlertDestination):
    """A syslog receiver, RFC 5424 over TLS, or over plain TCP where `tls` is false.

    `framing`: `newline` for receivers that read lines (Fluent Bit, Logstash, OpenTelemetry's default).
    """

    type: Literal["syslog"]
    address: Address
    format: FormatName = FormatName.JSON
    framing: Framing = Framing.OCTET_COUNTED
    tls: bool = True
    server_name: Text | None = None
    facility: Annotated[int, Field(ge=0, le=23)] = 16

    @field_validator("format")
    @classmethod
    def _for_alerts(cls, name: FormatName) -> FormatName:
        if not FORMATS[name].alerts:
            raise ValueError(f"the format {name} is for flows only, and the bridge has none")
        return name


class SiemSettings(Section):
    """Where the bridge's own alerts go (tier tampered with, revision refused, sync stale …).

    `queue`: how many may wait for a destination.
    """

    log: bool = True
    kubernetes_events: bool = True
    destinations: tuple[Annotated[HecDestination | SyslogDestination, Field(discriminator="type")], ...] = ()
    queue: Annotated[int, Field(ge=1)] = 1_000

    @field_validator("destinations")
    @classmethod
    def _names_once(
        cls, destinations: tuple[HecDestination | SyslogDestination, ...]
    ) -> tuple[HecDestination | SyslogDestination, ...]:
        twice = [name for name, times in Counter(destination.name for destination in destinations).items() if times > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' is the name of more than one destination")
        return destinations


class ServingSettings(Section):
    """Where /healthz, /readyz and /metrics are served; null serves none."""

    address: Address | None = "0.0.0.0:9468"


class _ListenerSettings(_TokenSettings):
    """Where others call, with a token. Without a certificate something before us ends TLS."""

    address: Address
    token_env: Text | None = None
    token_file: TokenFile = None
    cert_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _a_pair(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile belong together")
        return self


class PreviewSettings(_ListenerSettings):
    """Where /preview is served, and how often it is looked whether Panorama's candidate differs."""

    interval: Duration = timedelta(minutes=1)


class WakeUpSettings(_ListenerSettings):
    """Where Panorama's HTTP log forwarding may say 'look now'. Without a certificate something before us ends TLS."""


class CollectorSettings(_ListenerSettings):
    """Where nodes tell what they saw. Without a certificate something before us ends TLS."""


class EvidenceSettings(Section):
    """The evidence database. `url`: `sqlite:////FILE`, or `postgresql://USER@HOST/NAME`.

    `retention`: how long days, and all intervals but those of pods, are kept.
    """

    url: Annotated[str, Field(pattern=r"^(sqlite:///|postgresql://).+$")]
    password_file: Path | None = None
    password_env: Text | None = None
    retention: Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(days=1))] = timedelta(days=400)
    pod_retention: Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(days=1))] = timedelta(days=90)
    collector: CollectorSettings | None = None

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str) -> str:
        if urlsplit(url).password is not None:
            raise ValueError("a secret must not stand in this file; put it in a file and name that as passwordFile")
        return url

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password_file is not None and self.password_env is not None:
            raise ValueError("give either passwordFile or passwordEnv")
        return self


class QuarantineListenerSettings(Section):
    """Where a SOAR asks for quarantines: with a token, with a certificate of `client_ca_file`, or with both.

    `clients`: the names of certificates that may; without them all of that authority's. `per_minute`: calls let in.
    """

    address: Address
    token_env: Text | None = None
    token_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    client_ca_file: Path | None = None
    clients: tuple[Text, ...] = ()
    per_minute: Annotated[int, Field(ge=1, le=600)] = 30

    @model_validator(mode="after")
    def _somebody_known(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("certFile and keyFile belong together")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("clientCaFile needs certFile and keyFile: certificates are shown over TLS of our own")
        if self.token_file is not None and self.token_env is not None:
            raise ValueError("give tokenFile or tokenEnv, not both")
        if self.token_file is None and self.token_env is None and self.client_ca_file is None:
            raise ValueError("give tokenFile, clientCaFile, or both: nobody else may ask")
        if self.clients and self.client_ca_file is None:
            raise ValueError("clients are names of certificates: give clientCaFile")
        return self


class QuarantineTag(Section):
    """A tag in Panorama by which pods are put into quarantine, whose registered address it is on."""

    name: Annotated[str, Field(min_length=1, max_length=127, pattern=r"^[^\x00-\x1f\x7f\"'<>&]+$")]
    interval: Duration = timedelta(seconds=10)


class QuarantineSettings(Section):
    """How quarantines come about besides by people. `duration`: how long, where nobody says.

    `workload_budget` and `cluster_budget`: in percent of their pods, what needs no approval.
    """

    duration: Annotated[timedelta, BeforeValidator(duration), Field(ge=timedelta(seconds=1), le=timedelta(days=7))] = (
        timedelta(hours=4)
    )
    workload_budget: Annotated[int, Field(ge=0, le=100)] = 50
    cluster_budget: Annotated[int, Field(ge=0, le=100)] = 10
    tag: QuarantineTag | None = None
    listener: QuarantineListenerSettings | None = None

    @property
    def lasting(self) -> str:
        """The duration as a Quarantine has it."""
        return f"{int(self.duration.total_seconds())}s"


class PostureExceptionSettings(Section):
    """What somebody answers for until a day: the violations of a check by an object, as they are shown."""

    check: Text
    object: Text
    owner: Text
    reason: Text
    until: date

    @field_validator("check")
    @classmethod
    def _known(cls, check: str) -> str:
        if check not in BY_ID:
            raise ValueError(f"there is no check '{check}'; zonebridge posture lists them")
        return check

    def exception(self) -> PostureException:
        return PostureException(self.check, self.object, self.owner, self.reason, self.until)


class PostureSettings(Section):
    """`benchmark`: of which version numbers are cited. `system_namespaces`: whose pods are not judged as workloads.

    `watch`: the bridge looks all the time, and tells the SIEM of every change of a result.
    """

    watch: bool = False
    benchmark: Literal["1.12.0", "2.0.1"] = "2.0.1"
    system_namespaces: tuple[Text, ...] = ("kube-system",)
    enforcer_namespace: Text = "zonebridge-enforcer"
    exceptions: tuple[PostureExceptionSettings, ...] = ()


class StartupTaint(StrEnum):
    """What the bridge does with zonebridge.io/agent-not-ready on a node whose enforcer is ready."""

    LEAVE = "leave"
    REMOVE = "remove"


class LeaseSettings(Section):
    """How two bridges agree on one. `duration`: how long the other waits after the leader's last sign.

    `renew_deadline`: how long a leader goes on that can't renew; two thirds of the duration unless given.
    """

    duration: Duration = timedelta(seconds=15)
    renew_deadline: Duration | None = None
    renew: Duration = timedelta(seconds=2)

    @property
    def deadline(self) -> timedelta:
        return self.duration * 2 / 3 if self.renew_deadline is None else self.renew_deadline

    @model_validator(mode="after")
    def _renewed_in_time(self) -> Self:
        if self.deadline >= self.duration:
            raise ValueError("renewDeadline must be less than duration: a leader has to stop before another begins")
        if self.renew * 4 > self.deadline * 3:
            raise ValueError("renew must be at most three quarters of renewDeadline, half of duration without one")
        return self


class BridgeSettings(SettingsFile):
    """Everything. `panorama` and `clusters` are only missing where a command works offline."""

    panorama: PanoramaSettings | None = None
    clusters: tuple[ClusterSettings, ...] = ()
    zones: ZoneSettings = ZoneSettings()
    app_id: AppIdSettings = AppIdSettings()
    inexpressible_deny: OnInexpressibleDeny = OnInexpressibleDeny.REFUSE
    objects: ObjectSettings = ObjectSettings()
    time_zone: str = "UTC"
    feeds: FeedSettings = FeedSettings()
    infrastructure: InfrastructureSettings = InfrastructureSettings()
    population: PopulationSettings = PopulationSettings()
    registration: RegistrationSettings = RegistrationSettings()
    guards: GuardSettings = GuardSettings()
    guardrails: tuple[GuardRailSettings, ...] = ()
    history: HistorySettings = HistorySettings()
    stale_after: Duration = timedelta(minutes=10)
    siem: SiemSettings = SiemSettings()
    metrics: Annotated[ServingSettings, Formerly("serving")] = ServingSettings()
    wake_up: WakeUpSettings | None = None
    preview: PreviewSettings | None = None
    quarantine: QuarantineSettings | None = None
    evidence: EvidenceSettings | None = None
    posture: PostureSettings = PostureSettings()
    lease: LeaseSettings = LeaseSettings()
    startup_taint: StartupTaint = StartupTaint.LEAVE
    log: LogSettings = LogSettings()

    @field_validator("time_zone")
    @classmethod
    def _known_time_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"'{name}' is no time zone; write one like Europe/Berlin") from None
        return name

    @field_validator("clusters")
    @classmethod
    def _names_once(cls, clusters: tuple[ClusterSettings, ...]) -> tuple[ClusterSettings, ...]:
        twice = [name for name, times in Counter(cluster.name for cluster in clusters).items() if times > 1]
        if twice:
            raise ValueError(f"'{twice[0]}' is the name of more than one cluster")
        return clusters

    @model_validator(mode="after")
    def _names_fit_tags(self) -> Self:
        tagged = self.registration.enabled and self.registration.addresses
        for at, cluster in enumerate(self.clusters):
            if tagged and not _IN_TAGS.fullmatch(cluster.name):
                raise ValueError(
                    f"clusters[{at}].name: with registration '{cluster.name}' becomes a part of tags in Panorama; use "
                    "letters, digits, '-' and '_' only, 40 at most"
                )
        return self

    @model_validator(mode="after")
    def _one_cluster_tags_a_rule(self) -> Self:
        groups = Counter(cluster.device_group for cluster in self.clusters)
        twice = [group for group, times in groups.items() if times > 1]
        if twice and self.registration.enabled and self.registration.rule_tags is not None:
            raise ValueError(
                f"registration.ruleTags: '{twice[0]}' is the device group of more than one cluster, and each would put "
                "other tags on its rules; give each cluster a device group of its own, or leave ruleTags out"
            )
        return self

    def cluster_of(self, device_group: str) -> ClusterSettings | None:
        """The first cluster of a device group."""
        return next((cluster for cluster in self.clusters if cluster.device_group == device_group), None)
