"""The commands as a user types them: what they print, where, and their exit codes."""

import json

import pytest
import structlog
import yaml

from mocks.kubernetes import KubernetesServer
from mocks.panorama import Panorama, PanoramaServer
from tests.bridge.test_cluster import CRDS
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section
from zones.tiers import native

BY_USER = "<source-user><member>bob</member></source-user>"
GOOD = config_text(
    shared=section("external-list", entry("bad guys", "<type><ip><url>https://example.com/list</url></ip></type>")),
    groups={
        "K8s prod": rulebase(
            "pre",
            rule("off", extra="<disabled>yes</disabled>"),
            rule("block", "deny", source=["bad guys"], extra=members("tag", "k8s-ignore")),
            rule("web to db", from_="web", to="db", application="orders", service="application-default"),
            rule("by user", from_="web", to="db", extra=BY_USER),
            rule("no db", "drop", to="db"),
        ),
        "K8s test": rulebase("pre", rule("deny by user", "deny", extra=BY_USER)),
        "empty": "",
    },
)
EXPLAIN = ["explain", "--from-zone", "web", "--to-zone", "db", "--protocol", "tcp", "--port", "5432"]


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "running-config.xml"
    path.write_text(GOOD)
    return path


def offline(config, command, *more, group="K8s prod"):
    return [*command, "--panorama-config", config, "--device-group", group, *more]


def test_compile_prints_the_tiers_objects(run, config):
    code, out, err = run(*offline(config, ["compile"]))
    assert (code, err) == (0, "")
    *parts, tier = yaml.safe_load_all(out)
    policy = native.parse(tier, {part["metadata"]["name"]: part for part in parts})
    assert [each.origin.name for each in policy.entries][-1] == "interzone-default"
    assert (tier["kind"], tier["spec"]["revision"]) == ("Tier", 1)
    assert tier["spec"]["source"]["deviceGroup"] == "K8s prod"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("-o", "csv", "--group-by", "reason"), "--group-by is of -o report, not of -o csv"),
        (("-o", "html", "--group-by", "reason"), "not of -o html"),
        (("-o", "json", "--only", "attention"), "--only is of -o report, csv and html, not of -o json"),
        (("--only", "attention"), "not of -o yaml"),
    ],
)
def test_an_option_that_would_do_nothing_is_a_mistake(run, config, options, words):
    code, out, err = run(*offline(config, ["compile"], *options))
    assert (code, out) == (2, "")
    assert words in err


def test_compile_reports_every_rule(run, config):
    code, out, _ = run(*offline(config, ["compile", "-o", "report"]))
    assert code == 0
    verdict, _, head, *table = out.splitlines()
    assert verdict.startswith("7 rules of 'K8s prod': 3 enforced, 2 not applicable, 2 not enforced")
    assert head.split()[:2] == ["NO.", "RULE"]
    names = ["off", "block", "web to db", "by user", "no db", "intrazone-default", "interzone-default"]
    assert [line[5:].split("  ")[0] for line in table] == names
    assert [line[:5].strip() for line in table] == ["1", "2", "3", "4", "5", "1", "2"], "as Panorama numbers them"
    _, out, _ = run(*offline(config, ["compile", "-o", "report", "--only", "attention", "--group-by", "reason"]))
    assert "1 rule: a cluster can't know its user: bob" in out.splitlines()
    for shape, beginning in (("csv", "number,rule,uuid"), ("html", "<!doctype html>")):
        code, out, _ = run(*offline(config, ["compile", "-o", shape]))
        assert (code, out.startswith(beginning)) == (0, True)


def test_compile_as_json_is_report_and_objects(run, config):
    code, out, _ = run(*offline(config, ["compile", "-o", "json"]))
    found = json.loads(out)
    assert (code, found["refused"], found["summary"]["not_applicable"]) == (0, False, 2)
    assert [each["kind"] for each in found["objects"]] == ["PolicyChunk", "Tier"]


def test_a_refused_compile_is_1_with_the_reason_and_no_objects(run, config):
    code, out, err = run(*offline(config, ["compile"], group="K8s test"))
    assert (code, out) == (1, "")
    assert "'deny by user'" in err
    assert "bob" in err
    code, out, _ = run(*offline(config, ["compile", "-o", "report"], group="K8s test"))
    assert code == 1
    assert "refuses the revision" in out
    code, out, _ = run(*offline(config, ["compile", "-o", "json"], group="K8s test"))
    found = json.loads(out)
    assert (code, found["refused"], found["objects"]) == (1, True, [])


