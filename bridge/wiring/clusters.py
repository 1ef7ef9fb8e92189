"""From settings to the things they describe: the manager's door, each cluster's door, target and standing.

Only `bridge.cli` calls it; nothing here connects yet.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path

import dns.asyncresolver
import httpx

from bridge.alerts import Alerts, EventSink, LogSink, Sink
from bridge.evidence.seen import Evidence
from bridge.feeds import FeedLimits, Feeds, Fetcher
from bridge.feeds.fetch import FILE
from bridge.history.followup import FollowUp
from bridge.history.ledger import Retention
from bridge.listeners.wakeup import ListenAddress
from bridge.managers.panorama.manager import PanoramaManager
from bridge.managers.panorama.rulebase.rulebase import ReadOptions
from bridge.managers.panorama.session.api import PanoramaAccess, PanoramaApi
from bridge.managers.panorama.session.transport import AnswerLimits
from bridge.nodes.startup_taint import Untaint
from bridge.population import Population, PopulationTerms, Publishing
from bridge.posture.follow import PostureFollower
from bridge.posture.snapshot import PostureTerms
from bridge.preview.follow import Previewing, Sources, residents_of
from bridge.registration import Registration, Watched
from bridge.service import Work
from bridge.settings.credentials import read_token, secret
from bridge.settings.models import (
    BridgeSettings,
    ClusterSettings,
    EvidenceSettings,
    FeedSettings,
    PanoramaSettings,
    PostureSettings,
    PreviewSettings,
    StartupTaint,
    WakeUpSettings,
)
from bridge.tier.cluster import TierApi
from bridge.tier.lease import Leadership, LeaseTerms
from bridge.tier.plan import SafetyLimits
from bridge.tier.reachability import ReachabilityMonitor
from bridge.tier.sync import CompileTarget, RunBlocking, Sync
from bridge.tier.watcher import TierWatcher
from bridge.wiring.infrastructure import own_standing
from bridge.wiring.quarantine import quarantine_client, soar_quarantines, tag_follower
from bridge.wiring.registration import asked_rule_tags, panorama_registrar, registration_api, registration_rhythm
from zones.compile import CompileOptions
from zones.kube.client import ApiServer, ClusterAccess
from zones.net import IPAddress
from zones.runtime.errors import SettingsError
from zones.runtime.types import host_and_port


def works(
    settings: BridgeSettings, run_blocking: RunBlocking, siem: Sink | None = None, run_tags: RunBlocking | None = None
) -> Iterator[Work]:
    """One for each cluster; all ask the same Panorama through one door. `run_tags`: for what must not wait for it."""
    if settings.panorama is None:
        raise ValueError("the service needs a Panorama; load the settings for it")
    access = panorama_access(settings.panorama)
    api = PanoramaApi(access)
    shared = _Shared(access, run_blocking, registration_api(settings, access), siem, run_tags or run_blocking)
    for cluster in settings.clusters:
        manager = PanoramaManager(api, cluster.device_group, read_options(settings))
        yield _work(settings, cluster, manager, shared)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all clusters' works have in common. `writing` is Panorama's door for writing, where the site opts in."""

    access: PanoramaAccess
    run_blocking: RunBlocking
    writing: PanoramaApi | None
    siem: Sink | None
    run_tags: RunBlocking


