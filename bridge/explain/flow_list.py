"""Many questions at once: flows in CSV or JSON lines, one answer each. `zones.verdict` judges, nothing else."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from bridge.compilation.report import origin_json
from bridge.explain.flow_options import FlowQuestion, as_infrastructure_sees_it, flow_of
from bridge.explain.trace import is_untranslated, missing_options
from zones.net import NO_ADDRESS, AddressSet
from zones.policy import UNTRANSLATED_SERVICE, Policy, Verdict
from zones.rules import NO_LOG
from zones.runtime.errors import InputError
from zones.verdict import Decision, Flow, UndeterminedError, decide
from zones.zone import Zoning

Json = dict[str, Any]
FIELDS = frozenset(field.name for field in fields(FlowQuestion))
NUMBERS = frozenset({"port", "source_port", "icmp_type"})


@dataclass(slots=True)
class Judge:
    """Decides flows on one policy. Entries are looked through by pair of zones: those of other pairs never match.

    `{web, db}` asks only the entries between web and db, or any: the first match among them is that among all.
    """

    policy: Policy
    _of_pair: dict[tuple[str, str], Policy] = field(default_factory=dict)

    def decide(self, flow: Flow) -> Decision:
        """As `zones.verdict.decide`, without the rules of other zones in the trace. Raises UndeterminedError."""
        return decide(self._policy(flow.source.zone, flow.destination.zone), flow)

    def _policy(self, *pair: str) -> Policy:
        from_zone, to_zone = pair
        if (from_zone, to_zone) not in self._of_pair:
            entries = tuple(entry for entry in self.policy.entries if entry.pairs(from_zone, to_zone))
            self._of_pair[from_zone, to_zone] = replace(self.policy, entries=entries)
        return self._of_pair[from_zone, to_zone]


def answers(text: str, policy: Policy, zoning: Zoning, services: AddressSet = NO_ADDRESS) -> Iterator[Json]:
    """One for each flow, in order, with the `line` of the file that asked. An `error` is told in its place.

    `services`: what Services get addresses from.
    """
    judge = Judge(policy)
    for line, question in flows_in(text):
        yield {"line": line, **_answer(question, judge, zoning, services)}


def _answer(question: Mapping[str, object] | str, judge: Judge, zoning: Zoning, services: AddressSet) -> Json:
    """`needs`: the options that are missing; without them an error is of the input."""
    try:
        flow = as_infrastructure_sees_it(flow_of(_question(question), zoning), judge.policy.infrastructure)
        decision = judge.decide(flow)
    except InputError as error:
        return {"error": str(error).removeprefix("explain: ")}
    except UndeterminedError as error:
        return {"error": str(error), "rule": origin_json(error.origin), "needs": list(missing_options(error))}
    verdict, origin, log = decision.verdict, decision.origin, decision.log
    if is_untranslated(origin, flow, services, zoning):
        verdict, origin, log = Verdict.RESET, UNTRANSLATED_SERVICE, NO_LOG
    return {
        "verdict": verdict.value,
        "rule": origin_json(origin),
        "log": {"start": log.start, "end": log.end, "profile": log.profile},
    }


def flows_in(text: str) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    """Line and content of each flow: JSON lines, or CSV with a header. What can't be read of a line is its text."""
    if text.lstrip("\ufeff \t\r\n").startswith("{"):
        yield from _json_lines(text.removeprefix("\ufeff"))
        return
    rows = csv.DictReader(text.removeprefix("\ufeff").splitlines(), restkey="more", strict=True)
    if rows.fieldnames is None:
        return
    unknown = [name for name in rows.fieldnames if _name(name) not in FIELDS]
    if unknown:
        raise InputError(f"--flows: column '{unknown[0]}' is not known; take some of {', '.join(sorted(FIELDS))}")
    try:
        for row in rows:
            too_many = "it has more cells than the header has columns" if "more" in row else None
            yield rows.line_num, too_many or {name: cell for name, cell in row.items() if cell}
    except csv.Error as error:
        yield rows.line_num, f"it is no line of CSV: {error}"


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:
                yield number, f"it is no JSON: {error}"
                continue
            yield number, value if isinstance(value, dict) else "it is no JSON object"


def _question(fields_: Mapping[str, object] | str) -> FlowQuestion:
    """Raises InputError."""
    if isinstance(fields_, str):
        raise InputError(fields_)
    values = {_name(name): value for name, value in fields_.items() if value is not None}
    unknown = [name for name in values if name not in FIELDS]
    if unknown:
        raise InputError(f"'{unknown[0]}' is not known; take some of {', '.join(sorted(FIELDS))}")
    lists = [name for name, value in values.items() if isinstance(value, (dict, list, bool))]
    if lists:
        raise InputError(f"'{lists[0]}' is {json.dumps(values[lists[0]])}, neither text nor a number")
    if len(values) < sum(value is not None for value in fields_.values()):
        raise InputError("it says one thing twice, with '-' and with '_'")
    if "protocol" not in values:
        raise InputError("it has no protocol")
    numbers = {name: _number(name, values[name]) for name in NUMBERS & values.keys()}
    words = {name: str(value).strip() for name, value in values.items() if name not in NUMBERS}
    return FlowQuestion(**words, **numbers)  # type: ignore[arg-type]


def _number(name: str, value: object) -> int:
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 5):  # noqa: PLR2004 - 65535
        raise InputError(f"{name} '{text}' is no number")
    return int(text)


def _name(column: str) -> str:
    """As options are written, or as JSON is."""
    return column.strip().removeprefix("--").replace("-", "_")
