"""Thirteen months of a tier's revisions, copied as a bridge copies them: how large, how long to write, read, verify.

    python -m tests.bench.revisions [RULES] [REVISIONS]

Each revision adds one rule to, or takes one from, so many; the cluster keeps the last hundred.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from bridge.evidence.database import Database
from bridge.history.archive import Archive
from bridge.history.copies import RevisionCopies
from bridge.history.ledger import RevisionLedger
from bridge.history.revision import ChainPlace, Reasons, part_names, recorded_of, revision_object, sealed
from bridge.tier.plan import Part
from zones.net import AddressSet
from zones.policy import Entry, Policy, Verdict
from zones.rules import Origin
from zones.tiers import native
from zones.zone import Zoning

Json = dict[str, Any]
END, DAYS, KEPT, MEBI = datetime(2026, 11, 1, tzinfo=UTC), 400, 100, 2**20
ZONES = tuple(f"zone-{number}" for number in range(40))
_Result = TypeVar("_Result")


class KeptCluster:
    """The Tier, and the last revisions with their parts."""

    def __init__(self, tier: Json, raws: list[Json], parts: dict[str, Json]) -> None:
        self._tier, self._raws, self._parts = tier, raws, parts

    async def tier(self, name: str) -> Json | None:
        return self._tier

    async def revisions(self, tier: str) -> list[Json]:
        return self._raws

    async def part(self, part: Part) -> Json | None:
        return self._parts.get(part.name)


def rule(number: int) -> Entry:
    network = AddressSet.parse([f"10.{number // 250 % 250}.{number % 250}.0/24"])
    zones = frozenset({ZONES[number % 40]}), frozenset({ZONES[number * 7 % 40]})
    origin = Origin(f"rule {number}", f"00000000-0000-0000-0000-{number:012}", "pre", "dg")
    return Entry(origin, Verdict.ALLOW, from_zones=zones[0], to_zones=zones[1], destinations=network)


def timed(what: str, work: Callable[[], _Result]) -> _Result:
    started = time.perf_counter(), time.process_time()
    result = work()
    wall, spent = time.perf_counter() - started[0], time.process_time() - started[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{what}: {wall:.1f} s, {spent:.1f} s of processor, {peak} MiB at most until then")
    return result


def write(copies: RevisionCopies, rules: int, revisions: int) -> KeptCluster:
    """Everything, as `FollowUp` writes it."""
    entries, raws, spent = [rule(number) for number in range(rules)], list[Json](), 0.0
    rendered, last, known = None, None, dict[str, Json]()
    for number in range(1, revisions + 1):
        place = number * 37 % rules
        added = number % 2 == 1
        entries[place : place + (0 if added else 1)] = [rule(rules + number)] if added else []
        policy = Policy(Zoning(), (), tuple(entries), frozenset(ZONES))
        rendered = native.render(policy, "panorama", number, native.TierSource("panorama", "dg", "1"), rendered)
        at = END - timedelta(days=DAYS) * (1 - number / revisions)
        link = ChainPlace(last, last.revision if last else 0)
        raw = revision_object(rendered.tier, link, Reasons(("commit",)), at)
        raw["status"] = sealed(raw["spec"], {"changes": {"pairsOpened": 1, "pairsClosed": 0, "lines": []}})
        last, parts = recorded_of(raw), {part["metadata"]["name"]: part for part in rendered.parts}
        started = time.perf_counter()
        missing_parts = copies.missing_parts(part_names(raw["spec"]))
        copies.add(raw, {name: parts[name] for name in missing_parts})
        copies.add_status(raw)
        spent += time.perf_counter() - started
        raws.append(raw)
        if number > revisions - KEPT:
            known |= parts
    print(f"{spent / revisions * 1000:.1f} ms to copy each of {revisions} revisions of {len(parts)} parts")
    return KeptCluster(rendered.tier if rendered else {}, raws[-KEPT:], known)


def main() -> None:
    rules, revisions = (int(each) for each in (*sys.argv[1:3], *("5000", "2000")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/evidence.db")
        database.migrate()
        copies = RevisionCopies(database, "prod", "panorama")
        cluster = timed("rendering and copying", lambda: write(copies, rules, revisions))
        size = sum(each.stat().st_size for each in Path(folder).iterdir())
        print(f"{rules} rules, {revisions} revisions: {size / MEBI:.0f} MiB")

        async def policy(days: int) -> Policy:
            archive = await Archive.read(cluster, "panorama", copies)
            return await archive.policy(archive.at(END - timedelta(days=days)).revision)

        timed("nothing new: which are copied", copies.chains)
        timed("the rules of 300 days ago", lambda: asyncio.run(policy(300)))
        timed("the records alone", lambda: RevisionLedger.of(map(recorded_of, copies.raws())))
        if broken := timed("verifying all copies", copies.breaks):
            raise SystemExit(f"they aren't whole: {broken[0]}")
        database.close()


if __name__ == "__main__":
    main()
