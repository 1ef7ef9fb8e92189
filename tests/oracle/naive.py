"""What a Panorama configuration means, by the slowest way there is: for each flow, walk all rules in order.

Written from the specification and the facts about PAN-OS alone, as a witness against the compiler: it shares no code
with it. No sets, no caching: every name is looked up anew, every list is walked for the one address, port or zone.
"""

# Where the specification is silent this takes the product's reading: a widened deny is `enforced` (or at L4); a site
# that ignores inexpressible denies ignores malformed ones too, but no unknown action; an allow of which nothing is left
# is `not enforced`; an empty group inside a negated group counts as an empty member, a mere circle does not; a
# schedule with one unreadable window is unknown; a wildcard of more than 65,536 ranges can't be expressed; a rule
# without `log-end` logs at the end, a default rule doesn't.

from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address, ip_network

from tests.oracle.literals import UNRESOLVED, has_port, within
from tests.oracle.names import Names, default_traffic, members, text

ENFORCED, AT_L4, IN_PART = "enforced", "enforced at L4", "enforced in part"
NOT_APPLICABLE, NOT_ENFORCED = "not applicable", "not enforced"
VERDICTS = {"allow": "allow", "deny": "deny", "drop": "deny"} | dict.fromkeys(
    ("reset-client", "reset-server", "reset-both"), "reset"
)
DEFAULTS = {"intrazone-default": "allow", "interzone-default": "deny"}
OF_A_LINK = tuple(map(ip_network, ("169.254.0.0/16", "127.0.0.0/8", "fe80::/10", "::1/128")))
FOR_MANY = tuple(map(ip_network, ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")))
LISTS = ("from", "to", "source", "destination", "application", "service")
ONLY_ANY = (
    "source-user", "category", "source-hip", "destination-hip", "hip-profiles",
    "source-imsi", "source-imei", "source-nw-slice", "saas-user-list", "saas-tenant-list",
)  # fmt: skip
NO_EFFECT = (
    "target", "action", "rule-type", "negate-source", "negate-destination", "disabled", "icmp-unreachable",
    "disable-inspect", "schedule", "tag", "group-tag", "description", "log-start", "log-end", "log-setting",
    "profile-setting", "option", "qos",
)  # fmt: skip


@dataclass(frozen=True)
class Site:
    """What the settings say. `side`: destination, source or either; `inexpressible_deny`: refuse, widen or ignore."""

    serial: str | None = None
    cluster_zones: tuple[str, ...] | None = None
    side: str = "destination"
    inexpressible_deny: str = "refuse"
    deny_by_ports: str = "apply"
    ancestors_win: bool = False
    time_zone: str = "UTC"
    parents: dict = field(default_factory=dict)
    wildcard_top_down: bool = False
    flat: bool = False
    registered: dict = field(default_factory=dict)
    feeds: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Flow:
    from_zone: str
    to_zone: str
    source: str
    destination: str
    source_workload: str
    destination_workload: str
    source_namespace: str
    destination_namespace: str
    protocol: int
    port: int
    source_port: int
    icmp_type: int
    at: datetime


@dataclass(frozen=True)
class Judgement:
    """One rule's status; `refuses` the revision; `applied` at all; `widened` without what can't be expressed."""

    status: str
    refuses: bool = False
    applied: bool = False
    widened: bool = False


class Naive:
    def __init__(self, config, group, site):
        self.site = site
        self.names = Names(config, group, site)
        self.judged = [(rule, self.judge(rule)) for rule in self.rules()]

    def rules(self):
        """Shared's pre rules, down to the group's; then the group's post rules, up to Shared's."""
        levels = self.names.levels
        pre = [rule for level in levels[::-1] for rule in level.findall("pre-rulebase/security/rules/entry")]
        return pre + [rule for level in levels for rule in level.findall("post-rulebase/security/rules/entry")]

    def origin(self, rule):
        """(name, rulebase, device group) of a rule."""
        for level in self.names.levels:
            for rulebase in ("pre", "post"):
                if any(rule is each for each in level.findall(f"{rulebase}-rulebase/security/rules/entry")):
                    return rule.get("name"), rulebase, level.get("name", "Shared")
        raise LookupError(rule.get("name"))

    def zones(self):
        """The zones that are known: those of templates, and those that a rule names."""
        found = [entry.get("name") for zone in self.names.config.iter("zone") for entry in zone]
        for rule in self.rules():
            found += members(rule, "from")
            found += [] if text(rule, "rule-type") == "intrazone" else members(rule, "to")
        return set(found) - {"any", ""}

    def statuses(self):
        """(origin, status, whether it refuses the revision) of every rule in order, then of the default rules."""
        rules = [(self.origin(rule), judgement.status, judgement.refuses) for rule, judgement in self.judged]
        defaults = [(name, self.default_judgement(name)) for name in DEFAULTS]
        return rules + [((name, "default", None), each.status, each.refuses) for name, each in defaults]

    def decide(self, flow):
        """(verdict, origin, log), whatever the flow: the default rules match all that is left."""
        closed = never(flow)
        if closed is not None:
            return "deny", (closed, "infrastructure", ""), (False, False, None)
        for rule, judgement in self.judged:
            if judgement.applied and self.matches(rule, flow, judgement.widened):
                log = text(rule, "log-start") == "yes", text(rule, "log-end") != "no", text(rule, "log-setting") or None
                return VERDICTS[text(rule, "action")], self.origin(rule), log
        name = "intrazone-default" if flow.from_zone == flow.to_zone else "interzone-default"
        start, end = (self.default(name, tag, "no") == "yes" for tag in ("log-start", "log-end"))
        log = start, end, self.default(name, "log-setting", None)
        return VERDICTS[self.default(name, "action", DEFAULTS[name])], (name, "default", None), log

    def default(self, name, attribute, otherwise):
        """What the nearest override of a default rule says of one attribute."""
        for rule in self.overrides(name):
            if text(rule, attribute):
                return text(rule, attribute)
        return otherwise

    def overrides(self, name):
        path = "post-rulebase/default-security-rules/rules/entry"
        return [rule for level in self.names.levels for rule in level.findall(path) if rule.get("name") == name]

    def default_judgement(self, name):
        """Without its default rules no revision is whole."""
        strange = any(strange_element(child, NO_EFFECT) for rule in self.overrides(name) for child in rule)
        if strange or self.default(name, "action", DEFAULTS[name]) not in VERDICTS:
            return Judgement(NOT_ENFORCED, refuses=True)
        return Judgement(ENFORCED, applied=True)

    # What becomes of a rule.

    def judge(self, rule):
        if not self.applicable(rule):
            return Judgement(NOT_APPLICABLE)
        action = text(rule, "action")
        broken, whole, partly = self.malformed(rule) or action not in VERDICTS, self.narrowed(rule), self.lost(rule)
        if action == "allow":
            return self.judge_allow(rule, whole=broken or whole, partly=partly)
        too_much = self.site.deny_by_ports == "refuse" and self.level(rule) == AT_L4
        if not (broken or whole or partly or too_much):
            return Judgement(self.level(rule), applied=True)
        widen = "k8s-widen" in members(rule, "tag") or self.site.inexpressible_deny == "widen"
        if widen and not broken:
            return Judgement(self.level(rule), applied=True, widened=True)
        ignored = self.site.inexpressible_deny == "ignore" and action in VERDICTS
        return Judgement(NOT_ENFORCED, refuses=not ignored)

    def judge_allow(self, rule, whole, partly):
        if whole:
            return Judgement(NOT_ENFORCED)
        if partly:
            return Judgement(NOT_ENFORCED) if self.nothing_left(rule) else Judgement(IN_PART, applied=True)
        return Judgement(self.level(rule), applied=True)

    def level(self, rule):
        """At L4 where an App-ID is reduced to ports."""
        applications = members(rule, "application")
        if "any" in applications:
            return AT_L4 if "application-default" in services(rule) else ENFORCED
        kinds = [leaf[0] for name in applications for leaf in self.names.application_leaves(name)]
        return AT_L4 if "predefined" in kinds else ENFORCED

    def applicable(self, rule):
        if text(rule, "disabled") == "yes" or "k8s-ignore" in members(rule, "tag"):
            return False
        return self.targeted(rule) and self.here(rule)

    def targeted(self, rule):
        serials = [entry.get("name") for entry in rule.findall("target/devices/entry")]
        if not serials:
            return True
        return (self.site.serial in serials) != (text(rule, "target/negate") == "yes")

    def here(self, rule):
        """Whether one side of the rule can be a zone of the cluster; a side that is missing could be any."""
        cluster = self.site.cluster_zones
        sides = ["from"] if text(rule, "rule-type") == "intrazone" else ["from", "to"]
        return cluster is None or any(listed(rule, tag, zone) for tag in sides for zone in cluster)

    def malformed(self, rule):
        kind = text(rule, "rule-type") or "universal"
        needed = [tag for tag in LISTS if tag != "to" or kind != "intrazone"]
        mixed = "application-default" in services(rule) and services(rule) != ["application-default"]
        return (
            kind not in {"universal", "intrazone", "interzone"}
            or mixed
            or any(not members(rule, tag) or "" in members(rule, tag) for tag in needed)
        )

    def narrowed(self, rule):
        """Whether the whole rule is narrower than can be expressed: conditions, a negated list, a schedule."""
        return (
            self.conditions(rule)
            or any(self.negate_trouble(rule, tag) for tag in ("source", "destination"))
            or (self.schedule_trouble(rule))
        )

    def conditions(self, rule):
        known = (*LISTS, *ONLY_ANY, *NO_EFFECT)
        if any(strange_element(child, known) for child in rule) or rule.find("target/tags/member") is not None:
            return True
        return any(members(rule, tag) not in ([], ["any"]) for tag in ONLY_ANY)

    def negate_trouble(self, rule, tag):
        names = members(rule, tag)
        if not negated(rule, tag) or "any" in names:
            return False
        return any(self.names.unresolved_address(name) or self.names.hollow(name) for name in names)

    def schedule_trouble(self, rule):
        return rule.find("schedule") is not None and self.names.schedule(text(rule, "schedule")) is None

    def lost(self, rule):
        """Whether a member of some list can't be resolved or expressed."""
        return (
            any(self.lost_addresses(rule, tag) for tag in ("source", "destination"))
            or UNRESOLVED in ([*self.service_leaves(rule), *self.application_leaves(rule)])
            or any(
                self.inexpressible(leaf, rule) or self.switched_off(leaf, rule)
                for leaf in self.application_leaves(rule)
            )
        )

    def switched_off(self, leaf, rule):
        """Whether the leaf is an App-ID that is disabled, and the rule an allow."""
        return text(rule, "action") == "allow" and self.names.disabled(leaf)

    def lost_addresses(self, rule, tag):
        names = members(rule, tag)
        return "any" not in names and any(UNRESOLVED in self.leaves(rule, tag, name) for name in names)

    def leaves(self, rule, tag, name):
        """What a member of an allow holds; a wildcard that another rule may take from it is unresolved."""
        leaves = list(self.names.address_leaves(name))
        if text(rule, "action") != "allow" or negated(rule, tag) or self.site.wildcard_top_down:
            return leaves
        return [UNRESOLVED if leaf[0] == "wildcard" and self.taken(rule, tag, leaf) else leaf for leaf in leaves]

    def taken(self, rule, tag, leaf):
        """Whether a rule that meets this one has an overlapping mask with a bit that counts and doesn't in this one."""
        others = [each for each in self.rules() if each is not rule and text(each, "disabled") != "yes"]
        return text(rule, "disabled") != "yes" and any(
            overlapping(leaf, mask) and int(leaf[2]) & ~int(mask[2])
            for other in others
            if zones_meet(rule, other)
            for name in members(other, tag)
            for mask in self.names.masks(name)
        )

    def service_leaves(self, rule):
        names = [name for name in services(rule) if name not in {"any", "application-default"}]
        return [leaf for name in names for leaf in self.names.service_leaves(name)]

    def application_leaves(self, rule):
        names = members(rule, "application")
        return [] if "any" in names else [leaf for name in names for leaf in self.names.application_leaves(name)]

    def uses_default(self, leaf, rule):
        """Whether the rule takes the application's own ports."""
        return "application-default" in services(rule) or (leaf[0] == "predefined" and "any" in services(rule))

    def inexpressible(self, leaf, rule):
        if leaf == UNRESOLVED or not self.uses_default(leaf, rule):
            return False
        traffic = default_traffic(leaf[1])
        return any(each[0] == UNRESOLVED for each in traffic) or (leaf[0] == "predefined" and not traffic)

    def nothing_left(self, rule):
        """Whether one of the lists holds nothing once what can't be resolved or expressed is taken out."""
        return any(self.no_address(rule, tag) for tag in ("source", "destination")) or self.no_traffic(rule)

    def no_address(self, rule, tag):
        names = members(rule, tag)
        if "any" in names:
            return negated(rule, tag)
        leaves = [leaf for name in names for leaf in self.leaves(rule, tag, name) if leaf != UNRESOLVED]
        return self.everything(leaves) if negated(rule, tag) else not leaves

    def everything(self, leaves):
        """Whether no address is left out: then the first address is held, and the one after the end of each leaf."""
        zeros = [ip_address("0.0.0.0"), ip_address("::")]
        ends = [leaf[-1] for leaf in leaves if leaf[0] != "wildcard"]
        ends += [ip_address(int(end)) for end in ends if int(end) < 2**32 - 1]
        after = [end + 1 for end in ends if int(end) + 1 < 2**end.max_prefixlen]
        return all(any(within(leaf, address) for leaf in leaves) for address in zeros + after)

    def no_traffic(self, rule):
        leaves = [leaf for leaf in self.service_leaves(rule) if leaf != UNRESOLVED]
        if not leaves and not {"any", "application-default"} & set(services(rule)):
            return True
        if "any" in members(rule, "application"):
            return False
        return all(
            leaf == UNRESOLVED or self.switched_off(leaf, rule) or self.without_ports(leaf, rule)
            for leaf in self.application_leaves(rule)
        )

    def without_ports(self, leaf, rule):
        if not self.inexpressible(leaf, rule) or any(each != UNRESOLVED for each in self.service_leaves(rule)):
            return False
        return all(each[0] == UNRESOLVED for each in default_traffic(leaf[1]))

    # Whether a rule matches a flow.

    def matches(self, rule, flow, widened):
        return (
            self.zones_match(rule, flow.from_zone, flow.to_zone)
            and self.addresses_match(rule, "source", flow.source, widened)
            and self.addresses_match(rule, "destination", flow.destination, widened)
            and self.traffic_matches(rule, flow, widened)
            and self.time_matches(rule, flow, widened)
        )

    def zones_match(self, rule, from_zone, to_zone):
        kind = text(rule, "rule-type")
        if not listed(rule, "from", from_zone):
            return False
        if kind == "intrazone":
            return from_zone == to_zone
        return listed(rule, "to", to_zone) and not (kind == "interzone" and from_zone == to_zone)

    def addresses_match(self, rule, tag, address, widened):
        if widened and (self.lost_addresses(rule, tag) or self.negate_trouble(rule, tag)):
            return True
        names = members(rule, tag)
        covered = "any" in names or any(
            within(leaf, ip_address(address)) for name in names for leaf in self.leaves(rule, tag, name)
        )
        return covered != negated(rule, tag)

    def time_matches(self, rule, flow, widened):
        if rule.find("schedule") is None or (widened and self.schedule_trouble(rule)):
            return True
        return self.names.running(self.names.schedule(text(rule, "schedule")), flow.at)

    def traffic_matches(self, rule, flow, widened):
        applications = self.application_leaves(rule)
        anything = "any" in members(rule, "application") or (widened and UNRESOLVED in applications)
        return any(
            self.alternative(rule, leaf, flow, widened) for leaf in ([("any", None)] if anything else applications)
        )

    def alternative(self, rule, leaf, flow, widened):
        """One application with the rule's services."""
        off = leaf == UNRESOLVED or self.switched_off(leaf, rule)
        if off or (leaf[0] == "workload" and not self.workload_matches(leaf[1], flow)):
            return False
        leaves = self.service_leaves(rule)
        if widened and UNRESOLVED in leaves:
            return True
        if any(service_covers(each, flow) for each in leaves):
            return True
        words = services(rule)
        if leaf[0] == "predefined":
            return ("any" in words or "application-default" in words) and self.on_default(leaf, flow, widened)
        if "any" in words or (leaf[0] == "any" and "application-default" in words):
            return True
        return "application-default" in words and self.on_default(leaf, flow, widened)

    def on_default(self, leaf, flow, widened):
        kind, entry = leaf
        traffic = default_traffic(entry)
        if not traffic:
            return flow.protocol in {6, 17} if kind == "workload" else widened
        for each in traffic:
            if each[0] == UNRESOLVED:
                if widened and covers(each[1], flow):
                    return True
            elif covers(each, flow):
                return True
        return False

    def workload_matches(self, entry, flow):
        """The pods of that name; of the namespaces that its tags or the name itself say, if they say any."""
        wanted = [(None, plain(entry.get("name")))]
        if self.names.namespaces(entry):
            wanted = [(each, plain(entry.get("name").split("/")[-1])) for each in self.names.namespaces(entry)]
        destination, source = (
            any(name == plain(workload) and space in {None, namespace} for space, name in wanted)
            for workload, namespace in (
                (flow.destination_workload, flow.destination_namespace),
                (flow.source_workload, flow.source_namespace),
            )
        )
        return {"destination": destination, "source": source, "either": source or destination}[self.site.side]


def strange_element(element, known):
    """Whether nobody knows what it narrows. A list of nothing but `any` narrows nothing, whatever it is."""
    only_any = len(element) > 0 and all(child.tag == "member" and child.text == "any" for child in element)
    return element.tag not in known and not only_any


def overlapping(one, other):
    """Whether some address is in both masks: they agree in the bits that count in both."""
    return (int(one[1]) ^ int(other[1])) & ~int(one[2]) & ~int(other[2]) == 0


def zones_meet(one, other):
    return all(
        not (names := members(one, tag)) or any(listed(other, tag, zone) for zone in names) or "any" in names
        for tag in ("from", "to")
    )


def listed(rule, tag, zone):
    names = members(rule, tag)
    return not names or "any" in names or zone in names


def negated(rule, tag):
    return text(rule, f"negate-{tag}") == "yes"


def services(rule):
    """The rule's services; `any` beside others is any."""
    names = list(dict.fromkeys(members(rule, "service")))
    return ["any"] if "any" in names else names


def service_covers(leaf, flow):
    if leaf == UNRESOLVED:
        return False
    protocol, ports, source_ports = leaf
    return flow.protocol == protocol and has_port(ports, flow.port) and has_port(source_ports, flow.source_port)


def covers(traffic, flow):
    if traffic[0] == "icmp":
        return (flow.protocol, flow.icmp_type) == traffic[1:]
    protocol, ports = traffic
    return flow.protocol == protocol and (ports is None or has_port(ports, flow.port))


def never(flow):
    """The rule for what no rule can open to a pod: addresses of a link or a machine alone, groups and everybody."""
    if not (flow.source_workload or flow.destination_workload):
        return None
    source, destination = ip_address(flow.source), ip_address(flow.destination)
    if any(address in network for address in (source, destination) for network in OF_A_LINK):
        return "infrastructure/link-local"
    return "infrastructure/broadcast" if any(destination in network for network in FOR_MANY) else None


def plain(name):
    """As names of workloads compare."""
    return name.lower().replace("_", "-").replace(" ", "-")
