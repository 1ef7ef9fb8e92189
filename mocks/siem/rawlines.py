"""Reads a body of /raw: lines into events, metadata from the query. It never commits; the collector does.

Like a Splunk without props for a sourcetype, it glues a line that has no timestamp to the one before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mocks.siem.codes import INCORRECT_INDEX, INVALID_FORMAT, NO_DATA, Refusal
from mocks.siem.envelope import Batch, Context, Event, read_time

# Sourcetypes whose usual add-on says "one line, one event".
LINE_BY_LINE = frozenset(
    {"pan:log", "pan:firewall", "pan:traffic", "pan:config", "pan:system", "cef", "leef", "syslog"}
)
TIMESTAMP = re.compile(
    r"\b\d{4}[-/]\d\d[-/]\d\d\b|\b\d{10}(?:\.\d+)?\b|\b[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d\b|\b\d\d:\d\d:\d\d\b"
)


def read_lines(body: bytes, query: Mapping[str, str], context: Context) -> Batch:
    token = context.token
    sourcetype = query.get("sourcetype") or token.sourcetype
    index = query.get("index") or token.index
    if token.indexes and index not in token.indexes:
        return Batch((), Refusal(INCORRECT_INDEX))
    try:
        lines = break_lines(body, sourcetype)
        time = read_time(query["time"], 0) if "time" in query else context.received
    except Refusal as refusal:
        return Batch((), Refusal(refusal.code))
    return Batch(
        tuple(
            Event(
                time=time,
                host=query.get("host") or context.host,
                source=query.get("source") or f"http:{token.name}",
                sourcetype=sourcetype,
                index=index,
                event=line,
                fields={},
                channel=context.channel,
                token=token.value,
            )
            for line in lines
        )
    )


def break_lines(body: bytes, sourcetype: str) -> list[str]:
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Refusal(INVALID_FORMAT) from error
    lines = [line for line in re.split(r"\r?\n", text) if line.strip()]
    if not lines:
        raise Refusal(NO_DATA)
    return lines if sourcetype in LINE_BY_LINE else merge(lines)


def merge(lines: list[str]) -> list[str]:
    merged = lines[:1]
    for line in lines[1:]:
        if TIMESTAMP.search(line):
            merged.append(line)
        else:
            merged[-1] += "\n" + line
    return merged
