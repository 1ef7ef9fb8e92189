"""Flows at the edges of what a configuration names: most are aimed at one of its rules, then knocked off a little."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from zoneinfo import ZoneInfo

from tests.oracle.literals import numbers
from tests.oracle.naive import Flow
from tests.oracle.universe import (
    APPLICATION_NAMES,
    DATES,
    HOURS,
    NAMESPACES,
    PREFIXES,
    RANGES,
    UNKNOWN_ZONES,
    WORKLOADS,
    ZONES,
)

PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
EDGES = ("0", "22", "53", "80", "90", "443", "8000-8010", "8020", "8080", "65535")


def flow(rng, config, site):
    """One flow: anything at all, or what one rule of the configuration says in most of its conditions."""
    some = anything(rng, site)
    rules = [entry for rules in config.iter("rules") for entry in rules if entry.find("from") is not None]
    return aimed(rng, config, site, rng.choice(rules), some) if rules and rng.random() < 0.8 else some


def anything(rng, site):
    return Flow(
        from_zone=rng.choice((*ZONES, *ZONES, *UNKNOWN_ZONES)),
        to_zone=rng.choice((*ZONES, *ZONES, *UNKNOWN_ZONES)),
        source=near(rng, rng.choice(PREFIXES + RANGES)),
        destination=near(rng, rng.choice(PREFIXES + RANGES)),
        source_workload=rng.choice(WORKLOADS),
        destination_workload=rng.choice(WORKLOADS),
        source_namespace=rng.choice(NAMESPACES),
        destination_namespace=rng.choice(NAMESPACES),
        protocol=rng.choice((6, 6, 6, 17, 17, 1, 58, 132, 47)),
        port=port(rng, rng.choice(EDGES)),
        source_port=rng.choice((port(rng, rng.choice(EDGES)), 40000)),
        icmp_type=rng.choice((0, 8, 128)),
        at=moment(rng, site),
    )


def aimed(rng, config, site, rule, some):
    wanted = zones(rng, rule) | addresses(rng, config, site, rule) | traffic(rng, config, rule)
    return replace(some, **{name: value for name, value in wanted.items() if rng.random() < 0.93})


def words(rule, tag):
    return [member.text for member in rule.findall(f"{tag}/member") if member.text not in {"any", None}]


def zones(rng, rule):
    found = {f"{tag}_zone": rng.choice(words(rule, tag)) for tag in ("from", "to") if words(rule, tag)}
    if rule.findtext("rule-type") == "intrazone" and "from_zone" in found:
        found["to_zone"] = found["from_zone"]
    return found


def addresses(rng, config, site, rule):
    found = {}
    for tag in ("source", "destination"):
        literals = [each for name in words(rule, tag) for each in below(config, site, name, ("static", "address"))]
        if literals:
            found[tag] = near(rng, rng.choice(literals))
    return found


def below(config, site, name, lists, deep=3):
    """Texts that stand somewhere below a name, at any level of the tree: no look-up, only a direction to aim in."""
    found = [name, *site.feeds.get(name, ())]
    for entry in config.iter("entry") if deep else ():
        if entry.get("name") == name and entry.find("action") is None:
            found += [child.text for child in entry if child.tag in {"ip-netmask", "ip-range"} and child.text]
            some = [word for tag in lists for word in words(entry, tag)] + selected(config, entry)
            found += [each for word in some for each in below(config, site, word, lists, deep - 1)]
    return found


def selected(config, group):
    """Names of what carries a tag that stands in a dynamic group's filter."""
    wanted = group.findtext("dynamic/filter")
    tagged = config.iter("entry") if wanted else ()
    return [each.get("name") for each in tagged if any(tag in wanted for tag in words(each, "tag"))]


