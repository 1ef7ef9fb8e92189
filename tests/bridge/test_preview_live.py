"""A preview of a live Panorama's candidate, for the pods of a live cluster."""

import json
from xml.etree.ElementTree import fromstring

import pytest
import yaml

from bridge.managers.panorama.session.pending import Pending
from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.panorama_xml import config_text, rule, rulebase

GROUP = "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='dg']"
RULES = f"{GROUP}/pre-rulebase/security/rules"
WEB = rule("web to db", from_="web", to="db")
CONFIG = config_text(groups={"dg": rulebase("pre", WEB), "other": rulebase("pre", WEB)})


@pytest.fixture
def installed(tmp_path):
    """A Panorama, a cluster with two pods, and the settings that join them."""
    users = {"reader": "secret", "anna": "secret", "bert": "secret"}
    with (
        PanoramaServer(Panorama(CONFIG, users=users, commit_seconds=0)) as panorama,
        KubernetesServer() as cluster,
    ):
        metadata = {"name": "shop", "annotations": {"zonebridge.io/zones": "web,db"}}
        cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        for name, zone, address in (("cart", "web", "10.1.0.10"), ("orders", "db", "10.1.0.11")):
            labels = {"zonebridge.io/zone": zone}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": labels}}
            cluster.create(pod | {"spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}})
            cluster.set_status(pod | {"status": {"phase": "Running", "podIPs": [{"ip": address}]}})
        (tmp_path / "password").write_text("secret\n")
        settings = tmp_path / "zonebridge.yaml"
        panorama_settings = {
            "hosts": [f"127.0.0.1:{panorama.port}"],
            "username": "reader",
            "passwordFile": str(tmp_path / "password"),
            "caFile": str(panorama.ca_file),
        }
        clusters = [{"name": "c1", "deviceGroup": "dg", "kubeconfig": str(cluster.kubeconfig)}]
        settings.write_text(yaml.safe_dump({"panorama": panorama_settings, "clusters": clusters}))
        yield panorama.panorama, settings


def test_a_candidate_is_previewed_with_who_edits_it_and_the_pods_that_are_there(run, installed):
    panorama, settings = installed
    code, out, err = run("preview", "-c", settings, "-o", "json")
    quiet = json.loads(out)
    assert (code, err, quiet["changes"], quiet["candidate"]["admins"]) == (0, "", [], [])
    panorama.delete(f"{RULES}/entry[@name='web to db']", "anna")
    panorama.locks.add("commit", "bert", "not now")
    code, out, _ = run("preview", "-c", settings, "-o", "json", "--fail-on", "any-denied")
    seen = json.loads(out)
    assert (code, [each["change"] for each in seen["rules"]]) == (1, ["removed"])
    assert seen["candidate"]["admins"] == [
        {"admin": "anna", "changes": 1, "locks": []},
        {"admin": "bert", "changes": 0, "locks": ["commit"]},
    ]
    (change,) = seen["workloads"]
    assert (change["sources"][0]["workload"], change["destinations"][0]["workload"]) == ("cart", "orders")
    assert seen["running"]["version"] != seen["candidate"]["version"]
    assert "Edited by anna: 1 uncommitted changes" in run("preview", "-c", settings)[1]
    panorama.locks.remove("commit", "bert")
    panorama.commit("anna")
    panorama.finish_jobs()
    code, out, _ = run("preview", "-c", settings, "-o", "json")
    assert (code, json.loads(out)["changes"]) == (0, [])


def test_an_edit_of_another_device_group_changes_nothing_here(run, installed):
    panorama, settings = installed
    panorama.delete(f"{RULES}/entry[@name='web to db']".replace("'dg'", "'other'"), "anna")
    code, out, _ = run("preview", "-c", settings)
    assert (code, out.splitlines()[0]) == (0, "No flow changes its verdict; no rules change")
    assert "Edited by anna" in out


def test_a_refused_candidate_is_the_headline_also_live(run, installed):
    panorama, settings = installed
    by_user = rule("no web", "deny", extra="<source-user><member>bob</member></source-user>")
    panorama.set(RULES, by_user, "anna")
    code, out, err = run("preview", "-c", settings)
    assert (code, out.startswith("WOULD BE REFUSED"), "would be refused" in err) == (1, True, True)


def test_a_list_of_pods_takes_the_clusters_place(run, installed, tmp_path):
    panorama, settings = installed
    panorama.delete(f"{RULES}/entry[@name='web to db']", "anna")
    (tmp_path / "pods").write_text("[]")
    _, out, _ = run("preview", "-c", settings, "-o", "json", "--pods", tmp_path / "pods")
    assert json.loads(out)["coverage"]["pods"] == 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["--cluster", "c9"], "is not in the settings, which have c1"),
        (["--running", "a.xml"], "--candidate and --device-group is missing"),
        (["--prefixes", "a.json"], "are for files"),
        (["--context", "x"], "goes with --kubeconfig"),
    ],
)
def test_options_that_do_not_fit_are_2(run, installed, arguments, what):
    _, settings = installed
    code, _, err = run("preview", "-c", settings, *arguments)
    assert (code, what in err) == (2, True), err


def test_without_settings_and_files_it_says_what_is_missing(run):
    code, _, err = run("preview")
    assert code == 2
    assert "panorama" in err


def test_an_administrator_that_may_not_ask_who_edits_still_has_a_preview():
    """Only the names are missing."""
    assert Pending(None, None, None).editors == ()
    locks = fromstring("<result><config-locks><entry name='anna'/><entry/></config-locks></result>")
    assert [each.locks for each in Pending(None, locks, locks).editors] == [("config", "commit")]
