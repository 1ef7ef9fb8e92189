"""Application filters: which applications one selects, and which it may select where PAN-OS's reading isn't known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from bridge.managers.panorama.rulebase.document import members, text_of

# One of the values must be the application's.
LISTS = ("category", "subcategory", "technology", "risk")
# What a filter calls a characteristic is not what an application calls it.
CHARACTERISTICS = {
    "evasive": "evasive-behavior",
    "excessive-bandwidth-use": "consume-big-bandwidth",
    "used-by-malware": "used-by-malware",
    "transfers-files": "able-to-transfer-file",
    "has-known-vulnerabilities": "has-known-vulnerability",
    "tunnels-other-apps": "tunnel-other-application",
    "prone-to-misuse": "prone-to-misuse",
    "pervasive": "pervasive-use",
    "is-saas": "is-saas",
}
SILENT = frozenset({"disable-override"})
OTHERS = {
    "new-appid": "selects new App-IDs, which are others after each content update",
    "saas-certifications": "selects by certifications of SaaS providers, which App-ID content doesn't tell",
    "saas-risk": "selects by risks of SaaS providers, which App-ID content doesn't tell",
}
TAGS_UNKNOWN = "selects by tags of App-IDs, and neither the predefined content here nor the configuration has any"

Test = Callable[[Element, frozenset[str]], bool]


class ApplicationFilterError(ValueError):
    """A filter can't be applied; the message is a clause."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Tests an application with its tags: whether the filter selects it for certain, and whether it may."""

    certain: tuple[Test, ...]
    possible: tuple[Test, ...]
    doubt: str = ""

    def selects(self, application: Element, tags: frozenset[str]) -> bool:
        return all(test(application, tags) for test in self.certain)

    def may_select(self, application: Element, tags: frozenset[str]) -> bool:
        return all(test(application, tags) for test in self.possible)


def selector(entry: Element, *, tags_known: bool) -> Selector:
    """Reads a filter. Raises FilterError on a criterion that can't be judged.

    Between two characteristics PAN-OS may mean 'and' or 'or'. {evasive, used-by-malware} selects for certain what is
    both, and may select what is one of them.
    """
    lists: list[Test] = []
    flags: list[Test] = []
    tagging: Element | None = None
    for child in entry:
        if child.tag in LISTS:
            lists.append(_one_of(child.tag, frozenset(members(child))))
        elif child.tag in CHARACTERISTICS:
            flags += _characteristic(child)
        elif child.tag == "exclude":
            lists.append(_not_named(frozenset(members(child))))
        elif child.tag == "tagging":
            tagging = child
        elif child.tag in OTHERS:
            if (child.text or "").strip() != "no" or len(child):
                raise ApplicationFilterError(OTHERS[child.tag])
        elif child.tag not in SILENT:
            raise ApplicationFilterError(
                f"is a filter with the criterion '{child.tag}', which is not known to this version"
            )
    if not (flags or tagging is not None or any(entry.find(tag) is not None for tag in LISTS)):
        raise ApplicationFilterError("is a filter without a criterion")
    every, some = _tagging(tagging, tags_known=tags_known)
    either = (_either(flags),) if flags else ()
    return Selector((*lists, *every, *flags), (*lists, *some, *either), _doubt(len(flags), len(every)))


def _doubt(flags: int, tags: int) -> str:
    what = [word for word, count in (("characteristics", flags), ("tags", tags)) if count > 1]
    if not what:
        return ""
    return f"selects by several {' and '.join(what)}, and whether all or any of them must hold is not documented"


def _one_of(tag: str, wanted: frozenset[str]) -> Test:
    return lambda application, _: (text_of(application, tag) or "") in wanted


def _characteristic(child: Element) -> list[Test]:
    """`no` is a box that isn't ticked: it selects nothing and excludes nothing."""
    text = (child.text or "").strip()
    if text not in {"yes", "no"}:
        raise ApplicationFilterError(f"is a filter whose '{child.tag}' is '{text}', neither yes nor no")
    tag = CHARACTERISTICS[child.tag]
    return [lambda application, _: (text_of(application, tag) or "no") == "yes"] if text == "yes" else []


def _either(tests: list[Test]) -> Test:
    return lambda application, tags: any(test(application, tags) for test in tests)


def _not_named(excluded: frozenset[str]) -> Test:
    return lambda application, _: application.get("name") not in excluded


def _tagging(tagging: Element | None, *, tags_known: bool) -> tuple[list[Test], tuple[Test, ...]]:
    """The tags that must all hold for certainty, and that any of them holds."""
    if tagging is None:
        return [], ()
    if any(child.tag not in {"tag", "no-tag"} for child in tagging):
        raise ApplicationFilterError("is a filter whose 'tagging' is not known to this version")
    if not tags_known:
        raise ApplicationFilterError(TAGS_UNKNOWN)
    tests = [_tagged(name) for name in members(tagging.find("tag"))]
    if text_of(tagging, "no-tag") == "yes":
        tests.append(lambda _, tags: not tags)
    return tests, (_either(tests),) if tests else ()


def _tagged(name: str) -> Test:
    """The content writes the tags that it brings in brackets, as filters do."""
    return lambda _, tags: name in tags