def _work(
    settings: BridgeSettings, cluster_settings: ClusterSettings, manager: PanoramaManager, shared: _Shared
) -> Work:
    cluster = TierApi(ApiServer(cluster_access(cluster_settings)), ApiServer(cluster_access(cluster_settings)))
    alerts = Alerts(cluster_settings.name, cluster_settings.tier, tuple(_sinks(settings, cluster, shared.siem)))
    trigger = asyncio.Event()
    feeds, close_feeds = feeds_of(settings.feeds, trigger.set)

    population = Publishing(
        ApiServer(cluster_access(cluster_settings)), _population(settings, cluster_settings), alerts
    )

    posture = _posture(settings, cluster_settings, alerts)
    quarantines = quarantine_client(settings.quarantine, cluster_access(cluster_settings))

    async def close() -> None:
        await close_feeds()
        await population.close()
        await quarantines.close()
        if posture is not None:
            await posture.close()
        await cluster.close()

    def node_at(address: IPAddress) -> str | None:
        return population.population.node_at(address)

    standing = own_standing(settings, cluster_settings, cluster, node_at)
    sync = Sync(
        target(settings, cluster_settings),
        manager,
        cluster,
        alerts,
        feeds,
        run_blocking=shared.run_blocking,
        present=lambda: population.population.nodes,
        infrastructure=standing.infrastructure,
        cut_off=standing.cut_off,
        retention=Retention(settings.history.keep, settings.history.max_age),
    )
    return Work(
        cluster=cluster_settings.name,
        sync=sync,
        guard=TierWatcher(sync, lambda kind: cluster.follow(kind, cluster_settings.tier)),
        leadership=Leadership(cluster, _terms(settings, cluster_settings)),
        feeds=feeds,
        population=population,
        registration=None
        if shared.writing is None
        else Registration(
            panorama_registrar(settings.registration, cluster_settings, shared.writing),
            replace(
                _watched(settings, cluster_settings, lambda: population.population, cluster, sync),
                quarantines=quarantines.all if settings.registration.quarantined else None,
            ),
            alerts,
            shared.run_blocking,
            rhythm=registration_rhythm(settings.registration),
        ),
        reach=ReachabilityMonitor(alerts),
        untaint=_untaint(settings, cluster_settings, cluster, lambda: population.population.tainted),
        previewing=None
        if settings.preview is None
        else Previewing(
            Sources(
                target=target(settings, cluster_settings),
                manager=manager,
                reading=lambda: sync.reading,
                feeds=feeds,
                residents=lambda: residents_of(population.population),
                run_blocking=shared.run_blocking,
                rails=tuple(rail.rail() for rail in settings.guardrails),
                seen=partial(counted_in, settings.evidence, cluster_settings.name),
                own_admin=settings.registration.username if settings.registration.enabled else None,
            ),
            alerts,
            settings.preview.interval.total_seconds(),
        ),
        tags=tag_follower(
            settings.quarantine,
            quarantines,
            shared.access,
            population=lambda: population.population,
            alerts=alerts,
            run_tags=shared.run_tags,
        ),
        quarantines=soar_quarantines(settings.quarantine, quarantines),
        alerts=alerts,
        posture=posture,
        follow_up=FollowUp(cluster, cluster_settings.tier, sync.history, alerts),
        close=close,
        trigger=trigger,
    )


def _watched(
    settings: BridgeSettings,
    cluster_settings: ClusterSettings,
    population: Callable[[], Population],
    cluster: TierApi,
    sync: Sync,
) -> Watched:
    registration = settings.registration
    services = cluster.services if registration.addresses and registration.services else None
    if registration.rule_tags is None:
        return Watched(population, services)
    seen = partial(_counted_and_edited, settings.evidence, cluster_settings.name)
    tags = asked_rule_tags(registration.rule_tags, cluster_settings.device_group, lambda: sync.reading, seen)
    return Watched(population, services, tags)


def counted_in(settings: EvidenceSettings | None, cluster: str) -> Evidence | None:
    """What nodes of a cluster counted, as the database has it; None without one. It blocks. Raises EvidenceError."""
    known = _counted_and_edited(settings, cluster)
    return None if known is None else known[0]


def _counted_and_edited(settings: EvidenceSettings | None, cluster: str) -> tuple[Evidence, dict[str, datetime]] | None:
    """The same, with when each rule came to say what it says."""
    if settings is None:
        return None
    from bridge.evidence.store import Store  # noqa: PLC0415 - libraries of 20 MB that others need not load
    from bridge.wiring.evidence import evidence_database  # noqa: PLC0415 - the same

    store = Store(evidence_database(settings))
    try:
        return store.seen(cluster), store.edited(cluster)
    finally:
        store.close()


def listen_address(settings: WakeUpSettings | PreviewSettings, section: str) -> ListenAddress:
    """Raises SettingsError, which names the section, on a certificate that can't be used."""
    try:
        tls = server_tls(settings.cert_file, settings.key_file)
    except OSError as error:
        raise SettingsError(section, (f"certFile and keyFile can't be used: {error}",)) from error
    token = partial(read_token, settings.token_file, settings.token_env)
    return ListenAddress(host_and_port(settings.address), token, tls)


