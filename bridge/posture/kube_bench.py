"""Results of `kube-bench --json`, for what needs files of a node: taken in as they are, with source and age. Pure.

Its output has no time and no node: the file's own age and name stand for both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bridge.posture.check import CheckResult
from zones.runtime.errors import InputError

Json = dict[str, Any]
SOURCE = "kube-bench"
# WARN is what it can't say by itself: somebody is to look.
_RESULTS = {
    "PASS": CheckResult.PASS,
    "FAIL": CheckResult.FAIL,
    "WARN": CheckResult.UNKNOWN,
    "INFO": CheckResult.NOT_APPLICABLE,
}
_NUMBER = re.compile(r"\d+(\.\d+){1,3}")
_LONGEST = 200
# What it calls the versions whose numbers `bridge.posture.catalogue` has; managed clusters have others.
GENERAL = frozenset({"cis-1.12", "cis-2.0", "cis-2.0.1"})


@dataclass(frozen=True, slots=True)
class KubeBenchResult:
    """`number` is of `version`. `file` is where it was read, `at` that file's time."""

    number: str
    version: str
    result: CheckResult
    why: str
    file: str
    at: datetime

    @property
    def reference(self) -> str:
        return f"{self.version} {self.number}"

    def json(self) -> Json:
        return {
            "reference": self.reference,
            "result": self.result.value,
            "why": self.why,
            "source": SOURCE,
            "file": self.file,
            "at": self.at.isoformat(timespec="seconds"),
        }


def read_results(text: str, file: str, at: datetime) -> list[KubeBenchResult]:
    """Raises InputError: a result of which it isn't clear what it says is no result."""
    try:
        value = json.loads(text)
        controls = value["Controls"] if isinstance(value, dict) else value
        return [result for control in controls for result in _results(control, file, at)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"[:_LONGEST]
        raise InputError(f"--kube-bench: {file} is no output of kube-bench --json ({problem})") from error


def _results(control: Json, file: str, at: datetime) -> Iterator[KubeBenchResult]:
    version = str(control.get("version") or "an unknown benchmark")[:_LONGEST]
    for group in control["tests"]:
        for result in group["results"]:
            number, status = str(result["test_number"]), str(result["status"])
            if not _NUMBER.fullmatch(number) or status not in _RESULTS:
                raise ValueError(f"number '{number[:20]}' with status '{status[:20]}'")
            yield KubeBenchResult(number, version, _RESULTS[status], _why(result), file, at)


def _why(result: Json) -> str:
    """What it says of itself; not the title, which is the benchmark's text, nor values, which may be secret."""
    return str(result.get("reason") or "")[:_LONGEST]


def not_looked_at(results: Sequence[KubeBenchResult], numbers: Collection[str]) -> list[KubeBenchResult]:
    """Those of which no check of our own has said anything, in order. `numbers` are of the general benchmark alone."""
    other = [result for result in results if result.version not in GENERAL or result.number not in numbers]
    return sorted(other, key=lambda result: ([int(part) for part in result.number.split(".")], result.file))
