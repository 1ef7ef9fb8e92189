"""`history`, `show`, `diff`, `verify-chain` as a user types them, on a history that a bridge has published."""

import asyncio
import json

import pytest
import yaml

from bridge.tier.cluster import TierApi
from bridge.tier.plan import Part
from mocks.kubernetes import KubernetesServer
from tests.bridge.running import CRDS, access, hang_up, made
from tests.bridge.world import FakeManager, rule
from zones.kube.client import ApiServer

OTHER = rule("a", from_zones=frozenset({"mail"}))
TO_DB = rule("web to db", from_zones=frozenset({"web"}), to_zones=frozenset({"db"}))


def published(server, *configurations):
    """One revision for each of them."""

    async def process():
        manager = FakeManager(*configurations[0])
        work = made(server.kubeconfig, manager, "panorama", watched=False)
        try:
            await work.sync.once()
            for rules in configurations[1:]:
                manager.commit(*rules)
                await work.sync.once()
        finally:
            await work.close()
            await hang_up()

    asyncio.run(process())


def delete(server, part):
    """This object, or the one part of the Tier."""

    async def process():
        cluster = TierApi(ApiServer(access(server.kubeconfig)))
        try:
            (chunk,) = (await cluster.tier("panorama"))["spec"]["policyChunks"]
            await cluster.delete(part or Part("PolicyChunk", chunk))
        finally:
            await cluster.close()
            await hang_up()

    asyncio.run(process())


@pytest.fixture(scope="module")
def kubernetes():
    with KubernetesServer() as server:
        server.install([CRDS])
        published(server, [OTHER], [OTHER, TO_DB], [OTHER])
        yield server


@pytest.fixture
def command(run, kubernetes):
    def asked(*words):
        return run(*words, "--kubeconfig", kubernetes.kubeconfig)

    return asked


def test_history_says_who_when_and_why(command):
    code, out, err = command("history")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert head.split() == ["REVISION", "RECORDED", "CAUSE", "ADMINISTRATOR", "OPENED", "CLOSED", "COMMIT"]
    assert [row.split()[0] for row in rows] == ["3*", "2", "1"]
    assert rows[0].split()[2:4] == ["commit", "alice"]
    assert rows[0].endswith("job 3: change 3")
    value = json.loads(command("history", "-o", "json")[1])
    assert value["current"] == 3
    assert [(each["revision"], each["in_force"], each["replaces"]) for each in value["revisions"]] == [
        (1, True, 0),
        (2, True, 1),
        (3, True, 2),
    ]
    assert all("content" not in each for each in value["revisions"])


def test_show_has_the_record_and_its_rules(command):
    code, out, _ = command("show", "2")
    assert code == 0
    assert "commit:       job 2 (Commit) by alice" in out
    assert [line.split("  ")[0] for line in out.splitlines()[-4:]] == [
        "a",
        "web to db",
        "intrazone-default",
        "interzone-default",
    ]
    value = json.loads(command("show", "2", "-o", "json")[1])
    assert [entry["rule"]["name"] for entry in value["entries"]][1] == "web to db"
    assert value["digest"] == json.loads(command("history", "-o", "json")[1])["revisions"][1]["digest"]


RAILS = "from,db,mail\nweb,never,never\nmail,tcp/25,\n"


@pytest.fixture
def rails(tmp_path):
    path = tmp_path / "rails.csv"
    path.write_text(RAILS)
    return path


def test_show_says_which_guard_rails_a_revision_breaks_and_since_when(command, rails):
    code, out, err = command("show", "2", "--guardrails", rails)
    assert (code, err) == (0, "")
    said = out[out.index("Guard rails:") :].splitlines()
    assert said[0] == "Guard rails: 2 of 3 are broken"
    # What is left of a guard rail with an exception is several sets of flows.
    since = {line.split("  ")[0]: line.rsplit("  ", 1)[1] for line in said[2:]}
    assert since == {"web to db": "NEW", "mail to db": "before, in 1"}
    value = json.loads(command("show", "2", "--guardrails", rails, "-o", "json")[1])
    assert (value["guardrails"]["judged"], value["guardrails"]["broken"]) == (3, 2)
    existing = {each["rule"]["name"]: each["existing"] for each in value["guardrails"]["violations"]}
    assert existing == {"web to db": False, "a": True}
    assert value["revision"] == 2
    assert "guardrails" not in json.loads(command("show", "2", "-o", "json")[1])


