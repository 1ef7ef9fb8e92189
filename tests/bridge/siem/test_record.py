"""Every kind of alert of the bridge as a record: its name and severity are those of the documentation."""

import re
from pathlib import Path

import pytest

from bridge.alerts import Checkpoint, EvidenceCheckpoint, TierAlert
from bridge.nodes.enforcement import Fault, Late, about_json, text
from bridge.siem import RecordStamp
from zones.siem.alerts import OF_THE_BRIDGE, AlertKind, Severity
from zones.siem.values import compact

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[3] / "docs" / "records.md"


def documented():
    section = DOCS.read_text(encoding="utf-8").split("The bridge tells of")[1]
    return dict(re.findall(r"^\| `([a-z-]+)` \| (low|medium|high|critical)\b", section, re.MULTILINE))


@pytest.mark.parametrize("kind", sorted(OF_THE_BRIDGE - {AlertKind.LOG_LOSS}))
def test_a_kind_is_documented_with_its_severity(kind):
    assert documented()[kind] == TierAlert(kind, "c1", "panorama", "why").level


def test_no_other_is_documented():
    assert documented().keys() == OF_THE_BRIDGE


def test_nodes_out_of_sync_are_named():
    late = [Late("n2", Fault.BEHIND, 6)]
    alert = TierAlert(AlertKind.NODE_OUT_OF_SYNC, "c1", "panorama", text(late, 7), about=about_json(late, 7))
    record = RecordStamp("bridge", 1).of(alert, 10.0, 5.0)
    assert (record["alert"], record["severity"], record["state"]) == ("node-out-of-sync", "high", "raised")
    assert record["message"] == "revision 7 is not in force everywhere: n2 is at revision 6"
    assert record["about"]["nodes"] == [{"node": "n2", "fault": "behind", "revision": 6}]


def test_records_are_octet_by_octet_what_receivers_know():
    records = RecordStamp("bridge-0", 1795260148123456, "https://site.example/{cluster}/{tier}/{revision}")
    start = 1795260148.0

    def alert(kind, tier="panorama", **more):
        return TierAlert(kind, "prod", tier, 'rule "a" \\ says ü\n', **more)

    kinds = [
        AlertKind.REVISION_REFUSED,
        AlertKind.MANAGER_REFUSED,
        AlertKind.SYNC_STALE,
        AlertKind.CLUSTER_UNREACHABLE,
        AlertKind.REGISTRATION_FAILED,
        AlertKind.TIER_TAMPERED,
        AlertKind.TIER_DAMAGED,
        AlertKind.NODE_OUT_OF_SYNC,
        AlertKind.NODE_OVERRULED,
        AlertKind.HISTORY_TAMPERED,
        AlertKind.CANDIDATE_CHANGES,
    ]
    about = {"managers": ["kubectl"], "n": 1}
    fought = alert(AlertKind.TIER_TAMPERED, "other", severity=Severity.CRITICAL, about=about, revision=7)
    lines = [
        *(records.of(alert(kind), start + 5.25, start) for kind in kinds),
        records.of(fought, start + 0.1234567, start - 3600),
        records.of(alert(AlertKind.CANDIDATE_CHANGES, severity=Severity.LOW, revision=7), start, start),
        records.of(alert(AlertKind.SYNC_STALE, over=True), start, start),
        records.checkpoint("c2", "panorama", Checkpoint(7, "d", "c", 3, 2, 1), start),
        records.loss("prod", "splunk", 3, start, start - 1),
    ]
    assert [compact(each) for each in lines] == (GOLDEN / "records.jsonl").read_text("utf-8").splitlines()


def test_a_sealed_day_is_a_checkpoint_too():
    stamp = RecordStamp("bridge-0", 5)
    record = stamp.checkpoint("c2", "panorama", EvidenceCheckpoint("2026-03-01", "c" * 64), 1_800_000_000.0)
    assert (record["kind"], record["severity"], record["tier"]) == ("checkpoint", "informational", "panorama")
    assert (record["day"], record["chain"]) == ("2026-03-01", "c" * 64)
    assert record["message"] == f"the evidence up to 2026-03-01 is sealed; its chain digest is {'c' * 64}"
