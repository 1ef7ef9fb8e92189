"""App-IDs: custom applications (workloads), predefined ones (ports), groups, filters and containers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from xml.etree.ElementTree import Element

from bridge.managers.panorama.document import entries, members, text_of
from bridge.managers.panorama.seed import SEED_PORTS
from bridge.managers.panorama.tree import Scope, flatten
from zones.net import ICMP, ICMP6, SCTP, TCP, UDP, parse_ports
from zones.rules import L4, Application, Applications, Unresolved
from zones.workload import normalise

KINDS = ("application", "application-group", "application-filter")
BYTE_LAST = 255  # of an IP protocol, of an ICMP type
PROTOCOLS = {"tcp": TCP, "udp": UDP, "sctp": SCTP, "icmp": ICMP, "icmp6": ICMP6}
# A filter selects by these: one of the values, or `yes` for the flags.
FILTER_LISTS = ("category", "subcategory", "technology", "risk")
# What a filter calls a flag is not what an application calls it.
FILTER_FLAG_NAMES = {
    "evasive": "evasive-behavior",
    "excessive-bandwidth-use": "consume-big-bandwidth",
    "used-by-malware": "used-by-malware",
    "transfers-files": "able-to-transfer-file",
    "has-known-vulnerabilities": "has-known-vulnerability",
    "tunnels-other-apps": "tunnel-other-application",
    "prone-to-misuse": "prone-to-misuse",
    "pervasive": "pervasive-use",
}


@dataclass(frozen=True)
class ApplicationObjects:
    """Looks application names up in a scope, then in the predefined content, then in the seed table."""

    scope: Scope

    def members(self, names: tuple[str, ...]) -> Applications:
        """What a rule's application list stands for."""
        if "any" in names:
            return Applications(any=True)
        found = [each for name in names for each in self._member(name)]
        return Applications(
            tuple(dict.fromkeys(each for each in found if isinstance(each, Application))),
            tuple(dict.fromkeys(each for each in found if isinstance(each, Unresolved))),
        )

    def predefined_names(self, names: tuple[str, ...]) -> tuple[frozenset[str], bool]:
        """The names that only predefined content can explain, and whether a filter selects among all of it."""
        leaves = {leaf for name in names if name != "any" for leaf in flatten(name, self._group_members)}
        found = {leaf: self.scope.find(leaf, *KINDS) for leaf in leaves}
        filtered = any(each is not None and each[0] == "application-filter" for each in found.values())
        return frozenset(leaf for leaf, each in found.items() if each is None), filtered

    @cached_property
    def _predefined(self) -> dict[str, Element]:
        content = self.scope.predefined
        return {} if content is None else dict(entries(content, "application"))

    @cached_property
    def _containers(self) -> dict[str, Element]:
        content = self.scope.predefined
        return {} if content is None else dict(entries(content, "application-container"))

    def _member(self, name: str) -> Iterator[Application | Unresolved]:
        for leaf in flatten(name, self._group_members):
            yield from self._leaf(leaf)

    def _group_members(self, name: str) -> tuple[str, ...]:
        found = self.scope.find(name, *KINDS)
        if found is None:
            container = self._containers.get(name)
            return () if container is None else members(container.find("functional-apps"))
        return members(found[1].find("members")) if found[0] == "application-group" else ()

    def _leaf(self, name: str) -> Iterator[Application | Unresolved]:
        found = self.scope.find(name, *KINDS)
        if found is None:
            yield self._predefined_member(name)
        elif found[0] == "application":
            yield _custom(name, found[1])
        elif found[0] == "application-filter":
            yield from self._filter(name, found[1])

    def _predefined_member(self, name: str) -> Application | Unresolved:
        if name in self._predefined:
            return _predefined(name, self._predefined[name])
        if name in SEED_PORTS:
            return Application(name, None, tuple(l4 for text in SEED_PORTS[name] for l4 in _ports(text)))
        return Unresolved(name, "is defined nowhere: no custom application and not in the predefined content")

    def _filter(self, name: str, entry: Element) -> Iterator[Application | Unresolved]:
        try:
            selects = _selector(entry)
        except ValueError as error:
            yield Unresolved(name, f"is a filter that can't be applied: {error}")
            return
        if not self._predefined:
            yield Unresolved(name, "is a filter, and this configuration has no predefined content to select from")
        # A nearer group or filter of the same name takes the application's place here too.
        named = self.scope.all_of(*KINDS)
        for each, (kind, application) in named.items():
            if kind == "application" and selects(application):
                yield _custom(each, application)
        for each, application in self._predefined.items():
            if each not in named and selects(application):
                yield _predefined(each, application)


