"""Names of a configuration, looked up the slow way: walk the device groups, take the first entry of that name.

The witness's half that answers `what does this name stand for`. Shares no code with the reader that it judges.
"""

from ipaddress import ip_address
from zoneinfo import ZoneInfo

from tests.oracle.literals import (
    UNRESOLVED,
    between_dates,
    between_hours,
    is_ports,
    is_window,
    literal,
    tag_filter,
    wildcard,
    within,
)

ADDRESS_KINDS = ("address", "address-group", "external-list", "region")
SERVICE_KINDS = ("service", "service-group")
APPLICATION_KINDS = ("application", "application-group", "application-filter", "application-container")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
NUMBERS = {"tcp": 6, "udp": 17, "sctp": 132}


def members(element, path):
    return [(member.text or "").strip() for member in element.findall(f"{path}/member")]


def text(element, path):
    return (element.findtext(path) or "").strip()


def lineage(config, group):
    """The device group, its parent, and so on up to Shared: elements, nearest first."""
    path = "devices/entry/device-group/entry"
    here = next(entry for entry in config.findall(path) if entry.get("name") == group)
    for entry in config.findall(f"readonly/{path}"):
        if entry.get("name") == group and text(entry, "parent-dg"):
            return [here, *lineage(config, text(entry, "parent-dg"))]
    return [here, config.find("shared")]


class Names:
    """One configuration as one device group sees it."""

    def __init__(self, config, group, site):
        self.site = site
        self.config = config
        self.levels = lineage(config, group)
        self.predefined = config.find("predefined")

    def find(self, name, kinds):
        """(kind, entry) of the nearest object of that name, or None. What Panorama ships comes last of all."""
        levels = self.levels[::-1] if self.site.ancestors_win else self.levels
        for level in [*levels, self.predefined]:
            for kind in kinds:
                for entry in level.findall(f"{kind}/entry"):
                    if entry.get("name") == name:
                        return kind, entry
        return None

    def visible(self, kind, kinds):
        """All entries of one kind that their own name leads to."""
        everywhere = [entry for level in [*self.levels, self.predefined] for entry in level.findall(f"{kind}/entry")]
        return [entry for entry in everywhere if self.find(entry.get("name"), kinds) == (kind, entry)]

    # Addresses: a leaf is (first, last), ("wildcard", base, mask) or UNRESOLVED.

    def address_leaves(self, name, seen=()):
        if name in seen:
            return
        found = self.find(name, ADDRESS_KINDS)
        if found is None:
            yield literal(name)
            return
        kind, entry = found
        if kind == "address":
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
            yield from self.dynamic(text(entry, "dynamic/filter"))
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
        return [literal(prefix) for prefix in self.site.feeds[name]]

    def dynamic(self, wanted):
        try:
            for entry in self.tagged(wanted):
                yield from self.address_object(entry)
            for address, tags in self.site.registered.items():
                if tag_filter(wanted)(tags):
                    yield literal(address)
        except ValueError:
            yield UNRESOLVED

    def tagged(self, wanted):
        test = tag_filter(wanted)
        return [entry for entry in self.visible("address", ADDRESS_KINDS) if test(members(entry, "tag"))]

    def address_parts(self, name, seen=()):
        """The name and every name below it, groups opened."""
        if name in seen:
            return
        yield name
        found = self.find(name, ADDRESS_KINDS)
        if found is None or found[0] != "address-group":
            return
        for member in members(found[1], "static"):
            yield from self.address_parts(member, (*seen, name))
        if found[1].find("dynamic") is not None and UNRESOLVED not in self.address_leaves(name):
            yield from (entry.get("name") for entry in self.tagged(text(found[1], "dynamic/filter")))

    def covers(self, name, address):
        return any(within(leaf, ip_address(address)) for leaf in self.address_leaves(name))

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
        found = self.find(name, ADDRESS_KINDS)
        return found is not None and found[0] == "address-group" and bool(members(found[1], "static"))

    # Services: a leaf is (protocol, ports, source ports) or UNRESOLVED.

    def service_leaves(self, name, seen=()):
        if name in seen:
            return
        found = self.find(name, SERVICE_KINDS)
        if found is None:
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
        if found is None:
            yield UNRESOLVED
            return
        kind, entry = found
        if kind == "application":
            yield self.application(entry)
        elif kind == "application-filter":
            yield from self.selected(entry)
        else:
            for member in members(entry, "members" if kind == "application-group" else "functional-apps"):
                yield from self.application_leaves(member, (*seen, name))

    def application(self, entry):
        shipped = any(entry is each for each in self.predefined.findall("application/entry"))
        return ("predefined" if shipped else "workload", entry)

    def selected(self, wanted):
        criteria = [each for each in wanted if each.tag != "description"]
        if any(each.tag not in {"category", "subcategory", "technology", "risk"} for each in criteria):
            yield UNRESOLVED
            return
        for entry in self.visible("application", APPLICATION_KINDS):
            if all(text(entry, each.tag) in members(wanted, each.tag) for each in criteria):
                yield self.application(entry)

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


def readable(schedule):
    """Whether all of a schedule's windows can be read, on days that exist."""
    windows = [member.text or "" for member in schedule.iter("member")]
    days = [day.tag for day in schedule.findall("schedule-type/recurring/weekly/*")]
    if schedule.find("schedule-type/recurring") is None and schedule.find("schedule-type/non-recurring") is None:
        return False
    return all(day in DAYS for day in days) and all(is_window(window) for window in windows)


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
        found.append((UNRESOLVED, (number, "0-65535")) if ports == "dynamic" else (number, ports))
    if text(entry, "default/ident-by-ip-protocol"):
        found.append((int(text(entry, "default/ident-by-ip-protocol")), None))
    for tag, number in (("ident-by-icmp-type", 1), ("ident-by-icmp6-type", 58)):
        if text(entry, f"default/{tag}/type"):
            kind = ("icmp", number, int(text(entry, f"default/{tag}/type")))
            found.append((UNRESOLVED, kind) if text(entry, f"default/{tag}/code") else kind)
    return found
