"""OSCAL assessment results, as compliance-trestle reads them."""

from __future__ import annotations

import hashlib
import json

import pytest
from trestle.oscal.assessment_results import Model

from bridge.reports import controls
from bridge.reports.forms import report_json, section_csv
from bridge.reports.model import ReportPeriod
from bridge.reports.oscal import oscal_json
from bridge.segmentation.store import RecordedMeasurement
from tests.bridge.reports.test_report import HOUR, T0, evidence, made

AT = ReportPeriod(T0, T0 + 1)
FRAMEWORKS = controls.frameworks()
CELL = {"from": "web", "to": "cde", "family": "IPv4", "tried": 8, "agree": 7, "open": [443], "closed": [22]}
MEASURED = [RecordedMeasurement(T0 + HOUR, {"revision": 2, "cells": [CELL], "doubts": [], "limits": ["TCP alone"]})]


def read(report):
    """Strictly: an unknown key is an error."""
    return Model.model_validate_json(json.dumps(oscal_json(report, FRAMEWORKS))).assessment_results


@pytest.mark.parametrize("report", [made(), made(period=AT), made(evidence(measurements=MEASURED))])
def test_trestle_reads_it_and_finds_what_the_report_says(report):
    (result,) = read(report).results
    by_title = {observation.title: observation for observation in result.observations}
    for section in report.sections:
        observation = by_title[section.title]
        assert observation.methods == (["TEST"] if section.key == "measurements" and section.rows else ["EXAMINE"])
        named = {prop.value for prop in observation.props or ()}
        wanted = {
            f"{each.title} {one.number}" for each in FRAMEWORKS for one in each.controls if section.key in one.sections
        }
        assert named == wanted
    doubts = [each.description for each in result.observations if each.types[0] == "finding"]
    assert doubts == list(report.doubts)
    assert result.findings is None
    figures = {prop.name: prop.value for prop in result.props}
    assert figures["nodes"] == str(report_json(report)["figures"]["nodes"])


def test_its_evidence_is_the_bundles_files_by_their_digest():
    report = made()
    results = read(report)
    digests = {link.href: link.hashes[0].value for each in results.back_matter.resources for link in each.rlinks or ()}
    for section in report.sections:
        assert digests[f"sections/{section.key}.csv"] == hashlib.sha256(section_csv(section).encode()).hexdigest()
    known = {each.uuid for each in results.back_matter.resources}
    for observation in results.results[0].observations:
        for link in observation.relevant_evidence or ():
            assert link.href.removeprefix("#") in known


def test_the_same_report_gives_the_same_bytes_and_another_one_other_identifiers():
    one, same, other = (json.dumps(oscal_json(each, FRAMEWORKS)) for each in (made(), made(), made(period=AT)))
    assert one == same
    uuids = [json.loads(each)["assessment-results"]["uuid"] for each in (one, other)]
    assert uuids[0] != uuids[1]


def test_hostile_names_are_text_of_a_kind_that_oscal_takes():
    raw = oscal_json(
        made(evidence(measurements=[RecordedMeasurement(T0, MEASURED[0].content | {"limits": ["\n <x> "]})])),
        FRAMEWORKS,
    )
    assert Model.model_validate_json(json.dumps(raw))
