"""User-ID messages: addresses and tags to XML, and what of them Panorama says that it did not take. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from xml.etree.ElementTree import Element, SubElement, tostring

from bridge.managers.panorama.registration.plan import TagMessage, Verb

# Said of what is as wanted already.
_HARMLESS = ("already exists, ignore", "does not exist, ignore unreg")


def uid_message(message: TagMessage, timeout: timedelta | None) -> str:
    """The XML of one call. With a timeout, what is registered ends by itself unless it is said again."""
    root = Element("uid-message")
    SubElement(root, "version").text = "2.0"
    SubElement(root, "type").text = "update"
    verb = SubElement(SubElement(root, "payload"), message.verb)
    seconds = (
        {} if timeout is None or message.verb is Verb.UNREGISTER else {"timeout": f"{timeout.total_seconds():.0f}"}
    )
    for ip, tags in message.entries.items():
        holder = SubElement(SubElement(verb, "entry", {"ip": ip}), "tag")
        for tag in sorted(tags):
            SubElement(holder, "member", seconds).text = tag
    return tostring(root, encoding="unicode")


def not_taken(answer: Element) -> Iterator[str]:
    """What Panorama refused of a message, one clause each."""
    for entry in answer.iterfind(".//uid-response/payload/*/entry"):
        why = entry.get("message") or ""
        if why and not why.endswith(_HARMLESS):
            yield f"{entry.get('ip')}: {why}"


def registered(page: Element) -> dict[str, frozenset[str]]:
    """A page of `show object registered-ip`."""
    return {
        ip: frozenset(member.text or "" for member in entry.iterfind("tag/member"))
        for entry in page.iterfind("entry")
        if (ip := entry.get("ip"))
    }


def registered_pages(
    op: Callable[[str], Element], command: Callable[[int], str], size: int
) -> Iterator[dict[str, frozenset[str]]]:
    """What `show object registered-ip` answers, in pages of `size` entries. `command`: by the entry that it begins at.

    A page may repeat what moved in between. A Panorama that doesn't page repeats itself: that ends it, too.
    """
    count, known = 0, set[str]()
    while True:
        answer = op(command(count + 1))
        page = registered(answer)
        yield page
        entries, new = len(answer.findall("entry")), page.keys() - known
        if entries < size or not new:
            return
        count += entries
        known |= new
