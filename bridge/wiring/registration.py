"""From settings to the registration of each cluster in Panorama; nothing at all where a site didn't opt in.

Only `bridge.wiring.clusters` calls it; nothing here connects yet.
"""

from __future__ import annotations

from dataclasses import replace

from bridge.managers.panorama.registration.addresses import RegistrationTerms
from bridge.managers.panorama.registration.cluster import PanoramaRegistrar
from bridge.managers.panorama.registration.steps import WantedGroup
from bridge.managers.panorama.registration.tags import Naming
from bridge.managers.panorama.session.api import PanoramaAccess, PanoramaApi
from bridge.registration import Rhythm
from bridge.settings.credentials import secret
from bridge.settings.models import ClusterSettings, RegistrationSettings, Settings
from zones.compile import TAG_IGNORE, TAG_WIDEN

_TAGS = (
    (TAG_IGNORE, "This rule is not for Kubernetes clusters."),
    (TAG_WIDEN, "A Kubernetes cluster may block more than this rule says, where it can't express it."),
)


def registration_api(settings: Settings, reading: PanoramaAccess) -> PanoramaApi | None:
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


def panorama_registrar(given: RegistrationSettings, each: ClusterSettings, api: PanoramaApi) -> PanoramaRegistrar:
    wanted = _wanted(given, each) if given.device_group else None
    terms = (
        RegistrationTerms(Naming(each.name, given.labels), given.timeout, given.max_addresses)
        if given.addresses
        else None
    )
    return PanoramaRegistrar(api, wanted, terms)


def registration_rhythm(given: RegistrationSettings) -> Rhythm:
    """Often enough to say again what has a timeout."""
    seconds = given.resync.total_seconds()
    return Rhythm(resync=seconds if given.timeout is None else min(seconds, given.timeout.total_seconds() / 3))


def _wanted(given: RegistrationSettings, each: ClusterSettings) -> WantedGroup:
    return WantedGroup(
        name=each.device_group,
        cluster=each.name,
        admin=given.username or "",
        parent=given.parent,
        tags=_TAGS if given.tags else (),
    )
