"""The door against a Panorama that answers well, badly and not at all."""

import re
import socket
import threading
import urllib.request
from contextlib import ExitStack
from dataclasses import replace
from unittest.mock import patch

import pytest

from bridge.errors import ManagerAnswerError, ManagerRefusedError, ManagerUnreachableError, UnknownDeviceGroupError
from bridge.managers import Commit, Provenance
from bridge.managers.panorama import PanoramaAccess, PanoramaApi, PanoramaManager
from bridge.managers.panorama.rulebase.indexed_text import IndexedText
from bridge.managers.panorama.session.transport import AnswerLimits
from mocks.panorama import Panorama, PanoramaServer
from mocks.serving import Fault
from tests.panorama_xml import config_text, entry, members, rule, rulebase, section
from zones.net import AddressSet

RULES = (
    "/config/devices/entry[@name='localhost.localdomain']/device-group/entry[@name='dg']/pre-rulebase/security/rules"
)
CONFIG = config_text(
    shared=section("address", entry("a", "<ip-netmask>10.0.0.1</ip-netmask>")) + rulebase("pre", rule("shared rule")),
    groups={
        "top": rulebase("pre", rule("top rule", source="a")),
        "dg": rulebase("pre", rule("own rule", application=["dns", "no-such-app"])),
        "other": rulebase("pre", rule("not ours")),
    },
    parents={"dg": "top"},
    predefined=section("application", entry("dns", f"<default>{members('port', 'udp/5353')}</default>")),
)


@pytest.fixture
def panorama():
    with PanoramaServer(Panorama(CONFIG, users={"admin": "secret", "reader": "secret"}, commit_seconds=0)) as server:
        yield server


def access(*servers, **fields):
    usual = {"username": "reader", "password": lambda: "secret", "ca_file": servers[0].ca_file, "attempts": 2}
    hosts = tuple(f"127.0.0.1:{server.port}" for server in servers)
    return PanoramaAccess(hosts, **(usual | fields))


def manager(*servers, device_group="dg", **fields):
    return PanoramaManager(PanoramaApi(access(*servers, **fields)), device_group)


def test_the_running_rulebase_of_a_device_group_and_its_ancestors(panorama):
    found = manager(panorama).rulebase()
    assert [each.origin.name for each in found.rules] == ["shared rule", "top rule", "own rule"]
    assert found.rules[2].applications.members[0].ports[0].ports.spans == ((5353, 5353),)
    assert [each.name for each in found.rules[2].applications.unresolved] == ["no-such-app"]


def test_after_a_commit_only_what_differs_of_an_answer_is_parsed(panorama):
    ours = manager(panorama)
    ours.version()
    before = ours.rulebase()
    panorama.panorama.set(RULES, rule("new rule"))
    panorama.panorama.commit()
    with patch.object(IndexedText, "of", side_effect=IndexedText.of) as parsed_whole:
        after = ours.rulebase()
    assert [each.origin.name for each in after.rules] == [each.origin.name for each in before.rules] + ["new rule"]
    assert after == manager(panorama).rulebase()
    assert after.rules[0] is before.rules[0]
    assert not [call for call in parsed_whole.call_args_list if b"own rule" in call.args[0]]


def test_the_candidate_is_not_the_running_configuration(panorama):
    ours = manager(panorama)
    before = ours.version()
    panorama.panorama.set(RULES, rule("new rule"))
    assert [each.origin.name for each in ours.rulebase().rules][-1] == "own rule"
    panorama.panorama.commit()
    panorama.panorama.finish_jobs()
    assert ours.version() != before
    assert [each.origin.name for each in ours.rulebase().rules][-1] == "new rule"


def test_who_committed_what_is_said_as_panorama_says_it(panorama):
    ours = manager(panorama)
    panorama.panorama.set(RULES, rule("new rule"))
    panorama.panorama.commit("alice", "CHG0042: open it <now>")
    panorama.panorama.finish_jobs()
    ours.version()
    said = ours.provenance()
    assert (said.serial, said.software) == ("007051000012345", panorama.panorama.identity.sw_version)
    newest = said.commits[0]
    assert (newest.kind, newest.administrator, newest.description) == ("Commit", "alice", "CHG0042: open it <now>")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d", newest.enqueued)
    assert said.newest_job == newest.job > said.oldest_job == 1
    assert said.since(newest.job - 1) == ((newest,), "")
    panorama.panorama.commit("bob")
    panorama.panorama.finish_jobs()
    assert ours.provenance().commits == said.commits, "as of the version that was read"
    assert ours.version()
    assert [commit.administrator for commit in ours.provenance().since(newest.job)[0]] == ["bob"]