def test_settings_change_what_is_compiled(run, config, tmp_path):
    settings = tmp_path / "zonebridge.yaml"
    settings.write_text(
        "inexpressibleDeny: ignore\nclusters: [{name: c, deviceGroup: K8s test, inCluster: true, tier: mine}]\n"
    )
    code, out, _ = run(*offline(config, ["compile"], "-c", settings, group="K8s test"))
    assert code == 0
    assert list(yaml.safe_load_all(out))[-1]["metadata"]["name"] == "mine"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "No such file"),
        ("", "empty"),
        ("<config><devices>", "ends in the middle"),
        ("<html><body>Sign in</body></html>", "web page"),
        ("\x00\x01binary", "not well-formed"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><config/>', "DTD"),
    ],
)
def test_a_file_that_is_no_configuration_is_2_and_one_line(run, tmp_path, content, complaint):
    path = tmp_path / "what.xml"
    if content is not None:
        path.write_text(content)
    for command in (["compile"], EXPLAIN):
        code, out, err = run(*offline(path, command))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert complaint in err


def test_an_unknown_device_group_is_2_and_names_those_that_come_near(run, config):
    code, _, err = run(*offline(config, ["compile"], group="K8s prd"))
    assert code == 2
    assert "'K8s prod'" in err


def test_explain_says_which_rule_and_what_was_passed_over(run, config):
    code, out, _ = run(*offline(config, EXPLAIN, "--app", "frontend", "-o", "json"))
    found = json.loads(out)
    assert (code, found["verdict"], found["rule"]["name"]) == (0, "deny", "no db")
    assert [passed["name"] for passed in found["trace"]] == ["off", "block", "web to db", "by user"]
    code, out, _ = run(*offline(config, EXPLAIN, "--app", "frontend"))
    assert out.splitlines()[-1] == "deny  by 'no db' (pre of K8s prod)"


def test_explain_on_a_refused_configuration_is_1_and_says_why(run, config):
    code, out, err = run(*offline(config, EXPLAIN, group="K8s test"))
    assert (code, out) == (1, "")
    assert "'deny by user'" in err


def test_explain_of_an_empty_rulebase_answers_from_the_defaults(run, config):
    code, out, _ = run(*offline(config, EXPLAIN, "-o", "json", group="empty"))
    assert (code, json.loads(out)["rule"]["name"]) == (0, "interzone-default")


def test_feeds_come_from_a_file(run, tmp_path):
    path = tmp_path / "config.xml"
    path.write_text(
        config_text(
            shared=section("external-list", entry("bad", "<type><ip><url>https://example.com</url></ip></type>")),
            groups={"dg": rulebase("pre", rule("block", "deny", source=["bad"]), rule("rest"))},
        )
    )
    question = offline(path, EXPLAIN, "-o", "json", group="dg")
    code, _, err = run(*question, "--source", "192.0.2.1")
    assert code == 1
    assert "bad" in err
    for name, text in (("p.json", '{"bad": ["192.0.2.0/24"]}'), ("p.yaml", "bad: [192.0.2.0/24]")):
        (tmp_path / name).write_text(text)
        for source, verdict in (("192.0.2.1", "deny"), ("192.0.3.1", "allow")):
            code, out, _ = run(*question, "--source", source, "--prefixes", tmp_path / name)
            assert (code, json.loads(out)["verdict"]) == (0, verdict)
        code, _, err = run(*question, "--prefixes", tmp_path / name)
        assert code == 1
        assert "--source" in err


@pytest.mark.parametrize("text", ["[]", "bad: 10.0.0.0/8", "bad: [nonsense]", "{", "\x00"])
def test_wrong_prefixes_are_2(run, config, tmp_path, text):
    path = tmp_path / "prefixes.yaml"
    path.write_text(text)
    code, _, err = run(*offline(config, EXPLAIN, "--prefixes", path))
    assert (code, err.count("\n")) == (2, 1)


def test_an_address_of_services_is_refused_by_its_own_rule(run, config):
    question = offline(config, EXPLAIN, "-o", "json", "--destination", "10.96.0.77", "--source", "10.1.0.1")
    code, out, _ = run(*question, "--service-network", "10.96.0.0/12", "--service-network", "fd00:96::/112")
    assert (code, json.loads(out)["rule"]["name"]) == (0, "infrastructure/untranslated-service")
    code, _, err = run(*question, "--service-network", "10.96")
    assert code == 2
    assert "--service-network" in err


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "--protocol", "tcp"],
        ["explain", "pod/shop/web", "--protocol", "tcp"],
        ["explain", "web", "db", "--protocol", "tcp"],
        ["compile"],
        ["no-such-command"],
        ["sync", "-c", "/no/such/file"],
        ["status"],
    ],
)
def test_bad_input_is_2_without_a_traceback(run, arguments):
    code, out, err = run(*arguments)
    assert code == 2
    assert err
    assert "Traceback" not in err + out


