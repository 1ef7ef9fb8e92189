"""Device groups as a configuration has them: names, parents, devices, and the sum of a group's merged policy.

It only reads trees; the operational commands and the push to devices use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import md5
from weakref import WeakKeyDictionary
from xml.etree.ElementTree import Element

from mocks.panorama.tree import serialize, shallow

LOCALHOST = "devices/entry[@name='localhost.localdomain']"
NOT_POLICY = {"devices", "description", "reference-templates", "to-sw-version", "authorization-code", "log-settings"}
FIRST_ID = 11


@dataclass(frozen=True, slots=True)
class Group:
    """One device group, and the one above it (none: directly under Shared)."""

    name: str
    entry: Element
    parent: str | None
    id: int

    @property
    def serials(self) -> list[str]:
        return [entry.get("name", "") for entry in self.entry.findall("devices/entry")]


@dataclass(slots=True)
class Sums:
    """MD5 sums of subtrees that were computed before; trees don't change, so neither do their sums."""

    known: WeakKeyDictionary[Element, bytes]

    @classmethod
    def empty(cls) -> Sums:
        return cls(WeakKeyDictionary())

    def of(self, node: Element) -> bytes:
        if node not in self.known:
            self.known[node] = md5(serialize(node), usedforsecurity=False).digest()
        return self.known[node]

    def policy(self, container: Element) -> bytes:
        """The sum of the policy in Shared or in a group; nothing when there is none."""
        nodes = [node for node in container if node.tag not in NOT_POLICY and len(node)]
        return b"".join(node.tag.encode() + self.of(node) for node in sorted(nodes, key=lambda node: node.tag))

    def merged(self, root: Element, groups: dict[str, Group], name: str) -> str:
        """What `shared-policy-md5sum` shows: Shared, the ancestors from the top, the group."""
        shared = root.find("shared")
        parts = [self.policy(shared)] if shared is not None else []
        parts += [self.policy(group.entry) for group in reversed(list(upwards(groups, name)))]
        return md5(b"".join(parts), usedforsecurity=False).hexdigest()


def read_groups(root: Element) -> dict[str, Group]:
    """Every device group of a configuration, in its order."""
    readonly = root.find(f"readonly/{LOCALHOST}/device-group")
    facts = {entry.get("name", ""): entry for entry in readonly} if readonly is not None else {}
    entries = root.findall(f"{LOCALHOST}/device-group/entry")
    names = {entry.get("name", "") for entry in entries}
    found = {}
    for at, entry in enumerate(entries):
        name = entry.get("name", "")
        fact = facts.get(name)
        parent = fact.findtext("parent-dg") if fact is not None else None
        number = (fact.findtext("id") or "") if fact is not None else ""
        found[name] = Group(
            name, entry, parent if parent in names else None, int(number) if number.isdecimal() else FIRST_ID + at
        )
    return found


def upwards(groups: dict[str, Group], name: str) -> Iterator[Group]:
    """The group, its parent, and so on to the top; a circle ends where it would begin again."""
    seen: set[str] = set()
    group = groups.get(name)
    while group is not None and group.name not in seen:
        seen.add(group.name)
        yield group
        group = groups.get(group.parent) if group.parent else None


def hierarchy(groups: dict[str, Group]) -> Element:
    """The tree that `show dg-hierarchy` shows."""
    top = Element("dg-hierarchy")
    nodes = {name: Element("dg", {"name": name, "dg_id": str(group.id)}) for name, group in groups.items()}
    for name, group in groups.items():
        line = [above.name for above in upwards(groups, name)]
        circular = group.parent is not None and groups[line[-1]].parent is not None
        holder = top if group.parent is None or circular else nodes[group.parent]
        holder.append(nodes[name])
    return top


def number_groups(root: Element) -> Element:
    """The root with a line under `readonly` for each device group, and none for those that are gone."""
    readonly = root.find(f"readonly/{LOCALHOST}/device-group")
    facts = list(readonly) if readonly is not None else []
    names = [group.entry.get("name", "") for group in read_groups(root).values()]
    kept = [fact for fact in facts if fact.get("name") in names]
    missing = [name for name in names if name not in {fact.get("name") for fact in facts}]
    if len(kept) == len(facts) and not missing:
        return root
    used = [int(number) for fact in facts if (number := fact.findtext("id") or "").isdecimal()]
    first = max([FIRST_ID - 1, *used]) + 1
    return with_facts(root, [*kept, *(new_fact(name, first + at) for at, name in enumerate(missing))])


def with_facts(root: Element, facts: list[Element]) -> Element:
    """The root with these lines as the readonly facts of its device groups."""
    fresh = shallow(root)
    node = fresh
    for tag, name in (
        ("readonly", None),
        ("devices", None),
        ("entry", "localhost.localdomain"),
        ("device-group", None),
    ):
        at = next((i for i, child in enumerate(node) if child.tag == tag and child.get("name") == name), None)
        child = Element(tag, {"name": name} if name else {}) if at is None else shallow(node[at])
        if at is None:
            node.append(child)
        else:
            node[at] = child
        node = child
    node[:] = facts
    return fresh


def new_fact(name: str, number: int, parent: str | None = None) -> Element:
    fact = Element("entry", {"name": name})
    identity = Element("id")
    identity.text = str(number)
    fact.append(identity)
    if parent is not None:
        above = Element("parent-dg")
        above.text = parent
        fact.append(above)
    return fact


def reparent(root: Element, name: str, parent: str | None) -> Element:
    """The root in which the group stands under `parent`, or directly under Shared."""
    groups = read_groups(root)
    facts = [new_fact(g.name, g.id, parent if g.name == name else g.parent) for g in groups.values()]
    return with_facts(root, facts)
