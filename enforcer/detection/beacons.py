"""Connections from one workload to one address that come like clockwork, and are all of one size. Pure."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median

from enforcer.detection.terms import DetectionTerms


@dataclass(frozen=True, slots=True)
class BeaconRhythm:
    """`interval` in seconds, `octets` of one connection; both the median. The jitters are MAD over median."""

    connections: int
    interval: float
    interval_jitter: float
    octets: float
    octets_jitter: float


@dataclass(slots=True)
class _Series:
    starts: array[float] = field(default_factory=lambda: array("d"))
    octets: array[int] = field(default_factory=lambda: array("Q"))


@dataclass(slots=True)
class Beacons:
    """At most `terms.capacity` pairs: who was silent for longest leaves, and `evicted` counts it if that was too early.

    A pair that was told keeps quiet for a window.
    """

    terms: DetectionTerms
    evicted: int = 0
    repeated: int = 0
    _series: OrderedDict[Hashable, _Series] = field(default_factory=OrderedDict)
    _told: OrderedDict[Hashable, float] = field(default_factory=OrderedDict)

    def __len__(self) -> int:
        return len(self._series)

    def add(self, pair: Hashable, begun: float, octets: int, now: float) -> BeaconRhythm | None:
        """`begun`: when the connection began, by the clock of `now`."""
        series = self._series.pop(pair, None)
        if series is None:
            self._make_room(now)
            series = _Series()
        self._series[pair] = series
        most = self.terms.beacon_connections
        series.starts, series.octets = series.starts[-(most - 1) :], series.octets[-(most - 1) :]
        series.starts.append(begun)
        series.octets.append(max(octets, 0))
        if len(series.starts) < most or now - min(series.starts) > self.terms.beacon_window:
            return None
        rhythm = _rhythm(series)
        if rhythm is None or max(rhythm.interval_jitter, rhythm.octets_jitter) > self.terms.beacon_jitter:
            return None
        if now < self._told.get(pair, 0.0):
            self.repeated += 1
            return None
        while self._told and next(iter(self._told.values())) <= now:
            del self._told[next(iter(self._told))]
        self._told.pop(pair, None)
        self._told[pair] = now + self.terms.beacon_window
        return rhythm

    def _make_room(self, now: float) -> None:
        if len(self._series) < self.terms.capacity:
            return
        pair = next(iter(self._series))
        self.evicted += now - max(self._series[pair].starts) < self.terms.beacon_window
        del self._series[pair]


def _rhythm(series: _Series) -> BeaconRhythm | None:
    """None where they all began at once: that is a burst."""
    starts = sorted(series.starts)
    intervals = [after - before for before, after in pairwise(starts)]
    interval, octets = median(intervals), median(series.octets)
    if interval < 1.0:
        return None
    return BeaconRhythm(len(starts), interval, _jitter(intervals, interval), octets, _jitter(series.octets, octets))


def _jitter(values: list[float] | array[int], usual: float) -> float:
    return median(abs(value - usual) for value in values) / max(usual, 1.0)