@pytest.fixture
def installed(tmp_path):
    """A Panorama, a cluster, and the settings that join them."""
    with (
        PanoramaServer(Panorama(GOOD, users={"reader": "secret"}, commit_seconds=0)) as panorama,
        KubernetesServer() as cluster,
    ):
        cluster.install([CRDS])
        password = tmp_path / "password"
        password.write_text("secret\n")
        settings = tmp_path / "zonebridge.yaml"
        settings.write_text(
            yaml.safe_dump(
                {
                    "panorama": {
                        "hosts": [f"127.0.0.1:{panorama.port}"],
                        "username": "reader",
                        "passwordFile": str(password),
                        "caFile": str(panorama.ca_file),
                    },
                    "clusters": [{"name": "c1", "deviceGroup": "K8s prod", "kubeconfig": str(cluster.kubeconfig)}],
                }
            )
        )
        yield panorama, cluster, settings


def test_sync_once_then_status_then_explain_between_pods(run, installed):
    _, cluster, settings = installed
    assert run("status", "-c", settings)[0] == 1, "nothing has been published yet"
    assert run("sync", "--once", "-c", settings)[0] == 0
    code, out, _ = run("status", "-c", settings, "-o", "json")
    (found,) = json.loads(out)["clusters"]
    assert (code, found["revision"], found["ready"]) == (0, 1, True)
    assert "c1" in run("status", "-c", settings)[1]
    metadata = {"name": "shop", "annotations": {"zonebridge.io/zones": "web,db"}}
    cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    for name, zone, address in (("web", "web", "10.0.0.1"), ("orders", "db", "10.0.0.2")):
        labels = {"zonebridge.io/zone": zone}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop", "labels": labels}}
        cluster.create(pod | {"spec": {"containers": [{"name": "c", "image": "i"}], "nodeName": "n1"}})
        cluster.set_status(pod | {"status": {"phase": "Running", "podIPs": [{"ip": address}]}})
    live = ["--protocol", "tcp", "--port", "5432", "--kubeconfig", cluster.kubeconfig, "-o", "json"]
    code, out, err = run("explain", "pod/shop/web", "pod/shop/orders", *live)
    assert (code, json.loads(out)["rule"]["name"]) == (0, "no db")
    spec = {"workload": {"namespace": "shop", "name": "orders"}, "reason": "r", "requestedBy": "ann"}
    held = {"apiVersion": "zonebridge.io/v1alpha1", "kind": "Quarantine", "metadata": {"name": "q"}}
    cluster.create(held | {"spec": spec | {"source": "person", "duration": "1h"}})
    code, out, err = run("explain", "pod/shop/orders", "pod/shop/orders", *live)
    assert json.loads(out)["rule"]["name"] == "infrastructure/quarantined"
    code, _, err = run("explain", "pod/shop/web", "pod/shop/nobody", *live)
    assert code == 2
    assert "no pod 'nobody'" in err


def test_sync_once_is_1_where_panorama_is_away_or_the_revision_is_refused(run, installed):
    panorama, _, settings = installed
    text = settings.read_text()
    settings.write_text(text.replace("K8s prod", "K8s test"))
    assert run("sync", "--once", "-c", settings)[0] == 1
    settings.write_text(text.replace("K8s prod", "gone"))
    assert run("sync", "--once", "-c", settings)[0] == 1
    settings.write_text(text.replace(f":{panorama.port}", ":1"))
    code, _, err = run("sync", "--once", "-c", settings)
    assert code == 1
    assert "127.0.0.1" in err


def test_many_flows_are_answered_line_by_line(run, config, tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("from-zone,to-zone,protocol,port,app\nweb,db,tcp,5432,frontend\nweb,web,tcp,1,frontend\n")
    asked = offline(config, ["explain", "--flows", path])
    code, out, err = run(*asked)
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert [(each["line"], each["verdict"], each["rule"]["name"]) for each in found] == [
        (2, "deny", "no db"), (3, "allow", "intrazone-default"),
    ]  # fmt: skip
    path.write_text("from-zone,to-zone,protocol,port,destination\nweb,outside,tcp,80,10.96.0.7\n")
    _, out, _ = run(*asked, "--service-network", "10.96.0.0/12")
    assert json.loads(out)["rule"]["name"] == "infrastructure/untranslated-service"
    path.write_text("from-zone,to-zone,protocol,port\nweb,db,tcp,http\n")
    assert run(*asked)[0] == 2
    assert run(*offline(config, ["explain", "--flows", tmp_path / "none"]))[0] == 2
    assert run(*offline(config, ["explain", "--flows", path], group="K8s test"))[0] == 1


def test_what_is_logged_on_the_way_is_not_in_what_a_command_answers(run, config, capsys):
    """A slow API server or Panorama is told while a program reads the answer."""
    code, out, _ = run(*offline(config, EXPLAIN, "--app", "frontend", "-o", "json"))
    structlog.get_logger().warning("no answer yet")
    printed = capsys.readouterr()
    assert (code, json.loads(out)["verdict"]) == (0, "deny")
    assert (printed.out, "no answer yet" in printed.err) == ("", True)
