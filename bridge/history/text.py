"""A history as JSON values and as lines for a terminal. Pure; docs/history.md tells the JSON's shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bridge.history.archive import Archive, entries_of
from bridge.history.verification import Break
from zones.runtime.output import printable, table_lines

Json = dict[str, Any]
COLUMNS = ("REVISION", "RECORDED", "CAUSE", "ADMINISTRATOR", "OPENED", "CLOSED", "COMMIT")
RULE_COLUMNS = ("RULE", "RULEBASE", "VERDICT", "FROM", "TO", "TRAFFIC")
UNKNOWN = "unknown"


def history_json(archive: Archive, *, every: bool) -> Json:
    """Keys are only ever added. `every`: also records that never were in force."""
    in_force = {revision.revision for revision in archive.in_force}
    shown = [raw for raw in archive.raws if every or raw["spec"].get("revision") in in_force]
    current = (archive.tier or {}).get("spec", {}).get("revision")
    return {
        "current": current,
        "revisions": [record_json(raw) | {"in_force": raw["spec"].get("revision") in in_force} for raw in shown],
    }


def record_json(raw: Json) -> Json:
    """A record as its object has it, without the content."""
    spec = {name: value for name, value in raw["spec"].items() if name != "content"}
    return spec | {"changes": (raw.get("status") or {}).get("changes")}


def history_lines(archive: Archive, *, every: bool) -> Iterator[str]:
    value = history_json(archive, every=every)
    if not value["revisions"]:
        yield "Nothing is recorded: the bridge has published no revision since it keeps a history"
        return
    yield from table_lines(COLUMNS, [_row(revision, value["current"]) for revision in reversed(value["revisions"])])


def _row(record: Json, current: int | None) -> tuple[str, ...]:
    changes = record["changes"] or {}
    mark = "*" if record["revision"] == current else "" if record["in_force"] else " (never in force)"
    commits = record["commits"]
    more = f" and {len(commits) - 1} more" if len(commits) > 1 else ""
    return (
        f"{record['revision']}{mark}",
        record["recorded"],
        ", ".join(record["causes"]) or UNKNOWN,
        (commits[0].get("administrator", UNKNOWN) if commits else "-"),
        str(changes.get("pairsOpened", "?")),
        str(changes.get("pairsClosed", "?")),
        (
            f"job {commits[0]['job']}: {commits[0].get('description') or 'without description'}{more}"
            if commits
            else "-"
        ),
    )


def show_json(raw: Json, parts: Mapping[str, Json]) -> Json:
    return record_json(raw) | {"entries": entries_of(raw["spec"], parts)}


def show_lines(raw: Json, parts: Mapping[str, Json]) -> Iterator[str]:
    """The record, then its rules."""
    spec, changes = raw["spec"], (raw.get("status") or {}).get("changes")
    source = spec["source"]
    machine = ", ".join(filter(None, (source.get("host"), source.get("serial"), source.get("software"))))
    yield f"Revision {spec['revision']} of tier {spec['tier']}, recorded {spec['recorded']}"
    facts = [
        ("digest", spec["digest"]),
        ("chain", f"{spec['chain']} (position {spec['position']})"),
        ("replaces", str(spec["replaces"]) if spec["replaces"] else "nothing"),
        (
            "from",
            f"{source['manager']} {machine or UNKNOWN}, device group {source['deviceGroup']}, {source['version']}",
        ),
        ("cause", ", ".join(spec["causes"]) or UNKNOWN),
        *(("commit", _commit_text(commit)) for commit in spec["commits"]),
        *([("not known", spec["unknown"])] if spec.get("unknown") else []),
        ("rules", ", ".join(f"{name} {count}" for name, count in spec["rules"].items()) or UNKNOWN),
        *(
            ("not enforced", f"{problem['name']}: {problem['status']}: {'; '.join(problem['reasons'])}")
            for problem in spec["problems"]
        ),
        *(("changed", line) for line in _change_lines(changes)),
    ]
    yield from (f"  {name + ':':<14}{printable(text)}" for name, text in facts)
    yield ""
    yield from table_lines(RULE_COLUMNS, [_rule_row(entry) for entry in entries_of(spec, parts)])


def _commit_text(commit: Json) -> str:
    when = f", enqueued {commit['enqueued']} by the manager's clock" if commit.get("enqueued") else ""
    said = f": {commit['description']}" if commit.get("description") else ""
    return f"job {commit['job']} ({commit['type']}) by {commit.get('administrator', UNKNOWN)}{when}{said}"


def _change_lines(changes: Json | None) -> Sequence[str]:
    if changes is None:
        return ("not worked out yet",)
    if "notComputed" in changes:
        return (f"not computed: {changes['notComputed']}",)
    count = f"{changes['pairsOpened']} zone pairs opened, {changes['pairsClosed']} closed"
    return (count, *changes.get("lines", ()))


def _rule_row(entry: Json) -> tuple[str, ...]:
    rule = entry["rule"]
    traffic = entry.get("traffic") or ()
    return (
        rule["name"],
        " ".join(filter(None, (rule["rulebase"], rule.get("deviceGroup")))),
        entry["verdict"],
        ",".join(entry.get("from") or ("any",)),
        ",".join(entry.get("to") or ("any",)),
        "; ".join(_traffic_text(item) for item in traffic) or "any",
    )


def _traffic_text(traffic: Json) -> str:
    named = f" of {traffic['destinationWorkload']}" if "destinationWorkload" in traffic else ""
    return f"{traffic.get('protocol', 'any')}{'/' + traffic['ports'] if 'ports' in traffic else ''}{named}"


def verified_json(archive: Archive, breaks: Sequence[Break]) -> Json:
    specs = [raw.get("spec") or {} for raw in archive.raws]
    return {
        "whole": bool(specs) and not breaks,
        "revisions": len(specs),
        "first": specs[0].get("revision") if specs else None,
        "last": specs[-1].get("revision") if specs else None,
        "chain": specs[-1].get("chain") if specs else None,
        "parts": len(archive.parts),
        "breaks": [{"revision": break_.revision or None, "what": break_.what} for break_ in breaks],
    }


def verified_lines(archive: Archive, breaks: Sequence[Break]) -> Iterator[str]:
    value = verified_json(archive, breaks)
    if not value["revisions"]:
        yield "Nothing is recorded: there is no chain to verify"
        return
    if breaks:
        yield f"BROKEN, first at {printable(str(breaks[0]))}"
        yield from (f"and {printable(str(break_))}" for break_ in breaks[1:])
        return
    yield (
        f"Whole: {value['revisions']} revisions ({value['first']} to {value['last']}) and {value['parts']} parts; "
        f"chain digest {value['chain']}"
    )
    previous = archive.raws[0]["spec"].get("previous")
    if previous is not None:
        yield (
            f"It begins behind revision {previous['revision']} ({previous['chain']}), which isn't kept any more; "
            "compare with the checkpoint that the SIEM has of it"
        )