@pytest.mark.parametrize(
    ("since", "commits", "unknown"),
    [
        (7, [9, 8], ""),
        (9, [], ""),
        (None, [9], "isn't known"),
        (12, [], "began anew"),
        (3, [9, 8], "begins with 6: some since 3 may be missing"),
    ],
)
def test_what_a_list_of_jobs_does_not_say_is_unknown(since, commits, unknown):
    listed = tuple(Commit(job, "Commit", "alice", "", "") for job in (9, 8))
    after, why = Provenance(commits=listed, oldest_job=6).since(since)
    assert [commit.job for commit in after] == commits
    assert (unknown in why) if unknown else why == ""


def test_a_poll_costs_two_calls_and_only_our_groups_are_fetched(panorama):
    ours = manager(panorama)
    ours.rulebase()
    panorama.panorama.traffic.clear()
    ours.version()
    assert len(panorama.panorama.traffic.calls) == 2
    ours.rulebase()
    assert not any("other" in call.subject for call in panorama.panorama.traffic.calls)
    assert panorama.panorama.traffic.most == 1


def test_zones_of_templates_are_known():
    zones = section("zone", entry("unused"), entry("web"))
    vsys = f'<vsys><entry name="vsys1">{zones}</entry></vsys>'
    device = f'<config><devices><entry name="localhost.localdomain">{vsys}</entry></devices></config>'
    templates = section("template", entry("t", device)) + section("template-stack", entry("s", device))
    text = config_text(groups={"dg": rulebase("pre", rule("r", to="db"))}, templates=templates)
    with PanoramaServer(Panorama(text, users={"reader": "secret"})) as server:
        assert manager(server).rulebase().zones == {"unused", "web", "db"}


def test_tagged_addresses_fill_dynamic_groups_and_their_change_is_noticed():
    groups = section("address-group", entry("vms", "<dynamic><filter>'vm'</filter></dynamic>"))
    text = config_text(groups={"dg": groups + rulebase("pre", rule("r", source="vms"))})
    with PanoramaServer(Panorama(text, users={"reader": "secret"})) as server:
        ours = manager(server)
        for number in range(600):
            server.panorama.mappings.register(f"10.1.{number // 256}.{number % 256}", "vm")
        source = ours.rulebase().rules[0].sources.members[0].space
        before = ours.version()
        server.panorama.mappings.register("10.9.9.9", "vm")
        assert ours.version() != before
        before = ours.version()
        server.panorama.mappings.register("10.9.9.9", "k8s.cl_prod.ns_shop")
        assert ours.version() == before, "no group asks for that tag"
    assert source == AddressSet.parse(["10.1.0.0/23", "10.1.2.0/26", "10.1.2.64/28", "10.1.2.80/29"])


def test_thousands_of_tagged_addresses_are_not_read_at_every_poll():
    groups = section("address-group", entry("vms", "<dynamic><filter>'vm'</filter></dynamic>"))
    text = config_text(groups={"dg": groups + rulebase("pre", rule("r", source="vms"))})
    now = [0.0]
    with PanoramaServer(Panorama(text, users={"reader": "secret"})) as server:
        ours = manager(server)
        ours.clock = lambda: now[0]
        for number in range(3000):
            server.panorama.mappings.register(f"10.1.{number // 256}.{number % 256}", "vm")
        ours.rulebase()
        before = ours.version()
        server.panorama.mappings.register("10.9.9.9", "vm")
        server.panorama.traffic.clear()
        assert ours.version() == before
        assert server.panorama.traffic.counted() == {"op": 2}
        now[0] += 1.5
        assert ours.version() != before


def predefined_calls(server):
    return sum("/predefined/" in call.subject for call in server.panorama.traffic.calls)


def test_new_content_is_read_again(panorama):
    ours = manager(panorama)
    ours.rulebase()
    panorama.panorama.traffic.clear()
    ours.rulebase()
    assert predefined_calls(panorama) == 0
    panorama.panorama.identity = replace(panorama.panorama.identity, app_version="8999-9999")
    ours.rulebase()
    assert predefined_calls(panorama) == 2, "the applications, and the container that one of them could be"


