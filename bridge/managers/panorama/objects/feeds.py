"""FQDN objects and external lists as feeds: what to resolve or fetch, and when. It fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from xml.etree.ElementTree import Element

from bridge.managers.panorama.objects.schedules import DAYS
from bridge.managers.panorama.rulebase.document import members, text_of
from zones.rules import HOURLY, Feed, FeedKind, Period, Recurring

LIST_KINDS = {"ip": FeedKind.IP_LIST, "domain": FeedKind.DOMAIN_LIST}
# The lists of Palo Alto Networks, by the names that its web interface shows.
DISPLAY_NAMES = {
    "Palo Alto Networks - Known malicious IP addresses": "panw-known-ip-list",
    "Palo Alto Networks - High risk IP addresses": "panw-highrisk-ip-list",
    "Palo Alto Networks - Bulletproof IP addresses": "panw-bulletproof-ip-list",
    "Palo Alto Networks - Tor exit IP addresses": "panw-torexit-ip-list",
}
# A week's are counted from Monday, 0.
LAST_DAYS = {Period.WEEKLY: 6, Period.MONTHLY: 31}


def fqdn(name: str, host: str) -> Feed:
    """An address object of a DNS name; how long its addresses hold is the DNS's to say."""
    return Feed(name, FeedKind.FQDN, host)


def provided_name(name: str) -> str | None:
    """The built-in name of a list that Palo Alto Networks provides; None of anything else."""
    if name in DISPLAY_NAMES:
        return DISPLAY_NAMES[name]
    return name if name.startswith("panw-") and name.endswith("-list") else None


def provided(name: str, locations: Mapping[str, str], exceptions: tuple[str, ...] = (), own: str = "") -> Feed:
    """Such a list: from where the site has it, or from nowhere but what a user gives. With exceptions it is another."""
    location = locations.get(name)
    kind = FeedKind.PROVIDED if location is None else FeedKind.IP_LIST
    return Feed(own if exceptions else name, kind, location or name, exceptions=exceptions)


def external_list(name: str, entry: Element, time_zone: str, locations: Mapping[str, str]) -> Feed | str:
    """An external dynamic list, or why it is none that holds addresses."""
    kind = entry.find("type")
    content = kind[0] if kind is not None and len(kind) else None
    if content is not None and content.tag == "predefined-ip":
        listed = text_of(content, "url") or name
        return provided(provided_name(listed) or listed, locations, members(content.find("exception-list")), name)
    if content is None or content.tag not in LIST_KINDS:
        kind_of_list = "none" if content is None else content.tag
        return f"is an external list of type '{kind_of_list}', which holds no addresses for this tier"
    url = text_of(content, "url")
    if url is None or not url.startswith(("https://", "http://")):
        return f"is an external list without an http or https address: '{url or ''}'"
    try:
        recurring = _recurring(content.find("recurring"))
    except ValueError as error:
        return f"is an external list whose schedule can't be read: {error}"
    exceptions = members(content.find("exception-list"))
    return Feed(name, LIST_KINDS[content.tag], url, recurring, exceptions, time_zone)


def _recurring(element: Element | None) -> Recurring:
    """Without a schedule PAN-OS fetches every hour. Raises ValueError."""
    if element is None or not len(element):
        return HOURLY
    chosen = element[0]
    if chosen.tag not in {period.value for period in Period}:
        raise ValueError(f"'{chosen.tag}' is no period")
    hour = int((text_of(chosen, "at") or "0").partition(":")[0])
    day = _day(text_of(chosen, "day-of-week") or text_of(chosen, "day-of-month") or "")
    period = Period(chosen.tag)
    if not 0 <= hour < 24:  # noqa: PLR2004 - hours of a day
        raise ValueError(f"{hour} is no hour")
    if not 0 <= day <= LAST_DAYS.get(period, 0):
        raise ValueError(f"{day} is no day of a {period} list")
    return Recurring(period, hour, day)


def _day(text: str) -> int:
    return DAYS.index(text.lower()) if text.lower() in DAYS else int(text or 0)
