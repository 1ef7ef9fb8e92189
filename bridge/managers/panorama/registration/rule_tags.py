"""Which of our tags the rules of a device group lack, and which they carry too much, as edits of the candidate. Pure.

A rule that somebody is editing is left alone. `rule_tagging` reads what there is and carries the edits out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

from bridge.managers.panorama.rulebase.document import members
from bridge.managers.panorama.rulebase.own_tags import NOT_ENFORCED, PARTLY, is_own_tag, is_usage_tag
from bridge.managers.wanted_tags import WantedTags

RULEBASES = ("pre-rulebase", "post-rulebase")
_RULES = "security/rules"
# What Panorama notes on elements of a candidate, and on those of a device group.
_NOTED = frozenset({"admin", "dirtyId", "time", "loc"})
_NAMES_A_CALL = 200
_COMMENTS = {
    PARTLY: "Kubernetes clusters enforce a part of this rule. Set by zonebridge.",
    NOT_ENFORCED: "Kubernetes clusters don't enforce this rule. Set by zonebridge.",
}
_USAGE_COMMENT = "No connection in the Kubernetes cluster has hit this rule for so long. Set by zonebridge."


@dataclass(frozen=True, slots=True)
class GroupRules:
    """A device group's rules by rulebase, and the tags that it defines, in one of Panorama's two configurations."""

    rules: Mapping[str, tuple[Element, ...]]
    defined: tuple[Element, ...]

    def by_uuid(self) -> dict[str, tuple[str, Element]]:
        """Each rule with its rulebase. Rules of a Panorama that gives none are in no place."""
        return {uuid: (base, entry) for base in RULEBASES for entry in self.rules[base] if (uuid := entry.get("uuid"))}


@dataclass(frozen=True, slots=True)
class Edit:
    """Merge `element` into the node at a path below the device group, or without one delete what is there."""

    path: str
    element: str = ""


@dataclass(frozen=True, slots=True)
class TagEdits:
    """`expected`: our tags of each rule that they touch, when they are done."""

    edits: tuple[Edit, ...]
    expected: Mapping[str, frozenset[str]]


def tag_edits(running: GroupRules, candidate: GroupRules, wanted: WantedTags) -> TagEdits:
    """What makes the candidate's rules carry what is wanted; of rules alone that are as they are committed."""
    committed = running.by_uuid()
    expected: dict[str, frozenset[str]] = {}
    additions: dict[str, dict[str, list[str]]] = {}
    removals: dict[tuple[str, str], list[str]] = {}
    for uuid, (base, entry) in candidate.by_uuid().items():
        name, current = entry.get("name", ""), own_tags(entry)
        _, before = committed.get(uuid, ("", None))
        if uuid not in wanted.tags or before is None or not _quotable(name):
            continue
        if content(before) != content(entry) or own_tags(before) != current:
            continue
        tags = wanted.tags[uuid]
        if not wanted.usage_known:
            tags |= {tag for tag in current if is_usage_tag(tag)}
        if tags == current:
            continue
        expected[uuid] = tags
        if tags - current:
            additions.setdefault(base, {})[name] = sorted(tags - current)
        emptied = not tags and not set(members(entry.find("tag"))) - current
        for tag in ("",) if emptied else sorted(current - tags):
            removals.setdefault((base, tag), []).append(name)
    used = {tag for rules in additions.values() for tags in rules.values() for tag in tags}
    missing = sorted(used - {entry.get("name") for entry in candidate.defined})
    edits = [Edit("tag", "".join(map(_definition, missing)))] if missing else []
    for base, rules in additions.items():
        edits.append(Edit(f"{base}/{_RULES}", "".join(_tagged(name, tags) for name, tags in rules.items())))
    for (base, tag), rule_names in removals.items():
        edits += [Edit(_members_path(base, names, tag)) for names in _batches(rule_names)]
    return TagEdits(tuple(edits), expected)


