"""Which sections are evidence for which control: files of data, numbers and our own words, nobody's text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import yaml

from bridge.reports.model import Field, ReportSection

NAMES = ("pci-dss-4.0.1", "nist-800-53", "soc-2", "iso-27001")


@dataclass(frozen=True, slots=True)
class Control:
    """`says`: what it asks for, in our words; `sections`: keys of the report; `limit`: what they don't prove."""

    number: str
    says: str
    sections: tuple[str, ...]
    limit: str = ""


@dataclass(frozen=True, slots=True)
class Framework:
    """A standard by the title that its publisher uses."""

    name: str
    title: str
    controls: tuple[Control, ...]


def frameworks() -> tuple[Framework, ...]:
    """All that are delivered, in their order."""
    return tuple(map(_framework, NAMES))


def _framework(name: str) -> Framework:
    text = files("bridge.reports").joinpath("controls", f"{name}.yaml").read_text(encoding="utf-8")
    value = yaml.safe_load(text)
    controls = tuple(
        Control(str(control["number"]), control["says"], tuple(control["sections"]), control.get("limit", ""))
        for control in value["controls"]
    )
    return Framework(name, value["title"], controls)


def controls_section(some: Sequence[Framework]) -> ReportSection:
    fields = (
        *(Field("standard", "Standard", 14), Field("number", "Number", 10), Field("says", "What it asks for", 30)),
        *(Field("sections", "Evidence in sections", 20), Field("limit", "What that doesn't prove", 26)),
    )
    rows = [
        (framework.title, control.number, control.says, ", ".join(control.sections), control.limit)
        for framework in some
        for control in framework.controls
    ]
    notes = ("The wording is ours; whether a control is met is the assessor's judgement.",)
    return ReportSection("controls", "Which control asks for what", fields, rows, notes=notes)
