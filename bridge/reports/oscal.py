"""A report as OSCAL assessment results. The same report gives the same bytes; what is satisfied it never says.

Sections become observations, of EXAMINE or, where something was measured, TEST; their rows stay in CSV files, of which
the SHA-256 is given. There are no findings: whether a control is met is the assessor's judgement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid5

from bridge.reports.controls import Framework
from bridge.reports.forms import report_digest, section_csv
from bridge.reports.model import Json, Report, ReportSection, moment_text

OSCAL_VERSION = "1.2.1"
NAMESPACE = "https://zonebridge.io/ns/oscal"
# Whose controls have identifiers in a catalogue of OSCAL's publisher.
_CATALOGUED = "nist-800-53"
_OURS = UUID("6f5c2d0e-0b5e-5a0f-9d0c-7a6f6e656272")
_PLAN = "plan"


@dataclass(frozen=True, slots=True)
class _Identifiers:
    """UUIDs that follow from a report's digest and a name within it."""

    digest: str

    def uuid(self, name: str) -> str:
        return str(uuid5(_OURS, f"{self.digest} {name}"))


def oscal_json(report: Report, frameworks: Sequence[Framework]) -> Json:
    """`sections/KEY.csv`, to which it points, are those of the evidence bundle."""
    identifiers = _Identifiers(report_digest(report))
    plan = identifiers.uuid(_PLAN)
    resources = [
        {"uuid": plan, "title": "No assessment plan", "description": "A report is asked for; nobody plans it."}
    ]
    resources += [_resource(section, identifiers) for section in report.sections]
    return {
        "assessment-results": {
            "uuid": identifiers.uuid("results"),
            "metadata": {
                "title": f"Zones and rules of cluster {report.scope.cluster}",
                "last-modified": moment_text(report.period.end),
                "version": identifiers.digest,
                "oscal-version": OSCAL_VERSION,
                "remarks": "Made by zonebridge report; last-modified is the end of what it is of.",
            },
            "import-ap": {"href": f"#{plan}"},
            "results": [_result(report, frameworks, identifiers)],
            "back-matter": {"resources": resources},
        }
    }


def _result(report: Report, frameworks: Sequence[Framework], identifiers: _Identifiers) -> Json:
    catalogued = [
        control.number.lower()
        for framework in frameworks
        if framework.name == _CATALOGUED
        for control in framework.controls
    ]
    scope = ", ".join(sorted(report.scope.zones)) or "all zones"
    figures = [_prop(name.replace(" ", "-"), str(value)) for name, value in report.figures.items()]
    observations = [_observation(section, report, frameworks, identifiers) for section in report.sections]
    observations += [_doubt(text, report, identifiers) for text in report.doubts]
    return {
        "uuid": identifiers.uuid("result"),
        "title": f"Cluster {report.scope.cluster}, {scope}",
        "description": "What was in force, who was where, who changed it and what was enforced, as it was recorded.",
        "start": moment_text(report.period.begin),
        "end": moment_text(report.period.end),
        "props": [_prop("scope", scope), *figures],
        "reviewed-controls": {
            "control-selections": [{"include-controls": [{"control-id": number} for number in catalogued]}],
            "remarks": "Controls of other standards are properties of the observations that are evidence for them.",
        },
        "observations": observations,
    }


def _observation(
    section: ReportSection, report: Report, frameworks: Sequence[Framework], identifiers: _Identifiers
) -> Json:
    controls = [
        _prop("control", f"{framework.title} {control.number}")
        for framework in frameworks
        for control in framework.controls
        if section.key in control.sections
    ]
    observation: Json = {
        "uuid": identifiers.uuid(f"observation {section.key}"),
        "title": section.title,
        "description": " ".join((f"{len(section.rows)} rows.", *section.notes) if section.rows else (section.empty,)),
        "methods": ["TEST" if section.key == "measurements" and section.rows else "EXAMINE"],
        "types": ["control-objective"],
        "collected": moment_text(report.period.end),
        "relevant-evidence": [
            {"href": f"#{identifiers.uuid(section.key)}", "description": f"The rows, as sections/{section.key}.csv."}
        ],
    }
    return observation | ({"props": controls} if controls else {})


def _doubt(text: str, report: Report, identifiers: _Identifiers) -> Json:
    """What keeps the evidence from being whole."""
    return {
        "uuid": identifiers.uuid(f"doubt {text}"),
        "title": "The evidence is not whole",
        "description": text,
        "methods": ["EXAMINE"],
        "types": ["finding"],
        "collected": moment_text(report.period.end),
    }


def _resource(section: ReportSection, identifiers: _Identifiers) -> Json:
    digest = hashlib.sha256(section_csv(section).encode()).hexdigest()
    link = {"href": f"sections/{section.key}.csv", "media-type": "text/csv"}
    return {
        "uuid": identifiers.uuid(section.key),
        "title": section.title,
        "rlinks": [link | {"hashes": [{"algorithm": "SHA-256", "value": digest}]}],
    }


def _prop(name: str, value: str) -> Json:
    return {"name": name, "ns": NAMESPACE, "value": value}