CONTENT = section(
    "application",
    *(entry(name, f"<default>{members('port', 'tcp/443')}</default>") for name in ("talk-base", "talk-video", "dns")),
) + section("application-container", entry("talk", members("functions", "talk-base", "talk-video")))


@pytest.fixture
def talkative():
    """A Panorama with a container in its content, and a rule that names it."""
    text = config_text(
        groups={"dg": rulebase("pre", rule("r", application=["talk", "no-such-app"]))}, predefined=CONTENT
    )
    with PanoramaServer(Panorama(text, users={"reader": "secret"})) as server:
        yield server


def named(rulebase_read):
    return [each.name for each in rulebase_read.rules[0].applications.members]


def test_containers_are_asked_for_with_what_is_in_them(talkative):
    ours = manager(talkative)
    found = ours.rulebase()
    assert named(found) == ["talk-base", "talk-video"]
    assert [each.name for each in found.rules[0].applications.unresolved] == ["no-such-app"]
    assert predefined_calls(talkative) == 3, "the names, the containers among those that are none, and their functions"
    talkative.panorama.traffic.clear()
    ours.rulebase()
    assert predefined_calls(talkative) == 0


def test_new_content_that_cant_be_read_leaves_the_last_good(talkative):
    ours = manager(talkative)
    ours.rulebase()
    talkative.panorama.identity = replace(talkative.panorama.identity, app_version="8999-9999")
    talkative.faults.add(Fault("status", path="predefined", times=99, status=503))
    assert named(ours.rulebase()) == ["talk-base", "talk-video"]
    with pytest.raises(ManagerUnreachableError):
        manager(talkative).rulebase()
    talkative.faults.queue.clear()
    assert named(ours.rulebase()) == ["talk-base", "talk-video"]


def test_content_that_was_read_in_part_is_asked_for_again(talkative):
    ours = manager(talkative)
    talkative.faults.add(Fault("status", path="application-container", times=99, status=503))
    with pytest.raises(ManagerUnreachableError):
        ours.rulebase()
    talkative.faults.queue.clear()
    assert named(ours.rulebase()) == ["talk-base", "talk-video"]


def test_an_unknown_device_group_is_named_with_its_neighbours(panorama):
    with pytest.raises(UnknownDeviceGroupError, match=r"did you mean .*'dg'"):
        manager(panorama, device_group="dgg").rulebase()


def test_an_expired_key_is_renewed_by_keygen(panorama):
    ours = manager(panorama)
    ours.version()
    panorama.panorama.expire_keys()
    assert ours.version()


def test_a_wrong_key_is_refused_without_telling_it(panorama):
    with pytest.raises(ManagerRefusedError, match="credentials") as caught:
        manager(panorama, username=None, password=None, api_key=lambda: "SECRETKEY==").version()
    assert "SECRETKEY" not in str(caught.value)


def test_a_wrong_password_is_refused(panorama):
    with pytest.raises(ManagerRefusedError, match="credentials"):
        manager(panorama, password=lambda: "wrong").version()


def test_tls_is_verified(panorama, tmp_path):
    with PanoramaServer(Panorama(CONFIG)) as stranger, pytest.raises(ManagerRefusedError, match="caFile"):
        manager(stranger, ca_file=panorama.ca_file).version()


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        (Fault("reset", times=9), ManagerUnreachableError, "tried again"),
        (Fault("status", times=9, status=503, body="<response/>"), ManagerUnreachableError, "503"),
        (Fault("status", times=9, status=429), ManagerUnreachableError, "429"),
        (Fault("status", times=9, status=200, body="<html>log in</html>"), ManagerAnswerError, "XML"),
        (
            Fault("status", times=9, status=200, body="<response", headers={"Content-Type": "application/xml"}),
            ManagerAnswerError,
            "XML",
        ),
        (
            Fault(
                "status",
                times=9,
                status=200,
                body='<!DOCTYPE r [<!ENTITY a "aaaa">]><response status="success"><result>&a;</result></response>',
                headers={"Content-Type": "application/xml"},
            ),
            ManagerAnswerError,
            "entities",
        ),
    ],
)
def test_bad_answers_are_told_apart(panorama, fault, error, words):
    ours = manager(panorama)
    ours.version()
    panorama.faults.add(fault)
    with pytest.raises(error, match=words):
        ours.version()


