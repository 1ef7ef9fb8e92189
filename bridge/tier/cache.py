"""What the watch of a cluster has told: the parts of one tier, and the nodes' states. It asks and compares nothing.

`bridge.service` folds changes into it, `bridge.tier.sync` reads it and tells it what it has written itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from zones.kube.watch import Change, Listed
from zones.tiers.native import ADDRESS_SET, API_VERSION, POLICY_CHUNK

Json = dict[str, Any]
NODE_STATE = "NodeState"
KINDS = (POLICY_CHUNK, ADDRESS_SET, NODE_STATE)
_FOR_EVER = 2**63


@dataclass(slots=True)
class Picture:
    """Objects by kind and name. It is `whole` once every kind was listed; `watched` where that is to come."""

    watched: bool = False
    _held: dict[str, dict[str, Json]] = field(default_factory=lambda: {kind: {} for kind in KINDS})
    _coming: dict[str, dict[str, Json]] = field(default_factory=dict)
    _listed: set[str] = field(default_factory=set)
    _dead: dict[str, int] = field(default_factory=dict)
    """By uid of what we took out of the tier: the version up to which the watch tells of it what is old."""
    _all_listed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_complete(self) -> bool:
        return self._all_listed.is_set()

    async def soon_whole(self, seconds: float) -> bool:
        """Whether it is, once somebody who watches has had so long to list everything. That is waited for only once."""
        if self.watched and not self.is_complete:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._all_listed.wait()
            self.watched = False
        return self.is_complete

    def parts(self) -> dict[str, Json]:
        return self._held[POLICY_CHUNK] | self._held[ADDRESS_SET]

    def nodes(self) -> list[Json]:
        return list(self._held[NODE_STATE].values())

    def fold(self, kind: str, change: Change) -> None:
        """Later news of an object replace earlier ones, in whatever order they come."""
        if isinstance(change, Listed):
            self._page(kind, change)
        elif change.gone:
            uid, version = _uid(change.raw), _version(change.raw)
            if version >= self._dead.get(uid, 0) or self._dead[uid] == _FOR_EVER:
                self._dead.pop(uid, None)
            known = self._held[kind].get(_name(change.raw))
            if known is not None and _uid(known) == uid and not (version and _version(known) > version):
                del self._held[kind][_name(change.raw)]
        else:
            self._keep(kind, change.raw)

    def lost(self, kind: str) -> None:
        """This kind is not watched any more: what is held of it is old."""
        if kind in self._listed:
            self._listed.remove(kind)
            self._all_listed.clear()

    def wrote(self, answer: Json) -> None:
        """We wrote this ourselves; the watch will tell it too."""
        if answer["kind"] in self._held:
            self._keep(answer["kind"], answer)

    def deleted(self, kind: str, name: str) -> None:
        """We deleted this ourselves: what the watch still tells of its life is old."""
        known = self._held[kind].pop(name, None)
        if known is not None and _uid(known):
            self._dead[_uid(known)] = _FOR_EVER

    def retired(self, kind: str, name: str, answer: Json) -> None:
        """We took this out of the tier, as it stands in `answer`: it may come back, with a later version."""
        self._held[kind].pop(name, None)
        if _uid(answer):
            self._dead[_uid(answer)] = _version(answer)

    def share(self, parts: Iterable[Json]) -> None:
        """Hold what equals one of these only once: a tier may have a million prefixes."""
        for part in parts:
            known = self._held[part["kind"]].get(_name(part))
            if known is not None and known["spec"] == part["spec"]:
                known["spec"] = part["spec"]

    def _page(self, kind: str, page: Listed) -> None:
        if page.first:
            self._coming[kind] = {}
            if page.went_back:  # what was written since the backup never was
                self._held[kind] = {}
                self._dead.clear()
        coming = self._coming.setdefault(kind, {})
        for raw in page.objects:
            if not self._is_old(raw):
                coming[_name(raw)] = self._typed(kind, raw)
        if page.last:
            self._held[kind] = self._coming.pop(kind) | self._newer(kind, page.version)
            self._listed.add(kind)
            if len(self._listed) == len(KINDS):
                self._all_listed.set()

    def _newer(self, kind: str, version: str) -> dict[str, Json]:
        """What we wrote while the list was on its way."""
        if not version.isdigit():
            return {}
        return {name: raw for name, raw in self._held[kind].items() if _version(raw) > int(version)}

    def _keep(self, kind: str, raw: Json) -> None:
        known = self._held[kind].get(_name(raw))
        if self._is_old(raw) or (known is not None and _version(known) > _version(raw)):
            return
        self._held[kind][_name(raw)] = self._typed(kind, raw)

    def _is_old(self, raw: Json) -> bool:
        return _uid(raw) in self._dead and _version(raw) <= self._dead[_uid(raw)]

    def _typed(self, kind: str, raw: Json) -> Json:
        """With its kind, which lists leave out, and with the content that is held already where it is the same."""
        known = self._held[kind].get(_name(raw))
        same = known is not None and known.get("spec") == raw.get("spec")
        return raw | {"apiVersion": API_VERSION, "kind": kind} | ({"spec": known["spec"]} if known and same else {})


def _name(raw: Json) -> str:
    return str(raw["metadata"]["name"])


def _uid(raw: Json) -> str:
    return str(raw["metadata"].get("uid", ""))


def _version(raw: Json) -> int:
    """Versions of one kind are numbers that rise (KEP-5504)."""
    version = str(raw["metadata"].get("resourceVersion", ""))
    return int(version) if version.isdigit() else 0