def unlike(before: GroupRules, after: GroupRules, done: TagEdits) -> str | None:
    """The rule that isn't what the edits should have made of it: somebody else changed it meanwhile."""
    was, is_now = before.by_uuid(), after.by_uuid()
    for uuid, tags in done.expected.items():
        _, entry = was[uuid]
        _, edited = is_now.get(uuid, ("", None))
        if edited is None or content(edited) != content(entry) or own_tags(edited) != tags:
            return entry.get("name")
    return None


def is_left_over(changes: Element, running: GroupRules, candidate: GroupRules, group: str, admin: str) -> bool | None:
    """Whether all that `admin` has not committed are edits of ours; None where there is nothing of theirs."""
    theirs = [entry for entry in changes.iter("entry") if (entry.findtext("owner") or "").strip() == admin]
    if not theirs:
        return None
    if not all(_is_of_tags(entry, group) for entry in theirs):
        return False
    committed = running.by_uuid()
    for entry in (entry for base in RULEBASES for entry in candidate.rules[base] if _is_marked(entry, admin)):
        _, before = committed.get(entry.get("uuid", ""), ("", None))
        is_hollow = not any(child.tag != "tag" for child in entry)  # made by our edit after somebody deleted the rule
        if not is_hollow and (before is None or content(before) != content(entry)):
            return False
    return all(is_own_tag(entry.get("name", "")) for entry in candidate.defined if entry.get("admin") == admin)


def own_tags(rule: Element) -> frozenset[str]:
    return frozenset(name for name in members(rule.find("tag")) if is_own_tag(name))


def content(rule: Element) -> object:
    """All that a rule says but for our tags and for what Panorama notes of an edit."""
    return rule.get("name"), [_said(child) for child in rule if child.tag != "tag"], _other_tags(rule)


def revert_command(admin: str) -> str:
    root = Element("revert")
    partial = SubElement(SubElement(root, "config"), "partial")
    SubElement(SubElement(partial, "admin"), "member").text = admin
    return tostring(root, encoding="unicode")


def _said(element: Element) -> object:
    attributes = sorted(item for item in element.items() if item[0] not in _NOTED)
    return element.tag, attributes, (element.text or "").strip(), [_said(child) for child in element]


def _other_tags(rule: Element) -> list[str]:
    return [name for name in members(rule.find("tag")) if not is_own_tag(name)]


def _is_of_tags(change: Element, group: str) -> bool:
    """Of a line in Panorama's list of changes: below the device group, at its tags or at tags of its rules."""
    _, _, below = (change.findtext("xpath") or "").partition(f"/device-group/entry[@name='{group}']/")
    if (change.findtext("action") or "").strip().upper() == "DELETE":
        return below.startswith(tuple(f"{base}/{_RULES}/" for base in RULEBASES)) and "/tag" in below
    return below == "tag" or below.startswith(("tag/", *(f"{base}/{_RULES}" for base in RULEBASES)))


def _is_marked(entry: Element, admin: str) -> bool:
    return any(node.get("admin") == admin for node in entry.iter())


def _quotable(name: str) -> bool:
    """PAN-OS names have no quotes; one that has could not be put into a path."""
    return bool(name) and "'" not in name and '"' not in name


def _definition(tag: str) -> str:
    entry = Element("entry", {"name": tag})
    SubElement(entry, "comments").text = _COMMENTS.get(tag, _USAGE_COMMENT)
    return tostring(entry, encoding="unicode")


def _tagged(rule: str, tags: list[str]) -> str:
    entry = Element("entry", {"name": rule})
    holder = SubElement(entry, "tag")
    for tag in tags:
        SubElement(holder, "member").text = tag
    return tostring(entry, encoding="unicode")


def _members_path(base: str, names: tuple[str, ...], tag: str) -> str:
    """Of a tag of these rules; of an empty one all their tags."""
    some = " or ".join(f"@name='{name}'" for name in names)
    return f"{base}/{_RULES}/entry[{some}]/tag" + (f"/member[text()='{tag}']" if tag else "")


def _batches(names: list[str]) -> Iterator[tuple[str, ...]]:
    for at in range(0, len(names), _NAMES_A_CALL):
        yield tuple(names[at : at + _NAMES_A_CALL])