def test_show_judges_by_the_guard_rails_of_the_settings(command, kubernetes, tmp_path):
    settings = tmp_path / "settings.yaml"
    cluster = {"name": "prod", "deviceGroup": "dg", "kubeconfig": str(kubernetes.kubeconfig)}
    rail = {"from": "web", "to": "db", "allow": "never"}
    settings.write_text(yaml.safe_dump({"clusters": [cluster], "guardrails": [rail]}))
    assert "Guard rails: 1 of 1 is broken" in command("show", "2", "-c", settings)[1]
    assert "Guard rails: none of 1 is broken" in command("show", "3", "-c", settings)[1]


def test_where_the_revision_before_is_gone_what_was_so_before_is_not_claimed(run, rails):
    with KubernetesServer() as server:
        server.install([CRDS])
        published(server, [OTHER], [OTHER, TO_DB], [OTHER])
        delete(server, Part("Revision", "panorama-1"))
        asked = ("show", "2", "--guardrails", rails, "--kubeconfig", server.kubeconfig)
        code, out, _ = run(*asked)
        assert code == 0
        assert "Revision 1, which it replaced, can't be read" in out
        rows = out[out.index("GUARD RAIL") :].splitlines()[1:]
        assert {line.rsplit("  ", 1)[1] for line in rows} == {"not known"}
        violations = json.loads(run(*asked, "-o", "json")[1])["guardrails"]["violations"]
        assert {each["existing"] for each in violations} == {None}


def test_show_finds_what_was_in_force_at_an_instant(command):
    assert json.loads(command("show", "--at", "2100-01-01T00:00:00Z", "-o", "json")[1])["revision"] == 3
    code, _, err = command("show", "--at", "2020-01-01T00:00:00Z")
    assert (code, "no record says what was in force" in err) == (2, True)


def test_diff_reads_like_a_preview(command):
    code, out, _ = command("diff", "1", "2")
    assert code == 0
    assert out.startswith("1 rules change")
    assert "web to db" in out
    value = json.loads(command("diff", "1", "2", "-o", "json")[1])
    assert [change["name"] for change in value["rules"]] == ["web to db"]
    assert "No flow changes" in command("diff", "1", "3")[1]


def test_rollback_says_where_the_way_back_is_and_what_it_would_change(command):
    code, out, err = command("rollback", "2")
    assert code == 2
    assert "Going back to revision 2" in out
    assert "web to db" in out
    assert "The way back is Panorama" in err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("show", "9"), "there is no revision 9: kept are some of 1 to 3"),
        (("diff", "1", "9"), "there is no revision 9"),
        (("show",), "either a revision or --at TIME"),
        (("show", "1", "--at", "2026-01-01T00:00:00Z"), "either a revision or --at TIME"),
        (("verify-chain", "--expect", "1=abc"), "write REVISION=CHAIN"),
        (("show", "--at", "yesterday"), "yesterday"),
    ],
)
def test_bad_input_says_what_to_give(command, words, says):
    code, _, err = command(*words)
    assert code == 2
    assert says in err


def test_verify_chain_accepts_what_was_recorded_and_what_the_siem_has_of_it(command):
    code, out, _ = command("verify-chain")
    assert code == 0
    assert out.startswith("Whole: 3 revisions (1 to 3)")
    chains = {each["revision"]: each["chain"] for each in json.loads(command("history", "-o", "json")[1])["revisions"]}
    assert command("verify-chain", "--expect", f"2={chains[2]}")[0] == 0
    code, out, _ = command("verify-chain", "--expect", f"2={chains[3]}")
    assert (code, "revision 2: a checkpoint has another chain digest" in out) == (1, True)
    assert json.loads(command("verify-chain", "-o", "json")[1])["whole"] is True


def test_verify_chain_names_a_record_that_was_left_out_and_a_part_that_is_gone(run):
    with KubernetesServer() as server:
        server.install([CRDS])
        empty = run("verify-chain", "--kubeconfig", server.kubeconfig)
        assert (empty[0], "Nothing is recorded" in empty[1]) == (1, True)
        published(server, [OTHER], [OTHER, TO_DB], [OTHER])
        delete(server, Part("Revision", "panorama-2"))
        code, out, _ = run("verify-chain", "--kubeconfig", server.kubeconfig)
        assert code == 1
        assert "BROKEN, first at revision 3: a gap: it follows revision 2, and revision 1 is there" in out.splitlines()
        delete(server, None)
        code, out, _ = run("verify-chain", "--kubeconfig", server.kubeconfig, "-o", "json")
        assert code == 1
        assert any("is missing" in each["what"] for each in json.loads(out)["breaks"])
