"""config/chart/values.yaml as a list of values with their defaults and what the comment above each says. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CHART = Path(__file__).parents[1] / "config" / "chart"
KEY = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]+):")
COMMENT = re.compile(r"^ *# -- (?P<text>.*)")
# What is Kubernetes' own, or a settings file, is one value.
WHOLE = {"settings", "resources", "labels", "annotations"}


@dataclass(frozen=True, slots=True)
class Value:
    """`bridge.replicas`, 2, "One leads, the others wait."."""

    path: tuple[str, ...]
    default: Any
    meaning: str


def values() -> Iterator[Value]:
    """Every value in the file's order."""
    text = (CHART / "values.yaml").read_text()
    yield from _walk(yaml.safe_load(text), (), dict(_comments(text)))


def _walk(node: dict[str, Any], path: tuple[str, ...], comments: dict[tuple[str, ...], str]) -> Iterator[Value]:
    for key, default in node.items():
        here = (*path, key)
        if isinstance(default, dict) and default and key not in WHOLE:
            yield from _walk(default, here, comments)
        else:
            yield Value(here, default, comments.get(here, ""))


def _comments(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """By indentation: `# -- text` belongs to the next key."""
    path: list[str] = []
    comment = ""
    for line in text.splitlines():
        if found := COMMENT.match(line):
            comment = found["text"]
        elif found := KEY.match(line):
            path[len(found["indent"]) // 2 :] = [found["key"]]
            if comment:
                yield tuple(path), comment
            comment = ""
