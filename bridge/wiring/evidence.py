"""From settings to the evidence database and its collector. It loads the database's libraries; nothing connects yet."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import partial

from bridge.alerts import EvidenceCheckpoint
from bridge.evidence.collector import CollectorAddress
from bridge.evidence.database import Database
from bridge.evidence.keeping import EvidenceTerms, keeping
from bridge.evidence.store import Store, micros
from bridge.history.copies import RevisionCopies, prune
from bridge.intervals.fold import IntervalKind
from bridge.intervals.observe import Rules
from bridge.intervals.recorder import Recorder, Sight
from bridge.intervals.reminder import ReviewReminder
from bridge.intervals.seals import Seals
from bridge.intervals.store import IntervalStore
from bridge.service import Work
from bridge.settings.credentials import read_token
from bridge.settings.models import BridgeSettings, ClusterSettings, CollectorSettings, EvidenceSettings
from bridge.wiring.clusters import server_tls
from zones import canonical
from zones.policy import Policy
from zones.runtime.errors import SettingsError
from zones.runtime.types import host_and_port

_ENFORCED = {
    *("zones", "app_id", "inexpressible_deny", "objects", "time_zone"),
    *("feeds", "infrastructure", "guards", "guardrails"),
}
_OF_CLUSTER = {"name", "device_group", "tier", "serial", "zones", "namespace"}


def evidence_database(settings: EvidenceSettings) -> Database:
    """Raises SettingsError on an address that is none, EvidenceError, SecretError."""
    named = settings.password_file or settings.password_env
    password = read_token(settings.password_file, settings.password_env) if named else None
    try:
        return Database(settings.url, password)
    except ValueError as error:
        raise SettingsError("evidence.url", (str(error),)) from error


def evidence_kept(settings: BridgeSettings, works: Sequence[Work]) -> AbstractAsyncContextManager[None]:
    """The same errors; entering it raises OSError where the collector's address can't be listened on."""
    if settings.evidence is None:
        raise ValueError("the settings have no evidence database")
    evidence = settings.evidence

    def policies() -> dict[str, Policy]:
        return {work.cluster: policy for work in works if (policy := work.sync.policy) is not None}

    clusters = frozenset(work.cluster for work in works)
    door = None if evidence.collector is None else _door(evidence.collector, clusters)
    database = evidence_database(evidence)
    intervals = IntervalStore(database)
    recorders = tuple(_recorder(settings, work, intervals) for work in works)

    def reminders() -> list[ReviewReminder]:
        leading = [work for work in works if work.leadership.leading]
        return [ReviewReminder(intervals, work.cluster, work.alerts) for work in leading if work.alerts is not None]

    async def sealed(cluster: str, checkpoint: EvidenceCheckpoint) -> None:
        for work in works:
            if work.cluster == cluster and work.alerts is not None:
                await work.alerts.checkpoint(checkpoint)

    for work in works:
        if work.follow_up is not None:
            work.follow_up.copies = RevisionCopies(database, work.cluster, _settings_of(settings, work).tier)
    kept = evidence.retention, evidence.pod_retention
    old = partial(prune, database)
    terms = EvidenceTerms(*kept, policies, door, intervals, old, Seals(database), recorders, reminders, sealed)
    return keeping(Store(database), terms)


def _recorder(settings: BridgeSettings, work: Work, store: IntervalStore) -> Recorder:
    """It is told each move of a pod and each alert from now on."""
    if work.population is None or work.alerts is None:
        raise ValueError("a work without a population or alerts has no intervals")
    population, cluster = work.population, _settings_of(settings, work)
    rules = Rules()

    def tier_and_rules() -> dict[tuple[IntervalKind, str], str]:
        reading = work.sync.reading
        known = reading is not None and work.sync.policy is not None and reading.compiled.policy is work.sync.policy
        values = dict(rules.values(reading.rulebase if known and reading is not None else None))
        if (in_force := work.sync.in_force) is not None:
            revision, digest = in_force
            values[IntervalKind.TIER, cluster.tier] = canonical.text({"revision": revision, "digest": digest})
        return values

    recorder = Recorder(
        store,
        Sight(
            cluster=work.cluster,
            tier=cluster.tier,
            settings=canonical.text({"digest": settings_digest(settings, cluster)}),
            leading=lambda: work.leadership.leading,
            sees=lambda: population.population.complete and work.sync.picture.is_complete,
            population=lambda: population.population,
            nodes=work.sync.picture.nodes,
            tier_and_rules=tier_and_rules,
            clock=lambda: micros(datetime.now(UTC)),
            steady=time.monotonic,
        ),
    )
    population.moved = recorder.moved
    work.alerts.sinks = (*work.alerts.sinks, recorder)
    return recorder


def _settings_of(settings: BridgeSettings, work: Work) -> ClusterSettings:
    return next(cluster for cluster in settings.clusters if cluster.name == work.cluster)


def settings_digest(settings: BridgeSettings, cluster: ClusterSettings) -> str:
    """Of the settings that say what is enforced: nothing secret is among them."""
    wanted = settings.model_dump(mode="json", include=_ENFORCED)
    return canonical.digest(wanted | {"cluster": cluster.model_dump(mode="json", include=_OF_CLUSTER)})


def _door(settings: CollectorSettings, clusters: Collection[str]) -> CollectorAddress:
    try:
        tls = server_tls(settings.cert_file, settings.key_file)
    except OSError as error:
        raise SettingsError("evidence.collector", (f"certFile and keyFile can't be used: {error}",)) from error
    token = partial(read_token, settings.token_file, settings.token_env)
    return CollectorAddress(host_and_port(settings.address), token, clusters, tls)
