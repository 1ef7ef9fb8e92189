"""A page as one HTML file that needs nothing else and that nothing in it can turn against its reader.

Every text is escaped here: what a browser could take for markup, and the characters that turn a text's direction. The
content security policy lets the page's own style and script run, by their hashes, and nothing else be loaded or sent.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from bridge.pages import drawing
from bridge.pages.parts import Json, Mark, Matrix, PageTable, StatusPage
from zones.runtime.output import printable


def page_html(page: StatusPage) -> str:
    """The whole page as text."""
    style = _own("page.css") + "".join(map(_narrow_labels, page.tables))
    scripts = {"matrix": _own("matrix.js"), "filter": _own("filter.js")}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            page=page,
            picture=drawing.drawn(page.matrix) if page.matrix else None,
            island=_island(page.matrix),
            style=Markup(style),  # noqa: S704 - a file of ours, and names of columns
            scripts={name: Markup(text) for name, text in scripts.items()},  # noqa: S704 - files of ours
            policy=content_security_policy(style, scripts.values()),
        )
    )


def content_security_policy(style: str, scripts: Iterable[str]) -> str:
    """Nothing is loaded or sent; the style and the scripts run that are known by their hashes."""
    allowed = " ".join(f"'{_hash(script)}'" for script in scripts)
    return f"default-src 'none'; style-src '{_hash(style)}'; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _narrow_labels(table: PageTable) -> str:
    """On a narrow screen a row is a card, and each of its cells says of which column it is."""
    labels = "".join(
        f'#{table.key} td:nth-child({place})::before{{content:"{column.name}"}}'
        for place, column in enumerate(table.columns, 1)
    )
    return f"@media (max-width:760px){{{labels}}}"


def _hash(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


@cache
def _own(name: str) -> str:
    return files("bridge.pages").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("bridge.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals |= {
        "glyph_of": drawing.glyph_of,
        "graph": drawing.graph,
        "mark_path": drawing.mark_path,
        "marks_of": lambda matrix: [mark.value for mark in Mark if mark in matrix.marks.values()],
    }
    return environment


def _shown(value: Any) -> Any:  # noqa: ANN401 - whatever a template writes
    """Text without characters that steer; what the templates themselves made stays as it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _island(matrix: Matrix | None) -> Markup:
    """What the script reads: no `<` in it, so that no name ends the element."""
    if matrix is None:
        return Markup()
    cells: Json = {
        "zones": list(matrix.zones),
        "cells": matrix.cells,
        "counts": matrix.counts,
        "sentences": matrix.sentences,
        "marks": [[row, column, mark.value] for (row, column), mark in sorted(matrix.marks.items())],
    }
    return htmlsafe_json_dumps(_printable(cells | matrix.details), dumps=_compact)


def _compact(value: object, **_: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _printable(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, Mapping):
        return {key: _printable(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_printable(item) for item in value]
    return value