def _custom(name: str, entry: Element) -> Application:
    ports, unresolved = _default(entry)
    return Application(name, normalise(name), ports, unresolved)


def _predefined(name: str, entry: Element) -> Application:
    ports, unresolved = _default(entry)
    if not ports and not unresolved:
        unresolved = (Unresolved(name, "has no default port"),)
    return Application(name, None, ports, unresolved)


def _default(entry: Element) -> tuple[tuple[L4, ...], tuple[Unresolved, ...]]:
    """An application's default ports, and what of them has no L4 form."""
    default = entry.find("default")
    if default is None:
        return (), ()
    ports: list[L4] = []
    unresolved: list[Unresolved] = []
    for child in default:
        for text, read in _default_members(child):
            try:
                ports.extend(read(text))
            except _Inexpressible as error:
                unresolved.append(Unresolved(text, str(error), error.widened))
            except (ValueError, KeyError):
                unresolved.append(Unresolved(text, f"has '{child.tag}' '{text}', which can't be read"))
    return tuple(ports), tuple(unresolved)


def _default_members(child: Element) -> Iterator[tuple[str, Callable[[str], list[L4]]]]:
    if child.tag == "port":
        yield from ((text, _ports) for text in members(child))
    elif child.tag == "ident-by-ip-protocol":
        yield (child.text or "").strip(), _ip_protocol
    elif child.tag == "ident-by-icmp-type":
        yield _icmp_text(child), lambda text: [_icmp(ICMP, text)]
    elif child.tag == "ident-by-icmp6-type":
        yield _icmp_text(child), lambda text: [_icmp(ICMP6, text)]
    else:
        yield child.tag, _unknown_default


class _Inexpressible(Exception):  # noqa: N818 - a finding, not an error
    def __init__(self, why: str, widened: tuple[L4, ...] = ()) -> None:
        super().__init__(why)
        self.widened = widened


def _ports(text: str) -> list[L4]:
    """`tcp/80,443`, `udp/dynamic`, or a protocol that has no ports (`icmp`)."""
    name, slash, ports = text.partition("/")
    protocol = PROTOCOLS[name.strip().lower()]
    if not slash:
        return [L4(protocol)]
    if "dynamic" in ports:
        raise _Inexpressible(f"uses {text}, which is no port", (L4(protocol),))
    return [L4(protocol, parse_ports(ports))]


def _ip_protocol(text: str) -> list[L4]:
    return [L4(_byte(number)) for number in text.split(",")]


def _byte(text: str) -> int:
    number = int(text)
    if not 0 <= number <= BYTE_LAST:
        raise ValueError(f"{number} is not within 0-{BYTE_LAST}")
    return number


def _icmp_text(child: Element) -> str:
    code = text_of(child, "code")
    return (text_of(child, "type") or (child.text or "").strip()) + (f"/{code}" if code else "")


def _icmp(protocol: int, text: str) -> L4:
    number, slash, _ = text.partition("/")
    widened = L4(protocol, icmp_type=_byte(number))
    if slash:
        raise _Inexpressible(f"has ICMP type and code {text}; this tier knows types only", (widened,))
    return widened


def _unknown_default(text: str) -> list[L4]:
    raise _Inexpressible(f"is known by '{text}', which this tier can't see")


def _selector(entry: Element) -> Callable[[Element], bool]:
    """A predicate over applications. Raises ValueError on a criterion that is not known."""
    tests: list[Callable[[Element], bool]] = []
    for child in entry:
        if child.tag in FILTER_LISTS:
            tests.append(_one_of(child.tag, frozenset(members(child))))
        elif child.tag in FILTER_FLAG_NAMES:
            tests.append(_flag(FILTER_FLAG_NAMES[child.tag], (child.text or "").strip()))
        elif child.tag == "exclude":
            tests.append(_not_named(frozenset(members(child))))
        elif child.tag not in {"description", "disable-override"}:
            raise ValueError(f"unknown criterion '{child.tag}'")
    return lambda application: all(test(application) for test in tests)


def _one_of(tag: str, wanted: frozenset[str]) -> Callable[[Element], bool]:
    return lambda application: (text_of(application, tag) or "") in wanted


def _flag(tag: str, wanted: str) -> Callable[[Element], bool]:
    return lambda application: (text_of(application, tag) or "no") == wanted


def _not_named(excluded: frozenset[str]) -> Callable[[Element], bool]:
    return lambda application: application.get("name") not in excluded
