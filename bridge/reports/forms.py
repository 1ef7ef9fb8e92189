"""A report as JSON, as CSV files by section, and as an evidence bundle. The same report gives the same bytes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping

from bridge.pages.html import page_html
from bridge.reports.model import Json, Report, ReportSection, moment_text
from bridge.reports.page import report_page
from zones.runtime.output import csv_text, json_text

# Of a zip's entries: when they were made says nothing here, and must not differ.
_NO_TIME = (1980, 1, 1, 0, 0, 0)
_READABLE = 0o644 << 16
MANIFEST = "manifest.json"


def report_json(report: Report) -> Json:
    """Keys are only ever added; docs/report.md says what they mean."""
    period = report.period
    when = (
        {"at": moment_text(period.begin)}
        if period.instant
        else {"from": moment_text(period.begin), "to": moment_text(period.end)}
    )
    return {
        "cluster": report.scope.cluster,
        "zones": sorted(report.scope.zones),
        **when,
        "revision": report.revision,
        "figures": {name.replace(" ", "_"): value for name, value in report.figures.items()},
        "doubts": list(report.doubts),
        "sections": {section.key: _section_json(section) for section in report.sections},
    }


def _section_json(section: ReportSection) -> Json:
    keys = [column.key for column in section.fields]
    rows = [dict(zip(keys, row, strict=True)) for row in section.rows]
    return {"title": section.title, "rows": rows, "notes": list(section.notes)}


def section_csv(section: ReportSection) -> str:
    return csv_text(tuple(column.key for column in section.fields), [tuple(row) for row in section.rows])


def report_digest(report: Report) -> str:
    """SHA-256 of its JSON: what a reviewer has seen."""
    return hashlib.sha256(_bytes(json_text(report_json(report)))).hexdigest()


def bundle(report: Report, command: str, about: Mapping[str, object], more: Mapping[str, Json]) -> bytes:
    """A zip: the report in all forms, and a manifest with the SHA-256 of each file and the command that makes it again.

    `about`: what else says where it comes from; `more`: further forms, by the name of the file.
    """
    files = {
        "report.json": _bytes(json_text(report_json(report))),
        "report.html": page_html(report_page(report)).encode(),
        **{name: _bytes(json_text(value)) for name, value in more.items()},
        **{f"sections/{section.key}.csv": section_csv(section).encode() for section in report.sections},
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    manifest = {**about, "command": command, "files": digests}
    sums = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    files |= {MANIFEST: _bytes(json_text(manifest)), "SHA256SUMS": sums.encode()}
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, _READABLE, 3
            archive.writestr(entry, content)
    return data.getvalue()


def _bytes(text: str) -> bytes:
    return f"{text}\n".encode()
