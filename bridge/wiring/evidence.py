"""From settings to the evidence database and its collector. It loads the database's libraries; nothing connects yet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import AbstractAsyncContextManager

from bridge.errors import SettingsError
from bridge.evidence.collector import CollectorDoor
from bridge.evidence.database import Database
from bridge.evidence.keeping import Terms, keeping
from bridge.evidence.store import Store
from bridge.service import Work
from bridge.settings.credentials import read_secret
from bridge.settings.models import CollectorSettings, EvidenceSettings, host_and_port
from bridge.wiring.clusters import server_tls
from zones.policy import Policy


def evidence_store(settings: EvidenceSettings) -> Store:
    """Raises SettingsError on an address that is none, EvidenceError, SecretError."""
    password = None if settings.password_file is None else read_secret(settings.password_file)
    try:
        return Store(Database(settings.url, password))
    except ValueError as error:
        raise SettingsError("evidence.url", (str(error),)) from error


def evidence_kept(settings: EvidenceSettings, works: Sequence[Work]) -> AbstractAsyncContextManager[None]:
    """The same errors; entering it raises OSError where the collector's address can't be listened on."""

    def policies() -> dict[str, Policy]:
        return {work.cluster: policy for work in works if (policy := work.sync.policy) is not None}

    clusters = frozenset(work.cluster for work in works)
    door = None if settings.collector is None else _door(settings.collector, clusters)
    return keeping(evidence_store(settings), Terms(settings.retention, policies, door))


def _door(settings: CollectorSettings, clusters: Collection[str]) -> CollectorDoor:
    try:
        tls = server_tls(settings.cert_file, settings.key_file)
    except OSError as error:
        raise SettingsError("evidence.collector", (f"certFile and keyFile can't be used: {error}",)) from error
    return CollectorDoor(host_and_port(settings.address), lambda: read_secret(settings.token_file), clusters, tls)
