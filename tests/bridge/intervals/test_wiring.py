"""What the bridge's settings make of the recorders: each cluster has one, which hears its pods and its alerts."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from bridge.alerts import EvidenceCheckpoint
from bridge.intervals.fold import IntervalKind
from bridge.intervals.recorder import Recorder
from bridge.settings.file import Purpose, load
from bridge.wiring import evidence
from bridge.wiring.clusters import works
from tests.bridge.running import run_here
from tests.bridge.world import RecordingSink
from zones.siem.alerts import AlertKind


@pytest.fixture
def settings(tmp_path):
    def made(**more):
        kubeconfig = tmp_path / "kubeconfig"
        cluster = {"cluster": {"server": "https://127.0.0.1:1"}, "name": "c"}
        context = {"context": {"cluster": "c", "user": "u"}, "name": "x"}
        user = {"name": "u", "user": {"token": "t"}}
        about = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "x"}
        kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config"} | about))
        key = tmp_path / "key"
        key.write_text("secret")
        wanted = {
            "panorama": {"hosts": ["127.0.0.1"], "apiKeyFile": str(key)},
            "clusters": [
                {"name": name, "deviceGroup": "dg", "kubeconfig": str(kubeconfig)} for name in ("prod", "test")
            ],
            "evidence": {"url": f"sqlite:///{tmp_path / 'evidence.db'}"},
        }
        path = tmp_path / "settings.yaml"
        path.write_text(yaml.safe_dump(wanted | more))
        return load(path, {}, Purpose.SERVICE)

    return made


def test_each_cluster_has_a_recorder_that_hears_its_pods_and_its_alerts(settings):
    async def scenario():
        made = tuple(works(settings(), run_here))
        evidence.evidence_kept(settings(), made)
        for work in made:
            recorder = work.alerts.sinks[-1]
            assert isinstance(recorder, Recorder)
            assert work.population.moved == recorder.moved
            assert recorder.sight.cluster == work.cluster
            assert work.follow_up.copies._cluster == work.cluster
            await work.alerts.raise_(AlertKind.SYNC_STALE, "Panorama is away")
            assert list(recorder._alerts) == ["SyncStale"]
            assert not recorder.sight.leading()
            assert not recorder.sight.sees()
            assert recorder.sight.tier_and_rules() == {}
        for work in made:
            await work.close()

    asyncio.run(scenario())


def test_the_digest_of_settings_changes_with_what_is_enforced_alone(settings):
    base = settings()
    digest = evidence.settings_digest(base, base.clusters[0])
    quiet = settings(log={"level": "debug"}, panorama={"hosts": ["127.0.0.2"], "apiKeyFile": base_key(base)})
    assert evidence.settings_digest(quiet, quiet.clusters[0]) == digest
    other = settings(zones={"default": "elsewhere"})
    assert evidence.settings_digest(other, other.clusters[0]) != digest
    assert evidence.settings_digest(base, base.clusters[1]) != digest


def test_a_sealed_day_goes_to_every_sink_of_its_own_cluster(settings, monkeypatch):
    terms = []
    monkeypatch.setattr(evidence, "keeping", lambda _, wanted: terms.append(wanted))

    async def scenario():
        made = tuple(works(settings(), run_here))
        sinks = [RecordingSink() for _ in made]
        for work, sink in zip(made, sinks, strict=True):
            work.alerts.sinks = (sink,)
        evidence.evidence_kept(settings(), made)
        await terms[0].sealed("test", EvidenceCheckpoint("2026-03-01", "c" * 64))
        for work in made:
            await work.close()
        return [sink.checkpoints for sink in sinks]

    assert asyncio.run(scenario()) == [[], [EvidenceCheckpoint("2026-03-01", "c" * 64)]]


def base_key(base):
    return str(base.panorama.api_key_file)


def test_subjects_of_the_tier_are_said_by_what_the_sync_left(settings):
    async def scenario():
        (work, _) = made = tuple(works(settings(), run_here))
        evidence.evidence_kept(settings(), made)
        tier = {"metadata": {"name": "panorama"}, "spec": {"revision": 7, "digest": "d" * 64}}
        work.sync._left = type("Left", (), {"tier": tier})()
        found = work.alerts.sinks[-1].sight.tier_and_rules()
        for each in made:
            await each.close()
        return found

    found = asyncio.run(scenario())
    assert json.loads(found[IntervalKind.TIER, "panorama"]) == {"revision": 7, "digest": "d" * 64}
