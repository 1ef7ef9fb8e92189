"""Configurations that others have published: every device group of each is read, and nothing in them is unknown to us.

What was learnt from them is in `public_reports.md`.
"""

from xml.etree.ElementTree import parse

import pytest

from bridge.compilation.report_table import report_lines
from bridge.managers.panorama import read_file
from tests.exports import each_export
from tests.witness.elements import strangers
from zones.compile import compile_policy
from zones.zone import Zoning


@pytest.mark.parametrize("path", each_export())
def test_no_element_of_theirs_is_in_no_source(path):
    assert list(strangers(parse(path).getroot())) == []


@pytest.mark.parametrize("path", each_export())
def test_every_device_group_of_theirs_is_read_and_told(path):
    for entry in parse(path).getroot().iterfind("devices/entry/device-group/entry"):
        rulebase = read_file(path, entry.get("name"))
        compiled = compile_policy(rulebase, Zoning())
        assert not any(report.malformed for report in compiled.reports)
        assert len(list(report_lines(compiled, entry.get("name")))) >= len(rulebase.rules) + 5
