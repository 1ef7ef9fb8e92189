"""Configurations, sites and flows at random: small universes of names, so that shadowing and collisions are common.

Drawn from a `random.Random` whose seed and sizes Hypothesis draws (one draw per value of a whole configuration would
be too slow for tens of thousands of them); a failing case is then cut down by `tests.oracle.shrink`.
"""

from copy import deepcopy
from dataclasses import dataclass
from random import Random
from xml.etree.ElementTree import Element, SubElement

from hypothesis import strategies as st

from tests.oracle.flows import flow
from tests.oracle.naive import Flow, Site
from tests.oracle.universe import (
    ADDRESS_NAMES,
    APPLICATION_NAMES,
    BAD_ADDRESSES,
    BAD_FILTERS,
    BAD_HOURS,
    BAD_PORTS,
    BAD_WILDCARDS,
    CATEGORIES,
    CONDITIONS,
    DATES,
    DAYS,
    DENIES,
    FILTERS,
    FLAGS,
    HOURS,
    NAMESPACE_TAGS,
    PORTS,
    PREFIXES,
    RANGES,
    RISKS,
    SCHEDULES,
    SERVICE_NAMES,
    SHIPPED,
    TAGS,
    TIME_ZONES,
    WILDCARDS,
    ZONES,
)

# Kinds of objects that are read as strictly as rules.
STRICT = ("address", "address-group", "external-list", "region", "service", "service-group", "application-group")


@dataclass(frozen=True)
class Case:
    config: Element
    group: str
    site: Site
    flows: tuple[Flow, ...]


@st.composite
def cases(draw, flows=15):
    """One configuration with its site and flows; smaller numbers are simpler cases."""
    rules, objects = draw(st.integers(1, 24)), draw(st.integers(0, 5))
    depth, mess = draw(st.integers(0, 4)), draw(st.sampled_from((0.0, 0.02, 0.1, 0.3)))
    rng = Random(draw(st.integers(0, 2**32)))
    return case(rng, depth=depth, rules=rules, objects=objects, mess=mess, flows=flows)


def case(rng, *, depth, rules, objects, mess, flows=15):
    writer = Writer(rng, mess)
    config = writer.configuration(depth, rules, objects)
    site = writer.site()
    some = tuple(flow(rng, config, site) for _ in range(flows))
    return Case(config, f"level{depth}", site, some)


