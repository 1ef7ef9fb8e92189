"""Names of a configuration, looked up the slow way: walk the device groups, take the first entry of that name.

The witness's half that answers `what does this name stand for`. Shares no code with the reader that it judges.
"""

from ipaddress import ip_address
from xml.etree.ElementTree import fromstring
from zoneinfo import ZoneInfo

from tests.oracle.literals import (
    UNRESOLVED,
    between_dates,
    between_hours,
    is_ports,
    is_window,
    literal,
    numbers,
    tag_filter,
    wildcard,
)

ADDRESS_KINDS = ("address", "address-group", "external-list", "region")
SERVICE_KINDS = ("service", "service-group")
APPLICATION_KINDS = ("application", "application-group", "application-filter", "application-container")
AMBIGUOUS = ("ambiguous", None)
COUNTRIES = ("US", "DE")  # those among which the generator chooses
FLAGS = {"evasive": "evasive-behavior", "used-by-malware": "used-by-malware", "is-saas": "is-saas"}
# What every firewall has, whether or not there is predefined content.
SHIPPED = fromstring(
    "<predefined><service><entry name='service-http'><protocol><tcp><port>80,8080</port></tcp></protocol></entry>"
    "</service></predefined>"
)
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}


def members(element, path):
    return [(member.text or "").strip() for member in element.findall(f"{path}/member")]


def text(element, path):
    return (element.findtext(path) or "").strip()


def is_no_namespace(name):
    letters = set("abcdefghijklmnopqrstuvwxyz0123456789-")
    return not name or len(name) > 63 or not set(name) <= letters or "-" in {name[0], name[-1]}


class UnknownHierarchyError(Exception):
    """Nobody says what a device group is under."""


def lineage(config, group, site):
    """The device group, its parent, and so on up to Shared: elements, nearest first."""
    path = "devices/entry/device-group/entry"
    here = next(entry for entry in config.findall(path) if entry.get("name") == group)
    parent = parent_of(config, group, site)
    return [here, *lineage(config, parent, site)] if parent else [here, config.find("shared")]


def parent_of(config, group, site):
    """The parent's name, "" at the top: from the read-only part, else as the site says."""
    path = "devices/entry/device-group/entry"
    for entry in config.findall(f"readonly/{path}"):
        if entry.get("name") == group:
            return text(entry, "parent-dg")
    if group in site.parents:
        return site.parents[group] if site.parents[group] != "Shared" else ""
    if site.flat or len(config.findall(path)) == 1:
        return ""
    raise UnknownHierarchyError(group)


