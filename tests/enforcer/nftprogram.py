"""The nft program as a witness: what the kernel holds, as people see it. The enforcer itself doesn't run it."""

import re
import subprocess
from dataclasses import dataclass
from hashlib import sha256

from enforcer.rules.chains.base_chains import OLD_NUMBERS

TABLE = "zonebridge"
_BLOCK = re.compile(r"^\t(\w+) (\S+) \{\n(.*?)^\t\}$", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"^\t\telements = \{(.*?)\}\n", re.MULTILINE | re.DOTALL)
_PAIR = re.compile("pair[46]-[0-9a-f]+")
_KEPT = re.compile("(?:(?:net|nets)[46]|ports?)-[0-9a-f]+(?:-[0-9]+)?")
_NUMBER = re.compile("0x[0-9a-f]+")
_NUMBERED = re.compile(f".*{OLD_NUMBERS.decode()}.*")


@dataclass(frozen=True)
class Listing:
    """The text of every object by keyword and name, without counters' values, and the elements by set."""

    objects: dict
    elements: dict


def nft(*arguments, text=None):
    done = subprocess.run(["nft", *arguments], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def listing():
    """Our table in this network namespace; what changes with every change of our own is left out.

    Chains of pairs keep their names while their rules change, and sets while their elements do, so here they are named
    by what they say.
    """
    found = parsed(nft("--stateless", "list", "table", "inet", TABLE))
    found.elements.pop("live", None)
    for (keyword, name), body in found.objects.items():
        if keyword == "set" and "dynamic" in body:
            found.elements.pop(name, None)  # the packets' own
    found.objects["chain", "stamp"] = _NUMBER.sub("", found.objects.get(("chain", "stamp"), ""))
    for key, body in found.objects.items():
        found.objects[key] = _NUMBERED.sub(lambda match: _NUMBER.sub("", match[0]), body)
    return _pairs_by_content(_sets_by_content(found))


def _sets_by_content(found):
    names = {
        name: f"{name.partition('-')[0]}-{sha256(repr((body, sorted(found.elements[name]))).encode()).hexdigest()}"
        for (keyword, name), body in found.objects.items()
        if keyword in {"set", "map"} and _KEPT.fullmatch(name)
    }
    told = lambda text: _KEPT.sub(lambda match: names.get(match[0], match[0]), text)  # noqa: E731 - used right below
    objects = {(keyword, names.get(name, name)): told(body) for (keyword, name), body in found.objects.items()}
    return Listing(objects, {names.get(name, name): each for name, each in found.elements.items()})


def _pairs_by_content(found):
    names = {
        name: f"pair-{sha256(body.encode()).hexdigest()}"
        for (keyword, name), body in found.objects.items()
        if keyword == "chain" and _PAIR.fullmatch(name)
    }
    told = lambda text: _PAIR.sub(lambda match: names.get(match[0], match[0]), text)  # noqa: E731 - used right below
    objects = {(keyword, names.get(name, name)): told(body) for (keyword, name), body in found.objects.items()}
    return Listing(objects, {name: frozenset(map(told, each)) for name, each in found.elements.items()})


def parsed(text):
    objects = {("table", TABLE): "".join(_BLOCK.sub("", text).split())}
    held = {}
    for keyword, name, body in _BLOCK.findall(text):
        objects[keyword, name] = _ELEMENTS.sub("", body)
        if keyword in {"set", "map"}:
            found = _ELEMENTS.search(body)
            held[name] = frozenset(_separate(found[1])) if found else frozenset()
    return Listing(objects, held)


def _separate(text):
    """Elements between commas; a comma within quotes separates nothing."""
    parts = re.findall(r'(?:[^",]|"[^"]*")+', " ".join(text.split()))
    return [part.strip() for part in parts if part.strip()]
