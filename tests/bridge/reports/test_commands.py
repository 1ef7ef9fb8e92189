"""`report` and `review` as a user types them: a cluster with revisions, a database that a recorder has filled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
import zipfile
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
import yaml
from sqlalchemy import text

from bridge.alerts import Alerts
from bridge.evidence.database import Database
from bridge.evidence.store import micros
from bridge.history.copies import RevisionCopies
from bridge.history.followup import FollowUp
from bridge.history.keeper import History
from bridge.history.ledger import Retention
from bridge.intervals.fold import IntervalEvent, IntervalKind
from bridge.intervals.seals import DAY, Seals, date_text
from bridge.intervals.store import IntervalStore
from bridge.reports.model import moment_text
from bridge.settings.file import Purpose, load
from bridge.tier.cluster import TierApi
from mocks.kubernetes import KubernetesServer
from tests.bridge.history.test_commands import OTHER, TO_DB, delete, published
from tests.bridge.running import CRDS, access, hang_up
from zones import canonical
from zones.kube.client import ApiServer

HOUR = 3600 * 1_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two revisions; of the last hour, what a bridge has seen up to now."""
    folder = tmp_path_factory.mktemp("site")
    with KubernetesServer() as server:
        server.install([CRDS])
        published(server, [OTHER], [OTHER, TO_DB])
        now = micros(datetime.now(UTC).replace(microsecond=0)) + 2_000_000  # the records are of this second
        database = Database(f"sqlite:///{folder / 'evidence.db'}")
        database.migrate()
        store = IntervalStore(database)
        begin = now - HOUR
        store.resume("c1", begin)
        events = [
            IntervalEvent(begin, IntervalKind.WORKLOAD, "shop/db", canonical.text({"zones": ["db"]})),
            IntervalEvent(begin, IntervalKind.NODE, "n1", canonical.text({"mode": "enforce", "revision": 2})),
            IntervalEvent(
                begin,
                IntervalKind.RULE,
                "uuid-web to db",
                canonical.text({"description": "orders", "tags": ["ticket:7"]}),
            ),
        ]
        for at in range(begin, now, 150_000_000):  # one who looks all the time leaves no gap
            store.record("c1", events if at == begin else [], at)
        store.record("c1", [], now)
        database.close()
        settings = folder / "zonebridge.yaml"
        cluster = {"name": "c1", "deviceGroup": "dg", "kubeconfig": str(server.kubeconfig)}
        url = f"sqlite:///{folder / 'evidence.db'}"
        settings.write_text(yaml.safe_dump({"clusters": [cluster], "evidence": {"url": url}}))
        yield settings, now


@pytest.fixture
def command(run, site):
    def asked(word, *words):
        return run(word, "-c", str(site[0]), *words)

    return asked


@pytest.fixture
def at(site):
    """The second of the last look, which may lie a moment ahead."""
    return moment_text(site[1])


def test_a_report_at_an_instant_has_rules_reasons_and_who_changed_them(command, at):
    code, out, err = wait_for(command, "report", "--at", at, "--scope", "zone=db", "-o", "json")
    assert (code, err) == (0, "")
    value = json.loads(out)
    assert (value["cluster"], value["zones"], value["revision"], value["doubts"]) == ("c1", ["db"], 2, [])
    (rule, *_) = value["sections"]["rules"]["rows"][1:]
    assert (rule["rule"], rule["justification"], rule["tickets"]) == ("web to db", "orders", "ticket:7")
    (change,) = value["sections"]["changes"]["rows"]
    assert (change["revision"], change["administrator"]) == ("2", "alice")
    assert [row["workload"] for row in value["sections"]["inventory"]["rows"]] == ["shop/db"]
    assert command("report", "--at", at, "--scope", "zone=db", "-o", "json")[1] == out


def wait_for(command, *words):
    """The instant may lie a moment ahead."""
    for _ in range(100):
        code, out, err = command(*words)
        if "to come" not in err:
            break
    return code, out, err


