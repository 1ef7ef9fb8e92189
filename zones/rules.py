"""A manager's rulebase, vendor-free: rules in evaluation order with every name already looked up.

What a manager could not look up or express is not dropped here but carried along as an `Unresolved`, for the compiler
to judge. A manager's parser makes these values; `zones.compile` reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from zones.net import ALL_PORTS, NO_ADDRESS, AddressSet, Ranges
from zones.schedule import Schedule


class Action(StrEnum):
    """What a rule does, in PAN-OS's words."""

    ALLOW = "allow"
    DENY = "deny"
    DROP = "drop"
    RESET_CLIENT = "reset-client"
    RESET_SERVER = "reset-server"
    RESET_BOTH = "reset-both"


class RuleType(StrEnum):
    """How a rule pairs its zones: every pair, each zone with itself, or only unequal ones."""

    UNIVERSAL = "universal"
    INTRAZONE = "intrazone"
    INTERZONE = "interzone"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a rule stands at the manager. `rulebase`: pre, post, default or infrastructure."""

    name: str
    uuid: str | None
    rulebase: str
    device_group: str


@dataclass(frozen=True, slots=True)
class Log:
    """Which flow logs a rule wants, and the log forwarding profile that decides which alerts leave."""

    start: bool = False
    end: bool = False
    profile: str | None = None


NO_LOG = Log()


@dataclass(frozen=True, slots=True)
class Unresolved:
    """A member of a list that stands for nothing known, or for what this tier can't express. `why` is a clause.

    `widened` is what `k8s-widen` takes for it where that is narrower than dropping the whole condition.
    """

    name: str
    why: str
    widened: tuple[L4, ...] = ()


@dataclass(frozen=True, slots=True)
class AddressObject:
    """An address object or group, flattened.

    `feeds` names the FQDNs and EDLs whose content is given at compile time; `hollow` says that some part of it (an
    empty group, at any depth) holds nothing, `hint` what could have been there, as a clause.
    """

    name: str
    space: AddressSet = NO_ADDRESS
    feeds: tuple[str, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    hollow: bool = False
    hint: str = ""


class FeedKind(StrEnum):
    """Where a feed's content comes from: a name in the DNS, a list of addresses, a list of names in the DNS.

    PROVIDED: a manager's vendor gives it to firewalls only; its content is known where a user gives it.
    """

    FQDN = "fqdn"
    IP_LIST = "ip"
    DOMAIN_LIST = "domain"
    PROVIDED = "provided"


class Period(StrEnum):
    """How often a list is fetched again, in PAN-OS's words."""

    FIVE_MINUTE = "five-minute"
    HOURLY = "hourly"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


@dataclass(frozen=True, slots=True)
class Recurring:
    """When a list is fetched: from daily on at an `hour`, on a `day` of the week (0 Monday) or month (1 to 31)."""

    period: Period = Period.HOURLY
    hour: int = 0
    day: int = 0


HOURLY = Recurring()


@dataclass(frozen=True, slots=True)
class Feed:
    """Addresses that change without a commit: at `location`, a host name or a URL, without the `exceptions`."""

    name: str
    kind: FeedKind
    location: str
    recurring: Recurring = HOURLY
    exceptions: tuple[str, ...] = ()
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True)
class Addresses:
    """A rule's source or destination: alternatives, or any; `negate` inverts the whole list."""

    members: tuple[AddressObject, ...] = ()
    any: bool = False
    negate: bool = False


EVERYWHERE = Addresses(any=True)


@dataclass(frozen=True, slots=True)
class L4:
    """A protocol (IANA number) with destination and source ports, or an ICMP type."""

    protocol: int
    ports: Ranges = ALL_PORTS
    source_ports: Ranges = ALL_PORTS
    icmp_type: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A service object or group, flattened to its alternatives."""

    name: str
    traffic: tuple[L4, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()


class ServiceChoice(StrEnum):
    """The two services that are words, not objects."""

    ANY = "any"
    APPLICATION_DEFAULT = "application-default"


Services = ServiceChoice | tuple[Service, ...]


@dataclass(frozen=True, slots=True)
class Application:
    """An App-ID. A workload application selects pods by name; a predefined one is its default ports.

    `namespaces`: those that its workload is in; none is any. `disabled`: an administrator has switched it off, so that
    no traffic is recognised as it.
    """

    name: str
    workload: str | None
    ports: tuple[L4, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    disabled: bool = False
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Applications:
    """A rule's applications, groups and filters flattened; `unresolved` are members that are defined nowhere."""

    members: tuple[Application, ...] = ()
    unresolved: tuple[Unresolved, ...] = ()
    any: bool = False


EVERY_APPLICATION = Applications(any=True)


@dataclass(frozen=True, slots=True)
class TargetFirewalls:
    """The firewalls a rule is for: these serials, or all but these."""

    serials: frozenset[str]
    negate: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One security rule.

    `conditions` narrow the rule in ways this tier can't express (user, HIP, URL category, an unknown element);
    `malformed` says what is missing or wrong in the rule itself; `notes` have no effect on the verdict.
    `number`: its place in its rulebase with the inherited rules, from 1, as Panorama shows it.
    `from_zones`/`to_zones` None is any. `description`: why it is there, in its administrators' words.
    """

    origin: Origin
    action: Action | None
    rule_type: RuleType = RuleType.UNIVERSAL
    from_zones: frozenset[str] | None = None
    to_zones: frozenset[str] | None = None
    sources: Addresses = EVERYWHERE
    destinations: Addresses = EVERYWHERE
    applications: Applications = EVERY_APPLICATION
    services: Services = ServiceChoice.ANY
    schedule: Schedule | Unresolved | None = None
    disabled: bool = False
    target: TargetFirewalls | None = None
    tags: frozenset[str] = frozenset()
    log: Log = NO_LOG
    conditions: tuple[str, ...] = ()
    malformed: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    number: int = 0
    description: str = ""


@dataclass(frozen=True, slots=True)
class Rulebase:
    """What applies to one device group: its rules in evaluation order, then the two default rules.

    `zones` are the zones the manager knows, those named only in rules included. `feeds` are those that rules draw on.
    """

    device_group: str
    rules: tuple[Rule, ...]
    intrazone: Rule
    interzone: Rule
    zones: frozenset[str]
    feeds: tuple[Feed, ...] = ()
