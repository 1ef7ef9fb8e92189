"""Each benchmark that the Makefile or a page of docs names can be started, and what they all count by counts right."""

import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tests.bench
from tests.bench.control import __main__ as control
from tests.bench.control.probes import Change, Sent, lags
from tests.bench.control.remote import zones_in
from tests.bench.control.scene import by_kind, spread

ROOT = Path(__file__).parents[1]
SOURCES = [ROOT / "Makefile", *sorted((ROOT / "docs").rglob("*.md"))]
NAMED = sorted({name for source in SOURCES for name in re.findall(r"-m (tests\.bench[\w.]*\w)", source.read_text())})
NEVER = float("inf")


def packages():
    return sorted(found.name for found in pkgutil.walk_packages(tests.bench.__path__, "tests.bench.") if not found.name.endswith("__main__"))  # fmt: skip


@pytest.mark.parametrize("name", packages())
def test_a_module_of_a_benchmark_still_finds_what_it_measures(name):
    importlib.import_module(name)


@pytest.mark.parametrize("name", NAMED)
def test_a_benchmark_that_is_named_is_a_program(name):
    path = ROOT / name.replace(".", "/")
    program = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert 'if __name__ == "__main__":' in program.read_text()


def test_the_agent_that_notes_when_a_change_passes_still_finds_every_stage(tmp_path):
    program = [sys.executable, "-m", "tests.bench.enforcer.traced", str(tmp_path / "trace"), "run", "--help"]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_every_part_of_the_control_benchmark_has_figures():
    for name in control.MODULES:
        assert callable(importlib.import_module(f"tests.bench.control.{name}").figures)


def sent(pattern, *, lives=False, first=0.0):
    """A datagram each 2 ms: `+` arrived, `-` didn't."""
    return [Sent(lives, first + number * 0.002, each == "+") for number, each in enumerate(pattern)]


def test_a_change_lasts_until_the_last_datagram_that_was_judged_as_before():
    changes = [Change(0.004, allows=False), Change(0.014, allows=True)]
    found = [(change.allows, lives, round(lag, 3)) for change, lives, lag in lags(sent("++++-+-" + "--+++"), changes)]
    assert (False, False, 0.006) in found
    assert (True, False, 0.002) in found


def test_a_change_that_is_never_obeyed_is_no_time_but_counted():
    changes = [Change(0.0, allows=False)]
    assert [lag for _, lives, lag in lags(sent("++++"), changes) if not lives] == [NEVER]
    assert [(each.name, each.value) for each in spread("x", [NEVER, 0.01])] == [("x.never", 1), ("x.p50", 10.0), ("x.longest", 10.0)]  # fmt: skip


def test_a_connection_that_lives_is_told_of_only_where_it_is_cut():
    both = [*sent("++---" + "-----"), *sent("+++--" + "-----", lives=True)]
    names = {each.name for each in by_kind("rule", both, [Change(0.0, allows=False), Change(0.01, allows=True)])}
    assert {"rule.denied.p50", "rule.denied.live.p50", "rule.allowed.never"} <= names
    assert not any(name.startswith("rule.allowed.live") for name in names)


def test_a_pod_is_missing_where_the_kernel_has_it_in_no_zone_or_another():
    listed = """elements = { 10.77.1.2 : 0x00000000 . "zone-1", 10.77.1.3 : 0x00000000 . "zone-2",
                             10.77.1.4 : 0x00000000 . "" }"""
    assert zones_in(listed) == {"10.77.1.2": "zone-1", "10.77.1.3": "zone-2"}
