"""The small words of PAN-OS, read the slow way: addresses, ports, windows of time, filters over tags."""

import re
from datetime import datetime, time, timedelta
from ipaddress import ip_address, ip_network

UNRESOLVED = ("unresolved",)


def literal(word):
    """A prefix, an address or a range; what is none of these is unresolved."""
    try:
        if "-" in word:
            first, last = (ip_address(end) for end in word.split("-"))
            return (first, last) if first.version == last.version and first <= last else UNRESOLVED
        network = ip_network(word, strict=False)
    except ValueError:
        return UNRESOLVED
    return network[0], network[-1]


def wildcard(word):
    """`10.0.2.0/0.255.0.255`: a set bit of the mask is a bit that doesn't count. Too scattered ones can't be expressed."""
    base, mask = (ip_address(part) for part in word.split("/"))
    scattered = f"{int(mask):b}".rstrip("1").count("1")
    return ("wildcard", base, mask) if scattered <= 16 else UNRESOLVED


def within(leaf, address):
    """Whether an address is in a leaf. In what Panorama writes, an IPv4 address is the IPv6 address of that number."""
    if leaf == UNRESOLVED:
        return False
    if leaf[0] == "wildcard":
        _, base, mask = leaf
        return address.version == base.version and int(address) | int(mask) == int(base) | int(mask)
    first, last = leaf[-2:]
    if leaf[0] == "listed" or first.version == 4:
        return address.version == first.version and first <= address <= last
    return int(first) <= int(address) <= int(last)


def is_ports(ports):
    for part in ports.split(","):
        ends = part.strip().split("-")
        if (
            len(ends) > 2
            or not all(end.isdigit() and int(end) <= 65535 for end in ends)
            or int(ends[0]) > int(ends[-1])
        ):
            return False
    return True


def has_port(ports, port):
    """Whether `80,8000-8010` holds the port."""
    return any(int(part.split("-")[0]) <= port <= int(part.split("-")[-1]) for part in ports.split(","))


def numbers(word):
    """`0,8` or `3-5` as numbers."""
    for part in word.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def is_window(window):
    """`08:00-17:00`, or a start and an end with their dates."""
    hour = "(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)"
    if re.fullmatch(f"{hour}-{hour}", window):
        return True
    try:
        start, end = dates(window)
    except ValueError:
        return False
    return start < end


def between_hours(window, local, of_day):
    """Whether the time is in `22:00-05:00` on a day that counts; past midnight the day before counts."""
    start, end = (minutes(word) for word in window.split("-"))
    now = local - datetime.combine(local.date(), time())
    today, yesterday = local.weekday(), (local.weekday() - 1) % 7
    if start < end:
        return of_day(today) and start <= now < end
    return (of_day(today) and start <= now) or (of_day(yesterday) and now < end)


def minutes(word):
    hours, minute = word.split(":")
    return timedelta(hours=int(hours), minutes=int(minute))


def between_dates(window, local):
    start, end = dates(window)
    return start <= local < end


def dates(window):
    start, end = (datetime.strptime(word, "%Y/%m/%d@%H:%M") for word in window.split("-"))  # noqa: DTZ007
    return start, end


def tag_filter(wanted):
    """`'a' and (b or c)` as a test on tags; raises ValueError on anything else. `and` binds tighter than `or`."""
    words = re.findall(r"'[^']*'|[()]|[^\s()']+|'", wanted)

    def either():
        tests = [both()]
        while words and words[0].lower() == "or":
            words.pop(0)
            tests.append(both())
        return lambda tags: any(test(tags) for test in tests)

    def both():
        tests = [one()]
        while words and words[0].lower() == "and":
            words.pop(0)
            tests.append(one())
        return lambda tags: all(test(tags) for test in tests)

    def one():
        word = words.pop(0) if words else ""
        if word == "(":
            inner = either()
            if not words or words.pop(0) != ")":
                raise ValueError(wanted)
            return inner
        if word in {"", ")", "'"} or word.lower() in {"and", "or", "not"}:
            raise ValueError(wanted)
        tag = word.strip("'")
        return lambda tags: tag in tags

    test = either()
    if words:
        raise ValueError(wanted)
    return test
