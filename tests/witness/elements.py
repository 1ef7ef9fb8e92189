"""The table of elements, and what of a configuration, of code and of an SDK is not in it."""

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

# What holds objects and rules together, and is itself no object's element.
STRUCTURE = frozenset(
    "config shared devices entry member device-group readonly id parent-dg template template-stack vsys zone predefined "
    "pre-rulebase post-rulebase security rules default-security-rules result response application-version".split()
)
OBJECTS = (
    "address", "address-group", "external-list", "region", "service", "service-group", "application", "application-group",
    "application-filter", "application-container", "application-tag", "application-status", "schedule", "tag",
)  # fmt: skip
READERS = {"find", "findall", "findtext", "iterfind", "iter", "text_of", "yes", "text", "members", "words", "entries"}


@dataclass(frozen=True)
class Element:
    shape: str
    effect: str
    sources: str


def load():
    """kind -> path -> Element."""
    text = (Path(__file__).parent / "elements.yaml").read_text(encoding="utf-8")
    return {
        kind: {path: Element(*words.split()) for path, words in elements.items() if path != "place"}
        for kind, elements in yaml.safe_load(text).items()
    }


TABLE = load()
NAMES = STRUCTURE | set(OBJECTS) | {name for paths in TABLE.values() for path in paths for name in path.split("/")}


def strangers(config):
    """Paths of elements in a configuration's rules and objects that are in no source: (kind, path)."""
    for kind in OBJECTS:
        for section in config.iter(kind):
            for entry in section.findall("entry"):
                yield from unknown_below(kind, entry)
    for entry in config.iterfind(".//security/rules/entry"):
        yield from unknown_below("rule", entry)
    for entry in config.iterfind(".//default-security-rules/rules/entry"):
        yield from unknown_below("default-rule", entry)


def unknown_below(kind, entry, path=""):
    for child in entry:
        if child.tag in {"member", "entry"}:
            continue
        below = f"{path}/{child.tag}".lstrip("/")
        known = TABLE[kind].get(below)
        if known is None:
            yield kind, below
        elif known.shape in {"node", "list"}:
            yield from unknown_below(kind, child, below)


def paths_in(source):
    """Element names in the paths that Python code asks XML for, with the line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and called(node) in READERS:
            for text in (text for argument in node.args for text in constants(argument)):
                for name in re.split(r"[/.]", re.sub(r"\[[^]]*\]|\[.*$|^.*?\]", "", text)):
                    if re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
                        yield name, node.lineno


def called(node):
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def constants(argument):
    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
        yield argument.value
    if isinstance(argument, ast.JoinedStr):
        yield "".join(part.value if isinstance(part, ast.Constant) else "*" for part in argument.values)