class Names:
    """One configuration as one device group sees it."""

    def __init__(self, config, group, site):
        self.site = site
        self.config = config
        self.levels = lineage(config, group, site)
        content = config.find("predefined")
        self.predefined = [*([] if content is None else [content]), SHIPPED]

    def find(self, name, kinds):
        """(kind, entry) of what a name stands for; None where it is nothing, AMBIGUOUS where it is of two kinds."""
        found = [(kind, self.nearest(name, kind)) for kind in kinds]
        found = [(kind, entry) for kind, entry in found if entry is not None]
        if len(found) > 1 or (found and kinds == ADDRESS_KINDS and name in COUNTRIES):
            return AMBIGUOUS
        return found[0] if found else None

    def nearest(self, name, kind):
        """The entry of one kind. What Panorama ships comes last of all."""
        levels = self.levels[::-1] if self.site.ancestors_win else self.levels
        for level in [*levels, *self.predefined]:
            for entry in level.findall(f"{kind}/entry"):
                if entry.get("name") == name:
                    return entry
        return None

    def visible(self, kind):
        """All entries of one kind that no nearer one of their name hides."""
        everywhere = [entry for level in [*self.levels, *self.predefined] for entry in level.findall(f"{kind}/entry")]
        return [entry for entry in everywhere if self.nearest(entry.get("name"), kind) is entry]

    # Addresses: a leaf is (first, last), ("listed", first, last), ("wildcard", base, mask) or UNRESOLVED.

    def address_leaves(self, name, seen=()):
        if name in seen:
            return
        found = self.find(name, ADDRESS_KINDS)
        if found is None or found == AMBIGUOUS:
            yield literal(name) if found is None else UNRESOLVED
            return
        kind, entry = found
        if odd(kind, entry):
            yield UNRESOLVED
        elif kind == "address":
            yield from self.address_object(entry)
        elif kind == "external-list":
            yield from (
                self.feed(name)
                if entry.find("type/ip") is not None or entry.find("type/domain") is not None
                else [UNRESOLVED]
            )
        elif kind == "region":
            yield from (literal(member) for member in members(entry, "address"))
        elif entry.find("dynamic") is not None:
            yield from self.dynamic(name, text(entry, "dynamic/filter"), seen)
        else:
            for member in members(entry, "static"):
                yield from self.address_leaves(member, (*seen, name))

    def address_object(self, entry):
        if entry.find("fqdn") is not None:
            yield from self.feed(entry.get("name"))
        elif entry.find("ip-wildcard") is not None:
            yield wildcard(text(entry, "ip-wildcard"))
        elif entry.find("ip-range") is not None:
            yield literal(text(entry, "ip-range"))
        else:
            yield literal(text(entry, "ip-netmask"))

    def feed(self, name):
        if name not in self.site.feeds:
            return [UNRESOLVED]
        return [("listed", *literal(prefix)) for prefix in self.site.feeds[name]]

    def dynamic(self, name, wanted, seen):
        try:
            for each in self.tagged(name, wanted):
                yield from self.address_leaves(each, (*seen, name))
            for address, tags in self.site.registered.items():
                if tag_filter(wanted)(tags):
                    yield literal(address)
        except ValueError:
            yield UNRESOLVED

    def tagged(self, name, wanted):
        """The names of all other addresses and groups that carry the tags. Raises ValueError."""
        test = tag_filter(wanted)
        some = [entry for kind in ("address", "address-group") for entry in self.visible(kind)]
        return [entry.get("name") for entry in some if test(members(entry, "tag")) and entry.get("name") != name]

    def address_parts(self, name, seen=()):
        """The name and every name below it, groups opened."""
        if name in seen:
            return
        yield name
        found = self.find(name, ADDRESS_KINDS)
        for member in self.group_members(name, found):
            yield from self.address_parts(member, (*seen, name))

    def group_members(self, name, found):
        """The names that a group holds; none of what is no group, or can't be read."""
        if found is None or found == AMBIGUOUS or found[0] != "address-group" or odd(*found):
            return []
        if found[1].find("dynamic") is None:
            return members(found[1], "static")
        try:
            return self.tagged(name, text(found[1], "dynamic/filter"))
        except ValueError:
            return []

    def masks(self, name):
        """The wildcards below a name, those too scattered to be expressed as well."""
        found = [self.find(part, ADDRESS_KINDS) for part in self.address_parts(name)]
        whole = [each for each in found if each and each != AMBIGUOUS and each[0] == "address" and not odd(*each)]
        words = [text(entry, "ip-wildcard") for _, entry in whole if entry.find("ip-wildcard") is not None]
        return [("wildcard", *map(ip_address, word.split("/"))) for word in words]

    def unresolved_address(self, name):
        return UNRESOLVED in self.address_leaves(name)

    def hollow(self, name):
        """Whether the name holds nothing, or something below it that is no mere circle."""
        return any(
            not list(self.address_leaves(part))
            for part in self.address_parts(name)
            if part == name or not self.nested(part)
        )

    def nested(self, name):
        return bool(self.group_members(name, self.find(name, ADDRESS_KINDS)))

    # Services: a leaf is (protocol, ports, source ports) or UNRESOLVED.

    def service_leaves(self, name, seen=()):
        if name in seen:
            return
        found = self.find(name, SERVICE_KINDS)
        if found is None or found == AMBIGUOUS or odd(*found):
            yield UNRESOLVED
        elif found[0] == "service-group":
            for member in members(found[1], "members"):
                yield from self.service_leaves(member, (*seen, name))
        else:
            yield service(found[1])

    # Applications: a leaf is ("workload", entry), ("predefined", entry) or UNRESOLVED.

    def application_leaves(self, name, seen=()):
        if name in seen:
            return
        found = self.find(name, APPLICATION_KINDS)
        if found is None or found == AMBIGUOUS:
            yield UNRESOLVED
            return
        kind, entry = found
        if kind == "application-group" and odd(kind, entry):
            yield UNRESOLVED
        elif kind == "application":
            strange = any(is_no_namespace(each) for each in self.namespaces(entry))
            yield UNRESOLVED if strange else self.application(entry)
        elif kind == "application-filter":
            yield from self.selected(entry)
        else:
            for member in members(entry, "members" if kind == "application-group" else "functions"):
                yield from self.application_leaves(member, (*seen, name))

    def application(self, entry):
        shipped = any(entry is each for level in self.predefined for each in level.findall("application/entry"))
        return ("predefined" if shipped else "workload", entry)

    def namespaces(self, entry):
        """The namespaces that a custom application is for, as written; none where it is for all."""
        if self.application(entry)[0] != "workload":
            return []
        at_site = self.nearest(entry.get("name"), "application-tag")
        tags = [*members(entry, "tag"), *(members(at_site, "tag") if at_site is not None else [])]
        found = [tag[14:].strip().lower() for tag in tags if tag[:14].lower() in {"k8s-namespace:", "k8s-namespace-"}]
        return found + [entry.get("name").rpartition("/")[0].lower()] * ("/" in entry.get("name"))

    def disabled(self, leaf):
        """Whether a predefined application is switched off, as the nearest word on it says."""
        status = self.nearest(leaf[1].get("name"), "application-status") if leaf[0] == "predefined" else None
        return status is not None and "disabled" in {status.get("status"), text(status, "status")}

    def selected(self, wanted):
        criteria = [each for each in wanted if each.tag != "description"]
        lists = [each for each in criteria if each.tag in {"category", "subcategory", "technology", "risk"}]
        flags = [FLAGS[each.tag] for each in criteria if each.tag in FLAGS]
        if len(lists) + len(flags) < len(criteria) or self.config.find("predefined") is None:
            yield UNRESOLVED
        if len(lists) + len(flags) < len(criteria):
            return
        for entry in self.visible("application"):
            if all(text(entry, each.tag) in members(wanted, each.tag) for each in lists):
                held = [text(entry, flag) == "yes" for flag in flags]
                if all(held):
                    yield from self.application_leaves(entry.get("name"))
                elif any(held):
                    yield UNRESOLVED

    # Schedules.

    def schedule(self, name):
        """The schedule's entry, or None where it can't be known."""
        found = self.find(name, ("schedule",))
        return found[1] if found and readable(found[1]) else None

    def running(self, entry, moment):
        local = moment.astimezone(ZoneInfo(self.site.time_zone)).replace(tzinfo=None)
        kind = entry.find("schedule-type")
        if any(between_dates(member, local) for member in members(kind, "non-recurring")):
            return True
        if any(between_hours(member, local, lambda day: True) for member in members(kind, "recurring/daily")):
            return True
        return any(
            between_hours(member, local, lambda day, wanted=wanted: day == wanted)
            for wanted, name in enumerate(DAYS)
            for member in members(kind, f"recurring/weekly/{name}")
        )


