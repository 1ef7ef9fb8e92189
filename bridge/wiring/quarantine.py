"""From settings to what asks for quarantines: a SOAR's listener, a tag in Panorama; nothing without an opt-in."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from bridge.alerts import Alerts
from bridge.listeners.quarantines import QuarantineDoor
from bridge.managers.panorama.session.api import PanoramaAccess, PanoramaApi
from bridge.managers.panorama.tagged import TaggedAddresses
from bridge.population import Population
from bridge.quarantine.client import QuarantineBudget, QuarantineClient
from bridge.quarantine.requests import SoarQuarantines
from bridge.quarantine.tagged import TagFollower, TagTerms
from bridge.settings.credentials import read_token
from bridge.settings.models import QuarantineListenerSettings, QuarantineSettings
from bridge.tier.sync import RunBlocking
from zones.kube.client import ApiServer, ClusterAccess
from zones.runtime.errors import SettingsError
from zones.runtime.types import host_and_port


def quarantine_client(settings: QuarantineSettings | None, access: ClusterAccess) -> QuarantineClient:
    """With the site's budget; it connects when it is first used."""
    settings = settings or QuarantineSettings()
    return QuarantineClient(ApiServer(access), QuarantineBudget(settings.workload_budget, settings.cluster_budget))


def soar_quarantines(settings: QuarantineSettings | None, client: QuarantineClient) -> SoarQuarantines | None:
    if settings is None or settings.listener is None:
        return None
    return SoarQuarantines(client, settings.lasting)


def tag_follower(
    settings: QuarantineSettings | None,
    client: QuarantineClient,
    access: PanoramaAccess,
    *,
    population: Callable[[], Population],
    alerts: Alerts,
    run_tags: RunBlocking,
) -> TagFollower | None:
    """With a session of its own at Panorama."""
    if settings is None or settings.tag is None:
        return None
    terms = TagTerms(settings.tag.name, settings.lasting, settings.tag.interval.total_seconds())
    tagged = TaggedAddresses(PanoramaApi(access), settings.tag.name)
    return TagFollower(terms, tagged.read, population, client, alerts, run_tags)


def quarantine_door(settings: QuarantineSettings | None) -> QuarantineDoor | None:
    """Raises SettingsError on certificates that can't be used."""
    if settings is None or settings.listener is None:
        return None
    listener = settings.listener
    token_file, token_env = listener.token_file, listener.token_env
    return QuarantineDoor(
        host_and_port(listener.address),
        None if token_file is None and token_env is None else lambda: read_token(token_file, token_env),
        _tls(listener),
        frozenset(listener.clients),
        listener.per_minute,
    )


def _tls(listener: QuarantineListenerSettings) -> ssl.SSLContext | None:
    if listener.cert_file is None:
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        tls.load_cert_chain(listener.cert_file, listener.key_file)
        if listener.client_ca_file is not None:
            tls.load_verify_locations(listener.client_ca_file)
            tls.verify_mode = ssl.CERT_REQUIRED
    except OSError as error:
        fault = f"certFile, keyFile and clientCaFile can't be used: {error}"
        raise SettingsError("quarantine.listener", (fault,)) from error
    return tls