def server_tls(cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext | None:
    """None without a certificate. Raises OSError, of which ssl.SSLError is one, where both can't be used."""
    if cert_file is None:
        return None
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(cert_file, key_file)
    return tls


def feeds_of(settings: FeedSettings, changed: Callable[[], None]) -> tuple[Feeds, Callable[[], Awaitable[None]]]:
    """FQDNs and lists of one cluster, and what lets go of their connections."""
    client = _list_client(settings)
    return Feeds(Fetcher(client, _resolver(settings), _limits(settings)).fetch, changed), client.aclose


def _list_client(settings: FeedSettings) -> httpx.AsyncClient:
    """For external lists: TLS verified, a few redirects followed."""
    tls = ssl.create_default_context(cafile=None if settings.ca_file is None else str(settings.ca_file))
    timeout = settings.timeout.total_seconds()
    return httpx.AsyncClient(verify=tls, timeout=timeout, follow_redirects=True, max_redirects=3)


def _resolver(settings: FeedSettings) -> dns.asyncresolver.Resolver:
    """The site's name servers, or the machine's own."""
    if not settings.nameservers:
        return dns.asyncresolver.Resolver()
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [str(server) for server in settings.nameservers]
    return resolver


def _limits(settings: FeedSettings) -> FeedLimits:
    return FeedLimits(
        size=settings.max_bytes,
        entries=settings.max_entries,
        names=settings.max_names,
        timeout=settings.timeout.total_seconds(),
    )


def target(settings: BridgeSettings, cluster_settings: ClusterSettings) -> CompileTarget:
    guards = SafetyLimits(settings.guards.max_deleted_share, settings.guards.allow_empty)
    return CompileTarget(
        cluster=cluster_settings.name,
        tier=cluster_settings.tier,
        device_group=cluster_settings.device_group,
        zoning=settings.zones.zoning(),
        options=options(settings, cluster_settings),
        infrastructure=settings.infrastructure.rules(),
        guards=guards,
        stale_after=settings.stale_after,
    )


def options(settings: BridgeSettings, cluster_settings: ClusterSettings | None) -> CompileOptions:
    """How rules are compiled for a cluster, or for none in particular."""
    zones = cluster_settings.zones if cluster_settings else None
    return CompileOptions(
        serial=cluster_settings.serial if cluster_settings else None,
        cluster_zones=None if zones is None else frozenset(zones),
        app_id_side=settings.app_id.side,
        inexpressible_deny=settings.inexpressible_deny,
        deny_by_ports=settings.app_id.deny_by_ports,
    )


def read_options(settings: BridgeSettings) -> ReadOptions:
    provided = settings.feeds.provided
    return ReadOptions(
        ancestors_win=settings.objects.ancestors_win,
        wildcard_top_down=settings.objects.wildcard_top_down,
        time_zone=settings.time_zone,
        provided={name: f"{FILE}{where}" if where.startswith("/") else where for name, where in provided.items()},
    )


def posture_terms(settings: PostureSettings, namespace: str) -> PostureTerms:
    return PostureTerms(frozenset(settings.system_namespaces), (namespace, settings.enforcer_namespace))


def _posture(settings: BridgeSettings, cluster_settings: ClusterSettings, alerts: Alerts) -> PostureFollower | None:
    if not settings.posture.watch:
        return None
    return PostureFollower(
        ApiServer(cluster_access(cluster_settings)),
        posture_terms(settings.posture, cluster_settings.namespace),
        [exception.exception() for exception in settings.posture.exceptions],
        settings.posture.benchmark,
        alerts,
    )


def _untaint(
    settings: BridgeSettings,
    cluster_settings: ClusterSettings,
    cluster: TierApi,
    tainted: Callable[[], Collection[str]],
) -> Untaint | None:
    return Untaint(cluster, cluster_settings.tier, tainted) if settings.startup_taint is StartupTaint.REMOVE else None


def panorama_access(settings: PanoramaSettings) -> PanoramaAccess:
    key = secret(settings.api_key, settings.api_key_file, settings.api_key_env)
    return PanoramaAccess(
        hosts=settings.hosts,
        api_key=key,
        username=settings.username,
        password=secret(settings.password, settings.password_file, settings.password_env),
        ca_file=settings.ca_file,
        verify=settings.verify,
        limits=AnswerLimits(
            timeout=max(round(settings.timeout.total_seconds()), 1), deadline=settings.deadline.total_seconds()
        ),
    )


def cluster_access(cluster_settings: ClusterSettings) -> ClusterAccess:
    return ClusterAccess(cluster_settings.name, cluster_settings.kubeconfig, cluster_settings.context)


def _sinks(settings: BridgeSettings, cluster: TierApi, siem: Sink | None) -> Iterator[Sink]:
    """The cluster itself comes last: it may be what is in trouble."""
    if settings.siem.log:
        yield LogSink()
    if siem is not None:
        yield siem
    if settings.siem.kubernetes_events:
        yield EventSink(cluster)


def _population(settings: BridgeSettings, cluster_settings: ClusterSettings) -> PopulationTerms:
    return PopulationTerms(cluster_settings.tier, settings.zones.zoning(), settings.population.labels)


def _terms(settings: BridgeSettings, cluster_settings: ClusterSettings) -> LeaseTerms:
    return LeaseTerms(
        namespace=cluster_settings.namespace,
        name=f"zonebridge-{cluster_settings.tier}",
        identity=f"{socket.gethostname()}_{os.getpid()}",
        duration=settings.lease.duration.total_seconds(),
        renew=settings.lease.renew.total_seconds(),
        renew_deadline=settings.lease.deadline.total_seconds(),
    )