def near(rng, word):
    """An address at an edge of a literal: its first, its last, one before, one after; of anything else any edge."""
    try:
        ends = [ip_address(end) for end in word.split("-")] if "-" in word else ends_of(word)
    except ValueError:
        return near(rng, rng.choice((*PREFIXES, "10.1.2.99", "192.0.2.7", "10.1.4.3", "10.9.2.0")))
    end = rng.choice(ends)
    if int(end) < 2**32 and rng.random() < 0.5:
        end = ip_address(int(end))  # the IPv4 address of that number
    return str(type(end)(max(0, min(int(end) + rng.choice((-1, 0, 0, 1)), 2**end.max_prefixlen - 1))))


def ends_of(word):
    network = ip_network(word, strict=False)
    return network[0], network[-1]


def traffic(rng, config, rule):
    found = {}
    applications = words(rule, "application")
    name = rng.choice(applications) if applications else None
    if name is not None:
        workload = rng.choice((name, rng.choice(APPLICATION_NAMES))) if rng.random() < 0.3 else name
        found |= {"destination_workload": workload, "source_workload": rng.choice(("", workload))}
        ports = [each for each in below_application(config, name) if "/" in each]
        if rng.random() < 0.5:
            found |= icmp(rng, config, name)
        if ports:
            protocol, _, ports = rng.choice(ports).partition("/")
            found |= {"protocol": PROTOCOLS[protocol], "port": port(rng, ports)}
    services = [name for name in words(rule, "service") if name != "application-default"]
    return found | (service(rng, config, rng.choice(services)) if services else {})


def icmp(rng, config, name):
    """One of the ICMP types by which an application of that name is known."""
    entries = [entry for entry in config.iter("entry") if entry.get("name") == name]
    for tag, number in (("ident-by-icmp-type", 1), ("ident-by-icmp6-type", 58)):
        types = [text for entry in entries if (text := entry.findtext(f"default/{tag}/type"))]
        if types:
            return {"protocol": number, "icmp_type": rng.choice(list(numbers(rng.choice(types))))}
    return {}


def below_application(config, name, deep=3):
    found = []
    for entry in config.iter("entry") if deep else ():
        if entry.get("name") == name and entry.find("action") is None:
            found += words(entry, "default/port")
            for tag in ("members", "functions"):
                found += [each for word in words(entry, tag) for each in below_application(config, word, deep - 1)]
    return found


def service(rng, config, name, deep=3):
    entries = [each for each in config.iter("entry") if each.get("name") == name and each.find("protocol") is not None]
    groups = [word for each in config.iter("entry") if each.get("name") == name for word in words(each, "members")]
    if groups and deep and (not entries or rng.random() < 0.5):
        return service(rng, config, rng.choice(groups), deep - 1)
    if not entries:
        return {}
    protocol = rng.choice(entries).find("protocol")[0]
    found = {"protocol": PROTOCOLS[protocol.tag], "port": port(rng, protocol.findtext("port") or "0")}
    source = protocol.findtext("source-port")
    return found | ({"source_port": port(rng, source)} if source else {})


def port(rng, ports):
    try:
        edges = [int(end) for part in ports.split(",") for end in part.split("-")]
    except ValueError:
        edges = [80]
    return max(0, min(65535, rng.choice(edges) + rng.choice((-1, 0, 0, 0, 1))))


def moment(rng, site):
    """An instant near the edge of some schedule, on the wall of the site's time zone."""
    if rng.random() < 0.3:
        wall = datetime.strptime(rng.choice([end for dates in DATES for end in dates.split("-")]), "%Y/%m/%d@%H:%M")  # noqa: DTZ007
    else:
        hours, minutes = rng.choice([end for window in HOURS for end in window.split("-")]).split(":")
        day = rng.choice((datetime(2026, 3, 29), datetime(2026, 10, 25), datetime(2026, 1, 1), datetime(2026, 6, 3)))
        wall = day + timedelta(days=rng.randint(-1, 6), hours=int(hours), minutes=int(minutes))
    wall += timedelta(seconds=rng.choice((-60, -1, 0, 0, 1, 40)))
    return wall.replace(tzinfo=ZoneInfo(site.time_zone), fold=rng.choice((0, 1))).astimezone(UTC)
