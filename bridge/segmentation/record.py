"""A measurement as JSON, with what it doesn't show. Pure."""

from __future__ import annotations

from bridge.segmentation.attempts import ProbeEnd
from bridge.segmentation.matrix import Json, cell_json, cells, differences_json
from bridge.segmentation.measure import SegmentationResult
from zones import canonical

LIMITS = (
    "TCP alone was tried; UDP and ICMP were not.",
    "Rules for named applications (workloads), for addresses that no probe has, and for zones without pods were not.",
    "Of each pair of zones some ports were tried: where rules begin and end, and beside that.",
    "A NetworkPolicy or another firewall shows as closed though allowed: this firewall's part of it isn't told apart.",
    "It is no independent test (PCI DSS 11.4.5): that takes somebody who didn't make what is tested.",
)


def result_json(result: SegmentationResult) -> Json:
    """Keys are only ever added; docs/verify.md says what they mean."""
    wrong = sum(measured.difference is not None for measured in result.results)
    return {
        "at": result.begun.isoformat(timespec="seconds"),
        "until": result.ended.isoformat(timespec="seconds"),
        "revision": result.revision,
        "digest": result.digest,
        "tried": len(result.results),
        "agree": len(result.results) - wrong,
        "doubts": list(result.doubts),
        "nodes_not_enforcing": list(result.observing),
        "probes": [_probe_json(end) for end in result.probes],
        "cells": [cell_json(cell) for cell in cells(result.results)],
        "differences": differences_json(result.results),
        "left_out": [canonical.origin_json(origin) for origin in result.left_out],
        "limits": list(LIMITS),
    }


def _probe_json(end: ProbeEnd) -> Json:
    return {"name": end.name, "zone": end.zone, "node": end.node, "addresses": list(map(str, end.addresses))}
