"""The nft program as a witness: what the kernel holds, as people see it. The enforcer itself doesn't run it."""

import re
import subprocess
from dataclasses import dataclass

TABLE = "zonebridge"
_BLOCK = re.compile(r"^\t(\w+) (\S+) \{\n(.*?)^\t\}$", re.MULTILINE | re.DOTALL)
_ELEMENTS = re.compile(r"^\t\telements = \{(.*?)\}\n", re.MULTILINE | re.DOTALL)
_NUMBER = re.compile("0x[0-9a-f]+")


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
    """Our table in this network namespace; what changes with every change of our own is left out."""
    found = parsed(nft("--stateless", "list", "table", "inet", TABLE))
    found.elements.pop("live", None)
    for (keyword, name), body in found.objects.items():
        if keyword == "set" and "dynamic" in body:
            found.elements.pop(name, None)  # the packets' own
    for key in (("chain", "stamp"), ("chain", "known")):
        found.objects[key] = _NUMBER.sub("", found.objects.get(key, ""))
    return found


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
