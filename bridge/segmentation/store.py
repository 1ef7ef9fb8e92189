"""Measurements in the evidence database. It blocks: call it from a thread."""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import insert, select

from bridge.evidence.database import Database
from bridge.evidence.schema import MEASUREMENT
from bridge.evidence.store import micros
from bridge.segmentation.matrix import Json
from bridge.segmentation.measure import SegmentationResult
from zones import canonical


@dataclass(frozen=True, slots=True)
class RecordedMeasurement:
    """`at`: when it ended, in microseconds since the epoch; `content`: as `result_json` has it."""

    at: int
    content: Json


class Measurements:
    """`cluster` is a name of the settings everywhere."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, cluster: str, result: SegmentationResult, content: Json) -> None:
        """Raises EvidenceError."""
        with self._database.writing("recording a measurement") as connection:
            values = {"cluster": cluster, "at": micros(result.ended), "revision": result.revision}
            connection.execute(insert(MEASUREMENT).values(**values, content=canonical.text(content)))

    def between(self, cluster: str, begin: int, end: int) -> list[RecordedMeasurement]:
        """Those that ended within [begin, end), the earliest first. Raises EvidenceError."""
        columns = MEASUREMENT.c
        asked = (
            select(columns.at, columns.content)
            .where(columns.cluster == cluster, columns.at >= begin, columns.at < end)
            .order_by(columns.at, columns.id)
        )
        with self._database.reading("reading measurements") as connection:
            return [RecordedMeasurement(at, json.loads(content)) for at, content in connection.execute(asked)]
