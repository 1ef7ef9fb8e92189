"""Which formats there are, by the name that settings use, and what transports must know of each. Pure.

A format is one file beside this one; adding one adds a line here, its test and its golden folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

from zones.siem.formats import cef, ecs, flowline, leef, ocsf, panos, panos_columns
from zones.siem.outcome import Refused
from zones.siem.values import PRODUCT, compact

Json = Mapping[str, Any]
Rendered = str | Json
S = TypeVar("S")
T = TypeVar("T")


class FormatName(StrEnum):
    """`json` is the record as it is, which `docs/records.md` describes; `ocsf` is its newest version."""

    JSON = "json"
    OCSF = "ocsf"
    OCSF_1_7 = "ocsf-1.7"
    OCSF_1_5 = "ocsf-1.5"
    OCSF_1_3 = "ocsf-1.3"
    OCSF_1_1 = "ocsf-1.1"
    ECS = "ecs"
    CEF = "cef"
    LEEF = "leef"
    PANOS = "panos"
    PANOS_ELASTIC = "panos-elastic"
    PANOS_SPLUNK = "panos-splunk"
    FLOWLINE = "flowline"


@dataclass(frozen=True, slots=True)
class Format:
    """`render` gives an object or a line. `sourcetype` is Splunk's word for it; `{kind}` is flow or alert.

    `bare`: the receiver knows the message by its first words and wants no program's name before them.
    """

    render: Callable[[Json], Rendered]
    sourcetype: Callable[[Json], str]
    alerts: bool = True
    bare: bool = False

    def text(self, record: Json) -> str:
        """One line, without its end."""
        rendered = self.render(record)
        return rendered if isinstance(rendered, str) else compact(rendered)


def fitting(
    records: Sequence[S], render: Callable[[S], T], room: Callable[[T], bool] = lambda _: True
) -> tuple[list[T], Refused]:
    """Records rendered up to the first that can't be, and what is to be said of that one where it is the first.

    Or up to the first that there is no `room` for; one at least. It takes its time: transports call it in a thread, so
    that nothing else waits for it.
    """
    done: list[T] = []
    for record in records:
        try:
            rendered = render(record)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return done, Refused(0, f"the record doesn't fit the format: {error!r}")
        if not room(rendered) and done:
            break
        done.append(rendered)
    return done, Refused(0, "")


def _as_it_is(record: Json) -> Json:
    return record


def _named(name: str) -> Callable[[Json], str]:
    return lambda record: f"zonebridge:{name}:{record['kind']}"


def _panos(reader: panos_columns.Reader) -> Format:
    return Format(partial(panos.render, reader=reader), lambda record: f"pan:{panos.kind(record)}", bare=True)


_OLDER = (FormatName.OCSF_1_7, FormatName.OCSF_1_5, FormatName.OCSF_1_3, FormatName.OCSF_1_1)


def formats_of(product: str) -> Mapping[FormatName, Format]:
    """The formats as a program of ours fills them in that calls itself so."""
    return {
        FormatName.JSON: Format(_as_it_is, lambda record: f"zonebridge:{record['kind']}"),
        FormatName.OCSF: Format(partial(ocsf.render, product=product), _named("ocsf")),
        **{name: Format(ocsf.render_as(name.removeprefix("ocsf-"), product), _named("ocsf")) for name in _OLDER},
        FormatName.ECS: Format(partial(ecs.render, product=product), _named("ecs")),
        FormatName.CEF: Format(partial(cef.render, product=product), lambda _: "cef"),
        FormatName.LEEF: Format(partial(leef.render, product=product), _named("leef")),
        FormatName.PANOS: _panos(panos_columns.Reader.DEFAULT),
        FormatName.PANOS_ELASTIC: _panos(panos_columns.Reader.ELASTIC),
        FormatName.PANOS_SPLUNK: _panos(panos_columns.Reader.SPLUNK),
        FormatName.FLOWLINE: Format(flowline.render, _named("flowline"), alerts=False),
    }


FORMATS = formats_of(PRODUCT)