def test_a_truncated_answer_is_not_used(panorama):
    ours = manager(panorama)
    panorama.faults.add(Fault("truncate", path="action=show", times=9))
    with pytest.raises((ManagerAnswerError, ManagerUnreachableError)):
        ours.rulebase()


def test_one_dropped_connection_is_tried_again(panorama):
    ours = manager(panorama)
    ours.version()
    panorama.faults.add(Fault("reset"))
    assert ours.version()


def test_a_page_of_text_is_not_a_missing_node(panorama):
    ours = manager(panorama)
    panorama.faults.add(Fault("status", path="/config/shared", times=9, status=200, body="log in first"))
    with pytest.raises(ManagerAnswerError, match="no XML"):
        ours.rulebase()


def test_an_answer_that_is_too_large_is_given_up(panorama):
    with pytest.raises(ManagerAnswerError, match="larger than 500 bytes"):
        manager(panorama, limits=AnswerLimits(size=500)).rulebase()


def test_a_silent_panorama_is_given_up(panorama):
    ours = manager(panorama, limits=AnswerLimits(timeout=1), attempts=1)
    ours.version()
    panorama.faults.add(Fault("slow", seconds=3))
    with pytest.raises(ManagerUnreachableError):
        ours.version()


@pytest.fixture
def peers(tmp_path):
    """Two, of which the first is active, and a manager that has asked for the version once."""
    with ExitStack() as stack:
        first, second = (
            stack.enter_context(PanoramaServer(Panorama(CONFIG, users={"reader": "secret"}), tls_dir=tmp_path / name))
            for name in ("one", "two")
        )
        first.panorama.set_ha("primary-active")
        second.panorama.set_ha("secondary-passive")
        both = tmp_path / "both.pem"
        both.write_bytes(first.ca_file.read_bytes() + second.ca_file.read_bytes())
        ours = manager(second, first, ca_file=both)
        ours.version()
        assert first.panorama.traffic.counted()["op"] > 1
        second.panorama.traffic.clear()
        yield first, second, ours


def test_the_active_peer_is_found_and_followed(peers):
    first, second, ours = peers
    first.panorama.set_ha("primary-passive")
    second.panorama.set_ha("secondary-active")
    ours.version()
    assert second.panorama.traffic.counted()["op"] > 1


@pytest.mark.parametrize(
    "fault", [Fault("reset", times=99), Fault("status", times=99, status=502)], ids=["gone", "502"]
)
def test_a_peer_that_was_active_and_answers_no_more_is_left(peers, fault):
    first, second, ours = peers
    first.faults.add(fault)
    second.panorama.set_ha("secondary-active")
    ours.version()
    assert second.panorama.traffic.counted()["op"] > 1


def test_with_peers_too_a_key_that_ends_is_renewed_with_the_password(peers):
    first, _, ours = peers
    first.panorama.expire_keys()
    ours.version()
    assert first.panorama.traffic.counted()["keygen"] == 2


def test_no_peer_active_is_unreachable(panorama):
    panorama.panorama.set_ha("secondary-passive")
    with pytest.raises(ManagerUnreachableError, match="passive"):
        manager(panorama, panorama).version()


def test_what_asks_is_made_once_for_all_calls(panorama, monkeypatch):
    """A bridge asks every few seconds for years."""
    ours = manager(panorama)
    ours.version()
    made = []
    monkeypatch.setattr(urllib.request.OpenerDirector, "add_handler", lambda _, handler: made.append(handler))
    ours.version()
    assert made == []


def test_the_environments_proxy_is_asked(panorama, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        asked = []
        answering = threading.Thread(target=refuse_one, args=(proxy, asked))
        answering.start()
        with pytest.raises(ManagerUnreachableError):
            manager(panorama, attempts=1).version()
        answering.join()
    assert asked[0].startswith(f"CONNECT 127.0.0.1:{panorama.port} HTTP/")


def refuse_one(proxy, asked):
    connection, _ = proxy.accept()
    with connection:
        asked.append(connection.recv(4096).decode())
        connection.sendall(b"HTTP/1.1 503 not now\r\n\r\n")