# What an object is made of, and where it is one of several things. Of these it has each once.
PARTS = {
    "address": "ip-netmask ip-range ip-wildcard fqdn", "address-group": "static dynamic filter member", "external-list": "type ip domain url recurring hourly predefined-ip",
    "region": "address geo-location latitude member", "service": "protocol tcp udp sctp port source-port override no", "service-group": "members member",
    "application-group": "members member",
}  # fmt: skip
KINDS_OF_ONE = ({"ip-netmask", "ip-range", "ip-wildcard", "fqdn"}, {"static", "dynamic"}, {"tcp", "udp", "sctp"})


def odd(kind, entry):
    """Whether an object has a part that nobody knows, two that exclude each other, one twice, or an empty member."""
    below = [each for each in entry.iter() if each is not entry]
    names = [each.tag for each in below if each.tag != "member"]
    every = {*PARTS[kind].split(), "tag", "description"}
    return (
        any(name not in every for name in names)
        or len(set(names)) < len(names)
        or any(len(choice & set(names)) > 1 for choice in KINDS_OF_ONE)
        or any(each.tag == "member" and not each.text for part in below if part.tag != "tag" for each in part)
        or any(each.tag == "member" for each in entry)
    )


def readable(schedule):
    """Whether a schedule has windows, all of which can be read, on days that exist."""
    windows = [member.text or "" for member in schedule.iter("member")]
    days = [day.tag for day in schedule.findall("schedule-type/recurring/weekly/*")]
    if schedule.find("schedule-type/recurring") is None and schedule.find("schedule-type/non-recurring") is None:
        return False
    return bool(windows) and all(day in DAYS for day in days) and all(is_window(window) for window in windows)


def service(entry):
    protocol = next((each for each in entry.findall("protocol/*") if each.tag in NUMBERS), None)
    if protocol is None or not is_ports(text(protocol, "port")):
        return UNRESOLVED
    source = text(protocol, "source-port") if protocol.find("source-port") is not None else "0-65535"
    return (NUMBERS[protocol.tag], text(protocol, "port"), source) if is_ports(source) else UNRESOLVED


def default_traffic(entry):
    """An application's own traffic: (protocol, ports), ("icmp", protocol, type), and (UNRESOLVED, what widening takes)."""
    found = []
    for member in members(entry, "default/port"):
        protocol, ports = member.split("/")
        number = NUMBERS[protocol]
        parts = ports.split(",")
        found += [(number, part) if part != "dynamic" else (UNRESOLVED, (number, "0-65535")) for part in parts]
    if text(entry, "default/ident-by-ip-protocol"):
        found += [(number, None) for number in numbers(text(entry, "default/ident-by-ip-protocol"))]
    for tag, number in (("ident-by-icmp-type", 1), ("ident-by-icmp6-type", 58)):
        if text(entry, f"default/{tag}/type"):
            for icmp_type in numbers(text(entry, f"default/{tag}/type")):
                kind = ("icmp", number, icmp_type)
                found.append((UNRESOLVED, kind) if text(entry, f"default/{tag}/code") else kind)
    return found