class Writer:
    """Writes one configuration; `mess` is how often something in it is missing, wrong or beyond a cluster."""

    def __init__(self, rng, mess):
        self.rng = rng
        self.mess = mess
        self.count = 0
        self.kinds = {}
        self.parents = {}

    def maybe(self, share):
        return self.rng.random() < share

    def messy(self):
        return self.rng.random() < self.mess

    def pick(self, *some):
        return self.rng.choice(some)

    def some(self, names, least=1, most=3):
        return self.rng.sample(names, min(len(names), self.rng.randint(least, most)))

    # The tree of device groups.

    def configuration(self, depth, rules, objects):
        config = Element("config", version="11.1.0")
        shared = SubElement(config, "shared")
        groups = SubElement(entry(SubElement(config, "devices"), "localhost.localdomain"), "device-group")
        readonly = SubElement(config, "readonly")
        tree = SubElement(entry(SubElement(readonly, "devices"), "localhost.localdomain"), "device-group")
        chain = [f"level{number}" for number in range(depth + 1)]
        names = chain + [f"beside{number}" for number in range(self.rng.randint(0, 2))]
        parents = dict(zip(chain[1:], chain, strict=False))
        parents |= {name: self.pick(*chain) for name in names if name not in chain and self.maybe(0.7)}
        self.rng.shuffle(names)
        for name in names:
            SubElement(entry(tree, name), "id").text = str(len(tree))
            if name in parents:
                SubElement(tree[-1], "parent-dg").text = parents[name]
        if self.maybe(0.1):
            self.lose_hierarchy(config, tree, dict.fromkeys(names, "Shared") | parents)
        levels = [shared, *(entry(groups, name) for name in names)]
        for level in levels:
            self.level(level, objects)
        for _ in range(rules):
            self.rule(self.pick(*levels))
        if self.maybe(0.9):
            self.predefined(SubElement(config, "predefined"))
        path = ("template", "entry", "config", "devices", "entry", "vsys", "entry", "zone")
        for zone in self.some(("lab", "web", "dmz"), 0, 2):
            entry(section(config.find("devices/entry"), *path), zone)
        return config

    def lose_hierarchy(self, config, tree, parents):
        """An export that was cut: without its hierarchy, or without a part of it; now and then the site knows it."""
        for gone in list(tree) if self.maybe(0.7) else self.some(list(tree), 1, 1):
            tree.remove(gone)
        if not len(tree):
            config.remove(config.find("readonly"))
        if self.maybe(0.5):
            self.parents = parents

    def level(self, level, objects):
        """Objects of every kind; now and then a name has two. Shared holds nearly all names."""
        shared = level.tag == "shared"
        addresses = (*[self.address] * 4, *[self.address_group] * 4, self.external_list, self.region)
        for name in self.names(ADDRESS_NAMES + (("US",) if self.messy() else ()), objects * 2, shared):
            self.objects(level, name, addresses)
        for name in self.names(SERVICE_NAMES[:4], objects, shared):
            self.objects(level, name, (self.service, self.service, self.service_group))
        applications = (*[self.application] * 3, self.application_group, self.application_filter)
        for name in self.names(APPLICATION_NAMES, objects, shared):
            self.objects(level, name, applications)
        for name in self.some(SHIPPED, 0, 2) if self.maybe(0.15) else ():
            status = entry(section(level, "application-status"), name)
            status.set("status", self.pick("disabled", "disabled", "enabled"))
        for name in self.names(SCHEDULES, objects, shared):
            self.schedule(level, name)
        for name in ("intrazone-default", "interzone-default"):
            if self.maybe(0.15):
                self.default_rule(level, name)

    def objects(self, level, name, kinds):
        """An object of the name's usual kind, or of another one, or of both; now and then not as PAN-OS writes it."""
        usual = self.kinds.setdefault(name, self.pick(*kinds))
        if not self.maybe(0.03):
            usual(level, name)
        if self.maybe(0.03):
            self.pick(*kinds)(level, name)
        entries = [each for kind in STRICT for each in level.iterfind(f"{kind}/entry")]
        if entries and self.messy() and self.maybe(0.3):
            self.distort(self.pick(*entries))

    def distort(self, here):
        """A part that the next release may have, one twice, two that exclude each other, or a member without a word."""
        lists = [each for each in here if each.tag in {"static", "members"}]
        protocol = here.find("protocol")
        if lists and self.maybe(0.5):
            SubElement(lists[0], "member")
        elif protocol is not None and self.maybe(0.5):
            SubElement(SubElement(protocol, self.pick("tcp", "udp")), "port").text = self.pick(*PORTS)
        elif here.find("ip-range") is not None and self.maybe(0.5):
            SubElement(here, "ip-netmask").text = self.pick(*PREFIXES)
        elif len(here) and self.maybe(0.5):
            here.append(deepcopy(self.pick(*here)))
        else:
            SubElement(here, "moon-phase").text = "full"

    def names(self, names, most, shared):
        return [name for name in names if not self.messy()] if shared else self.some(names, 0, most)

    # Objects.

    def address(self, level, name):
        here = entry(section(level, "address"), name)
        kind = self.pick(*["ip-netmask"] * 5, "ip-range", "ip-range", "ip-wildcard", "fqdn", "fqdn")
        content = {
            "ip-netmask": PREFIXES, "ip-range": RANGES, "ip-wildcard": WILDCARDS, "fqdn": ("db.example.com", "x.example.com"),
        }[kind]  # fmt: skip
        bad = {"ip-wildcard": BAD_WILDCARDS, "fqdn": content}.get(kind, BAD_ADDRESSES)
        SubElement(here, kind).text = self.pick(*(bad if self.messy() else content))
        if self.maybe(0.6):
            member_list(here, "tag", self.some(TAGS, 1, 3))
        self.noise(here)

    def address_group(self, level, name):
        here = entry(section(level, "address-group"), name)
        if self.maybe(0.03):
            pass
        elif self.maybe(0.35):
            wanted = self.pick(*(BAD_FILTERS if self.messy() else FILTERS))
            SubElement(SubElement(here, "dynamic"), "filter").text = wanted
        else:
            least = 0 if self.maybe(0.2) else 1
            names = self.some((*ADDRESS_NAMES, *PREFIXES[:3], *RANGES[:1]), least, 3)
            member_list(here, "static", [*names, "nowhere"] if self.messy() else names)
        if self.maybe(0.35):
            member_list(here, "tag", self.some(TAGS, 1, 2))
        self.noise(here)

    def external_list(self, level, name):
        here = entry(section(level, "external-list"), name)
        kind = self.pick("url", "predefined-ip") if self.messy() else self.pick("ip", "domain")
        source = SubElement(SubElement(here, "type"), kind)
        SubElement(source, "url").text = "https://lists.example.com/one"
        if kind != "predefined-ip":
            SubElement(SubElement(source, "recurring"), "hourly")

    def region(self, level, name):
        here = entry(section(level, "region"), name)
        literals = self.some(PREFIXES + RANGES, 0 if self.maybe(0.2) else 1, 2)
        member_list(here, "address", [*literals, "nonsense"] if self.messy() else literals)
        if self.maybe(0.3):
            SubElement(SubElement(here, "geo-location"), "latitude").text = "52.5"

    def service(self, level, name):
        here = SubElement(entry(section(level, "service"), name), "protocol")
        protocol = SubElement(here, self.pick("tcp", "tcp", "udp", "sctp"))
        SubElement(protocol, "port").text = self.pick(*(BAD_PORTS if self.messy() else PORTS))
        if self.maybe(0.3):
            SubElement(protocol, "source-port").text = self.pick(*PORTS)
        if protocol.tag != "sctp" and self.maybe(0.3):
            SubElement(SubElement(protocol, "override"), "no")

    def service_group(self, level, name):
        names = self.some(SERVICE_NAMES, 0 if self.maybe(0.2) else 1, 3)
        members = [*names, "nothing"] if self.messy() else names
        member_list(entry(section(level, "service-group"), name), "members", members)

    def application(self, level, name):
        here = entry(section(level, "application"), name)
        self.properties(here)
        if self.maybe(0.4):
            member_list(here, "tag", self.some(NAMESPACE_TAGS if self.messy() else NAMESPACE_TAGS[:3], 1, 2))
        if self.maybe(0.7):
            self.default_ports(SubElement(here, "default"))

    def properties(self, here):
        SubElement(here, "category").text = self.pick(*CATEGORIES)
        SubElement(here, "risk").text = self.pick(*RISKS)
        for flag in ("evasive-behavior", "used-by-malware", "is-saas"):
            if self.maybe(0.7):
                SubElement(here, flag).text = self.pick("yes", "no")
        self.noise(here)

    def default_ports(self, default):
        kind = self.pick(*["port"] * 6, "ident-by-icmp-type", "ident-by-icmp6-type", "ident-by-ip-protocol")
        if kind == "port":
            ports = self.some(("tcp/80,443", "tcp/8000-8010", "udp/53", "udp/443", "tcp/22"), 1, 3)
            dynamic = self.pick("tcp/dynamic", "udp/dynamic", "udp/90,dynamic")
            member_list(default, "port", [*ports, dynamic] if self.messy() else ports)
        elif kind == "ident-by-ip-protocol":
            SubElement(default, kind).text = self.pick("47", "50-51", "6", "1,47", "50")
        else:
            here = SubElement(default, kind)
            SubElement(here, "type").text = self.pick("0", "8", "128", "0,8", "3-8,128")
            if self.messy():
                SubElement(here, "code").text = "0"

    def application_group(self, level, name):
        names = self.some(APPLICATION_NAMES + SHIPPED, 0 if self.maybe(0.2) else 1, 3)
        members = [*names, "nothing"] if self.messy() else names
        member_list(entry(section(level, "application-group"), name), "members", members)

    def application_filter(self, level, name):
        here = entry(section(level, "application-filter"), name)
        member_list(here, "category", self.some((*CATEGORIES, "unheard-of"), 1, 2))
        if self.maybe(0.6):
            member_list(here, "risk", self.some(RISKS, 1, 2))
        for flag in self.some(FLAGS, 1, 2) if self.maybe(0.4) else ():
            SubElement(here, flag).text = "yes"
        if self.messy():
            SubElement(here, "moon-phase").text = "full"
        self.rng.shuffle(here)

    def schedule(self, level, name):
        here = SubElement(entry(section(level, "schedule"), name), "schedule-type")
        if self.messy():
            self.bad_schedule(here)
            return
        if self.maybe(0.3):
            member_list(here, "non-recurring", self.some(DATES, 1, 2))
            return
        recurring = SubElement(here, "recurring")
        if self.maybe(0.4):
            member_list(recurring, "daily", self.some(HOURS, 1, 2))
            return
        weekly = SubElement(recurring, "weekly")
        for day in self.some(DAYS, 1, 4):
            member_list(weekly, day, self.some(HOURS, 1, 2))

    def bad_schedule(self, here):
        tag, day = self.pick(
            ("non-recurring", None), ("recurring", "daily"), ("weekly", "someday"), ("hourly", None), ("empty", None)
        )
        if tag == "empty":
            SubElement(here, self.pick("non-recurring", "recurring"))
        elif tag == "weekly":
            member_list(SubElement(SubElement(here, "recurring"), tag), day, HOURS[:1])
        elif day:
            member_list(SubElement(here, tag), day, [HOURS[0], self.pick(*BAD_HOURS)])
        else:
            member_list(here, tag, [self.pick(*BAD_HOURS, "2026/12/31@00:00-2026/01/01@00:00")])

    def noise(self, here):
        if self.maybe(0.2):
            SubElement(here, "description").text = "as agreed"
        self.rng.shuffle(here)

    def predefined(self, here):
        content = {
            "web-base": ("tcp/80", "tcp/443"), "rpc": ("tcp/dynamic",), "rpc-mixed": ("tcp/22", "udp/dynamic"),
            "mail": ("tcp/22,8000-8010",), "no-port": (),
        }  # fmt: skip
        for name, ports in content.items():
            self.properties(entry(section(here, "application"), name))
            if ports:
                member_list(SubElement(here[0][-1], "default"), "port", ports)
        for name, tag, value in (
            ("echo6", "ident-by-icmp6-type", "128-129"),
            ("gre-tunnel", "ident-by-ip-protocol", "47"),
        ):
            self.properties(entry(here[0], name))
            default = SubElement(SubElement(here[0][-1], "default"), tag)
            (default if tag.endswith("protocol") else SubElement(default, "type")).text = value
        member_list(entry(section(here, "application-container"), "chat"), "functions", ["mail", "web-base"])
        http = SubElement(SubElement(entry(section(here, "service"), "service-http"), "protocol"), "tcp")
        SubElement(http, "port").text = "80,8080"

    # Rules.

    def default_rule(self, level, name):
        rules = section(level, "post-rulebase", "default-security-rules", "rules")
        here = entry(rules, name)
        if self.maybe(0.7):
            SubElement(here, "action").text = "sideways" if self.messy() else self.pick("allow", *DENIES)
        self.logs(here)
        if self.maybe(0.3):
            member_list(SubElement(here, "profile-setting"), "group", ["strict"])
        if self.maybe(self.mess / 3):
            SubElement(here, "source-weather").text = "rain"

    def rule(self, level):
        self.count += 1
        here = entry(
            section(level, self.pick("pre-rulebase", "post-rulebase"), "security", "rules"), f"rule {self.count}"
        )
        kind = self.pick(*[None] * 5, "universal", "intrazone", "interzone")
        if kind:
            SubElement(here, "rule-type").text = kind
        self.lists(here, kind)
        SubElement(here, "action").text = "allow" if self.maybe(0.5) else self.pick(*DENIES)
        self.attributes(here)
        if self.messy():
            self.break_rule(here)
        self.noise(here)

    def lists(self, here, kind):
        member_list(here, "from", self.any_or(0.4, ZONES))
        if kind != "intrazone" or self.maybe(0.5):
            member_list(here, "to", self.any_or(0.4, ZONES))
        for tag in ("source", "destination"):
            member_list(here, tag, self.addresses(0.55))
            if self.maybe(0.2):
                SubElement(here, f"negate-{tag}").text = self.pick("yes", "yes", "no")
        member_list(here, "application", self.any_or(0.45, self.applications()))
        services = (
            ["application-default"] if self.maybe(0.3) else self.any_or(0.5, SERVICE_NAMES[: 5 if self.messy() else 3])
        )
        member_list(here, "service", services)

    def any_or(self, share, names):
        return ["any"] if self.maybe(share) else self.some(names)

    def addresses(self, share):
        if self.maybe(share):
            return ["any"]
        literals = self.some(PREFIXES + RANGES, 0 if self.maybe(0.6) else 1, 2)
        names = self.some(ADDRESS_NAMES, 0 if literals else 1, 2)
        return literals + names + (["US"] if self.messy() else [])

    def applications(self):
        every = APPLICATION_NAMES + SHIPPED
        return every if self.messy() else ("web-base", "chat", "mail", "echo6", "gre-tunnel", "cart", "a1", "Order_API")

    def attributes(self, here):
        if self.maybe(0.08):
            SubElement(here, "disabled").text = self.pick("yes", "yes", "no")
        if self.maybe(0.15):
            SubElement(here, "schedule").text = "never-made" if self.messy() else self.pick(*SCHEDULES)
        if self.maybe(0.15):
            member_list(here, "tag", self.some(("k8s-ignore", "k8s-widen", "k8s-widen", "prod"), 1, 2))
        if self.maybe(0.15):
            self.target(here)
        self.logs(here)
        if self.maybe(0.1):
            member_list(SubElement(here, "profile-setting"), "group", ["strict"])
        if self.maybe(0.2):
            kinds = ("source-user", "category", "source-hip", "hip-profiles", "saas-user-list", "source-weather")
            member_list(here, self.pick(*kinds), ["any"])

    def logs(self, here):
        for tag, share in (("log-start", 0.2), ("log-end", 0.3)):
            if self.maybe(share):
                SubElement(here, tag).text = self.pick("yes", "no")
        if self.maybe(0.3):
            SubElement(here, "log-setting").text = self.pick("siem", "soc")

    def target(self, here):
        target = SubElement(here, "target")
        if self.maybe(0.8):
            devices = SubElement(target, "devices")
            for serial in self.some(("001", "002", "003"), 1, 2):
                entry(devices, serial)
        if self.maybe(0.7):
            SubElement(target, "negate").text = self.pick("yes", "no")

    def break_rule(self, here):
        ways = (
            self.condition,
            self.condition,
            self.condition,
            self.lose,
            self.unsay,
            self.mix,
            self.mistarget,
            self.empty_a_member,
        )
        self.pick(*ways)(here)

    def condition(self, here):
        tag, value = self.pick(*CONDITIONS)
        for each in here.findall(tag):
            here.remove(each)
        member_list(here, tag, [value])

    def lose(self, here):
        """A part that is missing, or there without content."""
        part = self.pick("from", "to", "source", "destination", "application", "service", "action")
        for each in here.findall(part):
            if self.maybe(0.5):
                here.remove(each)
            else:
                each.clear()

    def unsay(self, here):
        """A word that no PAN-OS knows."""
        part = self.pick("action", "action", "rule-type")
        section(here, part).text = "sideways"

    def mix(self, here):
        services = here.find("service")
        SubElement(services, "member").text = self.pick("application-default", "any")

    def empty_a_member(self, here):
        SubElement(here.find(self.pick("from", "source", "destination", "application", "service")), "member")

    def mistarget(self, here):
        if here.find("target") is None:
            member_list(SubElement(here, "target"), "tags", ["eu"])

    # The site and its flows.

    def site(self):
        feeds = [name for name in ADDRESS_NAMES if not self.messy()]
        tags = [tuple(self.some(TAGS)) for _ in range(3)]
        return Site(
            serial=self.pick(None, "001", "002"),
            cluster_zones=tuple(self.some(ZONES, 1, 3)) if self.maybe(0.4) else None,
            side=self.pick("destination", "destination", "source", "either"),
            inexpressible_deny=self.pick("refuse", "refuse", "widen", "ignore"),
            deny_by_ports=self.pick("apply", "apply", "apply", "refuse"),
            ancestors_win=self.maybe(0.3),
            time_zone=self.pick(*TIME_ZONES),
            wildcard_top_down=self.maybe(0.3),
            parents={} if self.parents and set(self.parents.values()) == {"Shared"} else self.parents,
            flat=bool(self.parents) and set(self.parents.values()) == {"Shared"},
            registered=dict(zip(("10.1.2.99", "fd00:1::99", "192.0.2.7"), tags, strict=True))
            if self.maybe(0.5)
            else {},
            feeds={name: self.some(PREFIXES, 0 if self.maybe(0.2) else 1, 2) for name in feeds},
        )


def entry(parent, name):
    return SubElement(parent, "entry", name=name)


def section(parent, *tags):
    """The child of that path, made where it is missing."""
    for tag in tags:
        found = parent.find(tag)
        parent = SubElement(parent, tag) if found is None else found
    return parent


def member_list(parent, tag, names):
    here = SubElement(parent, tag)
    for name in names:
        SubElement(here, "member").text = name