def test_a_bundle_is_the_same_twice_and_says_how_to_make_it(command, site, tmp_path):
    begin, end = (moment_text(site[1] - each * HOUR) for each in (1, 0.5))
    made = []
    for name in ("one.zip", "two.zip"):
        words = ("report", "--from", begin, "--to", end, "-o", "bundle", "--write", str(tmp_path / name))
        code, out, _ = command(*words)
        assert (code, out) == (1, "")  # the revisions are younger: the rules of then are not known
        made.append((tmp_path / name).read_bytes())
    assert made[0] == made[1]
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        manifest = json.loads(archive.read("manifest.json"))
        report = json.loads(archive.read("report.json"))
        for name, digest in manifest["files"].items():
            assert hashlib.sha256(archive.read(name)).hexdigest() == digest
    assert manifest["command"].startswith("zonebridge report -c zonebridge.yaml --cluster c1 --from ")
    assert "No record says which revision was in force then" in report["doubts"][0]


def test_each_section_is_a_csv(command, site):
    begin, end = (moment_text(site[1] - each * HOUR) for each in (1, 0.5))
    code, out, _ = command("report", "--from", begin, "--to", end, "-o", "csv", "--section", "enforcement")
    assert code == 1
    assert out.splitlines()[0] == "node,enforced,observed,neither,mode,zones,revision,why"
    assert out.splitlines()[1].startswith("n1,0:30:00,0:00:00,")
    assert command("report", "--from", begin, "--to", end)[1].count("Enforcement of each node") == 1
    assert "<html" in command("report", "--from", begin, "--to", end, "-o", "html")[1]


def test_a_review_is_recorded_with_what_was_seen_and_is_in_date_then(command):
    code, out, _ = command("review", "--scope", "zone=db")
    assert (code, out) == (1, "No review of this scope is recorded\n")
    words = ("review", "--record", "--scope", "zone=db")
    assert "--reviewer NAME" in command(*words)[2]
    code, out, err = command(*words, "--reviewer", "Ann", "--note", "in order", "-o", "json")
    assert (code, err) == (0, "")
    (recorded,) = json.loads(out)["reviews"]
    assert (recorded["reviewer"], recorded["zones"], recorded["revision"]) == ("Ann", ["db"], 2)
    again = wait_for(command, "report", "--at", recorded["at"], "--scope", "zone=db", "-o", "json")[1]
    assert hashlib.sha256(again.encode()).hexdigest() == recorded["digest"]
    assert command("review", "--scope", "zone=cde")[0] == 1  # of another zone there is none


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("report", "--at", "2026-01-01T00:00:00Z", "-o", "csv"), "needs it"),
        (("report", "--at", "2026-01-01T00:00:00Z", "-o", "bundle"), "--write FILE"),
        (("report", "--at", "2026-01-01T00:00:00Z", "--cluster", "other"), "the settings have c1"),
        (("report", "--at", "yesterday"), "RFC 3339"),
        (("review", "--reviewer", "Ann"), "go with --record"),
        (("review", "--record", "--reviewer", "Ann", "--next", "soon"), "--next"),
    ],
    ids=range(6),
)
def test_bad_input_is_said_and_ends_with_two(command, words, why):
    code, out, err = command(*words)
    assert (code, out) == (2, "")
    assert why in err


def test_evidence_of_days_that_are_over_is_verified(command, site, tmp_path):
    code, out, err = command("verify-evidence")
    assert (code, out, err) == (1, "Nothing is sealed yet: a day is, an hour after it is over\n", "")
    database = Database(load(site[0], {}, Purpose.OFFLINE).evidence.url)
    last = Seals(database).seal("c1", site[1] + 2 * DAY)
    code, out, err = command("verify-evidence", "--expect", f"{date_text(last.day)}={last.chain}")
    assert (code, err) == (0, "")
    assert out.startswith("Whole: ")
    assert out.rstrip().endswith(last.chain)
    with database.writing("tampering") as connection:
        connection.execute(text("DELETE FROM watch"))
    database.close()
    code, out, _ = command("verify-evidence", "-o", "json")
    assert code == 1
    assert not json.loads(out)["whole"]
    assert "what is recorded isn't what was sealed" in json.loads(out)["breaks"][0]
    assert command("verify-evidence", "--expect", "yesterday")[0] == 2


