"""Configurations that others have published: every device group of each is read, and nothing in them is unknown to us.

They are no part of this project. ZONEBRIDGE_PUBLIC_CONFIGURATIONS names a folder of exports; what was learnt from them is in
`public_reports.md`.
"""

import os
from pathlib import Path
from xml.etree.ElementTree import parse

import pytest

from bridge.managers.panorama import read_file
from bridge.report_table import report_lines
from tests.witness.elements import strangers
from zones.compile import compile_policy
from zones.zone import Zoning


@pytest.fixture
def exports():
    folder = os.environ.get("ZONEBRIDGE_PUBLIC_CONFIGURATIONS")
    if not folder:
        pytest.skip("ZONEBRIDGE_PUBLIC_CONFIGURATIONS names no folder of exports")
    found = sorted(Path(folder).glob("*.xml"))
    assert found
    return found


def test_no_element_of_theirs_is_in_no_source(exports):
    for path in exports:
        assert list(strangers(parse(path).getroot())) == [], path.name


def test_every_device_group_of_theirs_is_read_and_told(exports):
    for path in exports:
        for entry in parse(path).getroot().iterfind("devices/entry/device-group/entry"):
            rulebase = read_file(path, entry.get("name"))
            compiled = compile_policy(rulebase, Zoning())
            assert not any(report.malformed for report in compiled.reports)
            assert len(list(report_lines(compiled, entry.get("name")))) >= len(rulebase.rules) + 5
