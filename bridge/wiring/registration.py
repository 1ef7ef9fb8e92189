"""From settings to the registration of each cluster in Panorama; nothing at all where a site didn't opt in.

Only `bridge.wiring.clusters` calls it; nothing here connects yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import structlog

from bridge.compilation.recompile import CompiledReading
from bridge.errors import BridgeError
from bridge.evidence.seen import Evidence
from bridge.evidence.usage import rule_key, unused_rules
from bridge.managers.panorama.registration.addresses import RegistrationTerms
from bridge.managers.panorama.registration.cluster import PanoramaRegistrar
from bridge.managers.panorama.registration.rule_tagging import TaggedGroup
from bridge.managers.panorama.registration.steps import WantedGroup
from bridge.managers.panorama.registration.tags import Naming
from bridge.managers.panorama.rulebase.own_tags import NOT_ENFORCED, PARTLY, unused_tag
from bridge.managers.panorama.session.api import PanoramaAccess, PanoramaApi
from bridge.managers.wanted_tags import WantedTags
from bridge.registration import Rhythm
from bridge.settings.credentials import secret
from bridge.settings.models import BridgeSettings, ClusterSettings, RegistrationSettings, RuleTagSettings
from zones.compile import TAG_IGNORE, TAG_WIDEN
from zones.problems import RuleStatus

_TAGS = (
    (TAG_IGNORE, "This rule is not for Kubernetes clusters."),
    (TAG_WIDEN, "A Kubernetes cluster may block more than this rule says, where it can't express it."),
)
_OF_STATUS = {RuleStatus.ENFORCED_IN_PART: PARTLY, RuleStatus.NOT_ENFORCED: NOT_ENFORCED}
_log = structlog.get_logger()


def registration_api(settings: BridgeSettings, reading: PanoramaAccess) -> PanoramaApi | None:
    """The door for writing, with rights of its own where the settings give them; None where nothing may be written."""
    terms = settings.registration
    if not terms.enabled:
        return None
    key = secret(terms.api_key, terms.api_key_file, terms.api_key_env)
    password = secret(terms.password, terms.password_file, terms.password_env)
    if key is None and password is None:
        return PanoramaApi(reading)
    username = terms.username if password is not None else None
    return PanoramaApi(replace(reading, api_key=key, username=username, password=password))


def panorama_registrar(settings: RegistrationSettings, cluster: ClusterSettings, api: PanoramaApi) -> PanoramaRegistrar:
    wanted = _wanted(settings, cluster) if settings.device_group else None
    terms = (
        RegistrationTerms(Naming(cluster.name, settings.labels), settings.timeout, settings.max_addresses)
        if settings.addresses
        else None
    )
    tagged = (
        None if settings.rule_tags is None else TaggedGroup(cluster.device_group, cluster.name, settings.username or "")
    )
    return PanoramaRegistrar(api, wanted, terms, tagged=tagged)


def registration_rhythm(settings: RegistrationSettings) -> Rhythm:
    """Often enough to say again what has a timeout."""
    seconds = settings.resync.total_seconds()
    rhythm = Rhythm(resync=seconds if settings.timeout is None else min(seconds, settings.timeout.total_seconds() / 3))
    return rhythm if settings.rule_tags is None else replace(rhythm, tags=settings.rule_tags.interval.total_seconds())


def asked_rule_tags(
    settings: RuleTagSettings,
    device_group: str,
    reading: Callable[[], CompiledReading | None],
    seen: Callable[[], tuple[Evidence, dict[str, datetime]] | None],
) -> Callable[[], Awaitable[WantedTags | None]]:
    """What the rules of a cluster's own device group are to be tagged with, when it is asked for.

    `seen`: what nodes counted and when rules were edited, None where nobody collects that; it blocks, and raises
    BridgeError.
    """

    async def ask() -> WantedTags | None:
        current = reading()
        if current is None or current.compiled.policy is None:
            return None  # a refused revision enforces nothing: what becomes of its rules isn't known
        try:
            counted = await asyncio.to_thread(seen)
        except BridgeError as error:
            _log.warning("rules are tagged without what was seen", error=str(error))
            counted = None
        return await asyncio.to_thread(_rule_tags, settings, device_group, current, counted)

    return ask


def _rule_tags(
    settings: RuleTagSettings,
    device_group: str,
    reading: CompiledReading,
    counted: tuple[Evidence, dict[str, datetime]] | None,
) -> WantedTags:
    policy = reading.compiled.policy
    unused = frozenset[str]()
    if counted is not None and policy is not None:
        unused = unused_rules(policy, *counted, datetime.now(UTC), settings.unused_for)
    tags: dict[str, frozenset[str]] = {}
    for report in reading.compiled.reports:
        if report.origin.device_group != device_group or report.origin.uuid is None:
            continue  # the rules of the groups above it are those of others, too
        of_status = _OF_STATUS.get(report.status)
        of_usage = unused_tag(settings.unused_for) if rule_key(report.origin) in unused else None
        tags[report.origin.uuid] = frozenset(tag for tag in (of_status, of_usage) if tag is not None)
    return WantedTags(tags, usage_known=counted is not None)


def _wanted(settings: RegistrationSettings, cluster: ClusterSettings) -> WantedGroup:
    return WantedGroup(
        name=cluster.device_group,
        cluster=cluster.name,
        admin=settings.username or "",
        parent=settings.parent,
        tags=_TAGS if settings.tags else (),
    )