@pytest.fixture(scope="module")
def past(tmp_path_factory):
    """A cluster that has let go of the first of its three revisions, and a database that has copied them all."""
    folder = tmp_path_factory.mktemp("past")
    with KubernetesServer() as server:
        server.install([CRDS])
        published(server, [OTHER])
        time.sleep(1.1)  # records are of a second: the first is to be in force for one of its own
        published(server, [OTHER, TO_DB], [OTHER])
        url = f"sqlite:///{folder / 'evidence.db'}"
        settings = folder / "zonebridge.yaml"
        cluster = {"name": "c1", "deviceGroup": "dg", "kubeconfig": str(server.kubeconfig)}
        settings.write_text(yaml.safe_dump({"clusters": [cluster], "evidence": {"url": url}}))
        asyncio.run(_copied_and_let_go(server, url))
        yield settings, url


async def _copied_and_let_go(server, url):
    database, cluster = Database(url), TierApi(ApiServer(access(server.kubeconfig)))
    try:
        database.migrate()
        follow = FollowUp(cluster, "panorama", History(cluster, "panorama"), Alerts("c1", "panorama", ()))
        follow.copies = RevisionCopies(database, "c1", "panorama")
        await follow.look()
        history = History(cluster, "panorama", Retention(keep=2))
        tier = await cluster.tier("panorama")
        await history.load(tier, ours=True)
        await history.let_go(tier)
    finally:
        await cluster.close()
        database.close()
        await hang_up()


def test_what_the_cluster_let_go_of_is_in_history_show_diff_and_report(run, past):
    settings = ("-c", str(past[0]))
    kubeconfig = ("--kubeconfig", yaml.safe_load(past[0].read_text())["clusters"][0]["kubeconfig"])
    listed = json.loads(run("history", *kubeconfig, "-o", "json")[1])["revisions"]
    assert [each["revision"] for each in listed] == [2, 3]
    assert "no revision 1" in run("show", "1", *kubeconfig)[2]
    listed = json.loads(run("history", *settings, "-o", "json")[1])["revisions"]
    assert [(each["revision"], each["in_force"]) for each in listed] == [(1, True), (2, True), (3, True)]
    assert len(json.loads(run("show", "1", *settings, "-o", "json")[1])["entries"]) == 3
    assert "web to db" in run("diff", "1", "2", *settings)[1]
    first, second = listed[0]["recorded"], listed[1]["recorded"]
    assert first < second
    assert json.loads(run("show", "--at", first, *settings, "-o", "json")[1])["revision"] == 1
    value = json.loads(run("report", *settings, "--at", first, "-o", "json")[1])
    assert value["revision"] == 1
    assert value["sections"]["rules"]["rows"][0]["rule"] == "a"
    assert not any("rules are not shown" in doubt for doubt in value["doubts"])


def test_a_changed_byte_of_a_copy_is_named_by_both_verifications(run, past):
    settings = ("-c", str(past[0]))
    code, out, err = run("verify-chain", *settings)
    assert (code, err) == (0, "")
    assert out.startswith("Whole: 3 revisions (1 to 3)")
    value = json.loads(run("verify-evidence", *settings, "-o", "json")[1])
    assert (value["breaks"], value["revisions"]["copied"], value["revisions"]["first"]) == ([], 3, 1)
    database = Database(past[1])
    with database.writing("tampering") as connection:
        packed = connection.execute(text("SELECT spec FROM revision WHERE number = 1")).scalar()
        changed = packed[:40] + bytes([packed[40] ^ 1]) + packed[41:]
        connection.execute(text("UPDATE revision SET spec = :spec WHERE number = 1"), {"spec": changed})
    database.close()
    for command in ("verify-chain", "verify-evidence"):
        code, out, _ = run(command, *settings)
        assert code == 1
        assert "first revision 1: " in out.replace("first at", "first")
    code, _, err = run("show", "1", *settings)
    assert (code, "verify-chain" in err) == (1, True)


def test_a_part_that_is_missing_in_the_cluster_is_named_and_read_from_its_copy(run, past):
    kubeconfig = yaml.safe_load(past[0].read_text())["clusters"][0]["kubeconfig"]
    delete(SimpleNamespace(kubeconfig=kubeconfig), None)
    code, out, _ = run("verify-chain", "-c", str(past[0]))
    assert (code, "is missing" in out) == (1, True)
    assert run("show", "3", "--kubeconfig", kubeconfig)[0] == 1
    assert run("show", "3", "-c", str(past[0]))[0] == 0
