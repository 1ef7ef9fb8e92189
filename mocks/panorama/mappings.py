"""What User-ID messages put into memory without a commit: tags of addresses, users of addresses.

It forgets what timed out whenever it is read; the user-id handler writes it, the show commands read it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from xml.etree.ElementTree import Element, SubElement

FOREVER = float("inf")


class MappingError(ValueError):
    """Why one entry of a message was not taken, in Panorama's words."""


@dataclass(slots=True)
class Mappings:
    """Registered addresses with their tags, and users, each until a time."""

    clock: Callable[[], float]
    tags: dict[str, dict[str, float]] = field(default_factory=dict)
    users: dict[str, tuple[str, float]] = field(default_factory=dict)
    soonest: float = FOREVER

    def register(self, ip: str, tag: str, seconds: float | None = None) -> None:
        if not is_address(ip):
            raise MappingError(f"{ip} is not a valid ip")
        held = self.tags.setdefault(ip, {})
        if held.get(tag, 0.0) > self.clock() and seconds is None:
            raise MappingError(f"tag {tag} already exists, ignore")
        held[tag] = self.clock() + seconds if seconds else FOREVER
        self.soonest = min(self.soonest, held[tag])

    def unregister(self, ip: str, tag: str | None = None) -> None:
        held = self.tags.get(ip, {})
        if not held or (tag is not None and tag not in held):
            raise MappingError(
                f"tag {tag} does not exist, ignore unreg" if tag else f"ip {ip} does not exist, ignore unreg"
            )
        if tag is None:
            held.clear()
        else:
            del held[tag]
        if not held:
            del self.tags[ip]

    def forget(self) -> None:
        """What timed out; nothing is looked through before the first time is over."""
        now = self.clock()
        if now < self.soonest:
            return
        for ip, held in list(self.tags.items()):
            self.tags[ip] = {tag: until for tag, until in held.items() if until > now}
            if not self.tags[ip]:
                del self.tags[ip]
        self.users = {ip: (user, until) for ip, (user, until) in self.users.items() if until > now}
        times = [until for held in self.tags.values() for until in held.values()]
        self.soonest = min([*times, *(until for _, until in self.users.values())], default=FOREVER)

    def registered(self, ip: str | None = None, tag: str | None = None) -> list[tuple[str, list[str]]]:
        """Addresses and tags, in the order of their registration."""
        self.forget()
        return [
            (address, list(held))
            for address, held in self.tags.items()
            if ip in {None, address} and (tag is None or tag in held)
        ]

    def login(self, user: str, ip: str, minutes: float | None = None) -> None:
        if not is_address(ip):
            raise MappingError(f"{ip} is not a valid ip")
        until = self.clock() + minutes * 60 if minutes else FOREVER
        self.users[ip] = (user, until)
        self.soonest = min(self.soonest, until)

    def logout(self, ip: str) -> None:
        self.users.pop(ip, None)


def is_address(text: str) -> bool:
    """An address, a prefix or a range of either family."""
    try:
        if "/" in text:
            ipaddress.ip_network(text, strict=False)
        else:
            for part in text.split("-", 1):
                ipaddress.ip_address(part)
    except ValueError:
        return False
    return True


def apply(mappings: Mappings, payload: Element) -> list[tuple[str, str, str]]:
    """Take every entry of a message; what was not taken comes back as (command, ip, why)."""
    refused = []
    for command in payload:
        for entry in command.findall("entry"):
            for member, act in actions(mappings, command.tag, entry):
                try:
                    act()
                except MappingError as error:
                    refused.append((command.tag, member, str(error)))
    return refused


def actions(mappings: Mappings, command: str, entry: Element) -> list[tuple[str, Callable[[], None]]]:
    """What one entry asks for, one call for each tag."""
    ip = entry.get("ip", "")
    members = entry.findall("tag/member")
    match command:
        case "register":
            return [
                (ip, partial(mappings.register, ip, member.text or "", number(member.get("timeout"))))
                for member in members
            ]
        case "unregister":
            named: list[str | None] = [member.text or "" for member in members]
            return [(ip, partial(mappings.unregister, ip, tag)) for tag in named or [None]]
        case "login":
            return [(ip, partial(mappings.login, entry.get("name", ""), ip, number(entry.get("timeout"))))]
        case "logout":
            return [(ip, partial(mappings.logout, ip))]
    return []


def number(text: str | None) -> float | None:
    return float(text) if text and text.isdecimal() and len(text) < 10 else None  # noqa: PLR2004 # digits of 30 years


def render_entry(ip: str, tags: list[str]) -> Element:
    entry = Element("entry", {"ip": ip, "from_agent": "0", "persistent": "1"})
    holder = SubElement(entry, "tag")
    for tag in tags:
        SubElement(holder, "member").text = tag
    return entry
