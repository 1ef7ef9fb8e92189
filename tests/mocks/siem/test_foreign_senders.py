"""Senders that others wrote: util-linux's logger, rsyslog over TLS, syslog-ng to syslog over TLS and to HEC."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mocks.siem import HecServer, SyslogServer, Token, issue
from tests.mocks.siem import daemons
from tests.mocks.siem.conftest import TOKEN, eventually

AWKWARD = 'quote " backslash \\ bracket ] tab \t umlaut ü'
ESCAPED = 'quote \\" backslash \\\\ bracket \\] tab \t umlaut ü'
MESSAGE = (
    f'<134>1 2026-10-11T22:14:15.003Z node-1 enforcer 4711 DENY [flow@32473 why="{ESCAPED}" n="%d"] \ufeffDenía %d'
)


def messages(count: int) -> list[bytes]:
    return [(MESSAGE % (number, number)).encode() for number in range(count)]


@pytest.mark.parametrize("counted", [True, False])
def test_logger_over_tcp(counted: bool) -> None:
    binary = daemons.logger()
    with SyslogServer() as server:
        command = [binary, "--rfc5424", "--tcp", "--server", "127.0.0.1", "--port", str(server.port)]
        command += ["--priority", "local0.warning", "--tag", "probe", "--msgid", "DENY", "--id=4711"]
        command += ["--sd-id", "flow@32473", "--sd-param", 'zone="a \\"b\\" \\]"']
        command += ["--octet-count"] if counted else []
        subprocess.run([*command, "hello ü"], check=True, timeout=30)
        (message,) = server.wait_for(bool)
        assert server.errors == []
        assert server.connections[0].framing == ("octet" if counted else "newline")
    assert (message.facility, message.severity) == (16, 4)
    assert (message.app, message.procid, message.msgid, message.msg) == ("probe", "4711", "DENY", "hello ü")
    assert message.param("flow@32473", "zone") == 'a "b" ]'
    assert message.param("timeQuality", "tzKnown") == "1"


@pytest.mark.parametrize("driver", ["gtls", "ossl"])
def test_rsyslog_over_tls(tmp_path: Path, driver: str) -> None:
    with SyslogServer(tls=True, client_certificate="required", tls_dir=tmp_path) as server:
        issue(server.authority, "sender", tmp_path)
        action = f"""action(type="omfwd" target="127.0.0.1" port="{server.port}" protocol="tcp"
            streamDriver="{driver}" streamDriverMode="1" streamDriverAuthMode="x509/name"
            streamDriverPermittedPeers="localhost" TCP_Framing="octet-counted"
            template="RSYSLOG_SyslogProtocol23Format")"""
        with daemons.rsyslog(tmp_path, driver, action):
            daemons.hand_over(tmp_path, *messages(200))
            got = server.wait_for(lambda seen: len(seen) == 200, 30)
        connection = server.connections[0]
        assert (connection.tls, connection.client, connection.framing) == ("TLSv1.3", "sender", "octet")
        assert server.errors == []
    assert [message.param("flow@32473", "n") for message in got] == [str(number) for number in range(200)]
    assert got[0].param("flow@32473", "why") == AWKWARD.replace("\t", "#011")  # rsyslog's own habit
    assert (got[0].host, got[0].app, got[0].procid, got[0].msgid) == ("node-1", "enforcer", "4711", "DENY")
    assert got[0].timestamp is not None
    assert got[0].timestamp.isoformat() == "2026-10-11T22:14:15.003000+00:00"
    assert "Denía 0" in got[0].msg


def test_rsyslog_refuses_a_receiver_with_a_name_that_it_does_not_expect(tmp_path: Path) -> None:
    with SyslogServer(tls=True, tls_dir=tmp_path) as server:
        issue(server.authority, "sender", tmp_path)
        action = f"""action(type="omfwd" target="127.0.0.1" port="{server.port}" protocol="tcp"
            streamDriver="gtls" streamDriverMode="1" streamDriverAuthMode="x509/name"
            streamDriverPermittedPeers="siem.example.com" template="RSYSLOG_SyslogProtocol23Format")"""
        with daemons.rsyslog(tmp_path, "gtls", action):
            daemons.hand_over(tmp_path, *messages(1))
            eventually(lambda: any(one.tls and not one.open for one in server.connections))
        assert server.messages == []


def test_syslog_ng_over_tls(tmp_path: Path) -> None:
    with SyslogServer(tls=True, client_certificate="optional", tls_dir=tmp_path) as server:
        destination = f"""syslog("127.0.0.1" port({server.port}) transport("tls")
            tls(ca-file("{tmp_path}/ca.pem") peer-verify(yes)));"""
        with daemons.syslog_ng(tmp_path, destination):
            daemons.hand_over(tmp_path, *messages(200))
            got = server.wait_for(lambda seen: len(seen) == 200, 30)
        assert server.errors == []
        assert server.connections[0].framing == "octet"
    assert [message.param("flow@32473", "n") for message in got] == [str(number) for number in range(200)]
    assert got[0].param("flow@32473", "why") == AWKWARD
    assert "Denía 0" in got[0].msg


HEC_BODY = """$(format-json --scope none time=double($UNIXTIME) host=$HOST sourcetype=probe
    event.msg=$MSG fields.n=${.SDATA.flow@32473.n})"""


def http_destination(hec: HecServer, token: str = TOKEN) -> str:
    body = " ".join(HEC_BODY.split())
    return f"""http(url("{hec.url}/services/collector/event") method("POST") user-agent("foreign")
        headers("Authorization: Splunk {token}") body('{body}')
        batch-lines(50) batch-timeout(200) delimiter("\\n") retries(20) timeout(10)
        tls(ca-file("{hec.ca_file}") peer-verify(yes)));"""


def test_syslog_ng_posts_batches_to_hec(tmp_path: Path) -> None:
    with HecServer(Token(TOKEN)) as hec:
        with daemons.syslog_ng(tmp_path, http_destination(hec)):
            daemons.hand_over(tmp_path, *messages(200))
            got = hec.wait_for(lambda events: len(events) == 200, 30)
        assert set(hec.codes) == {0}
        assert 4 <= hec.requests < 200
        assert hec.calls[0].user_agent == "foreign"
    assert [event.fields["n"] for event in got] == [str(number) for number in range(200)]
    assert got[0].event == {"msg": "Denía 0"}
    assert (got[0].host, got[0].sourcetype) == ("node-1", "probe")
    assert got[0].time == pytest.approx(1791756855.003)


def test_syslog_ng_tries_again_when_hec_is_busy(tmp_path: Path) -> None:
    with HecServer(Token(TOKEN)) as hec:
        hec.answer(9, times=2)
        with daemons.syslog_ng(tmp_path, http_destination(hec)):
            daemons.hand_over(tmp_path, *messages(1))
            hec.wait_for(bool, 30)
        assert [call.status for call in hec.calls] == [503, 503, 200]
        assert len(hec.events) == 1


def test_syslog_ng_sends_twice_what_was_committed_without_an_answer(tmp_path: Path) -> None:
    with HecServer(Token(TOKEN)) as hec:
        hec.reset_after_commit()
        with daemons.syslog_ng(tmp_path, http_destination(hec)):
            daemons.hand_over(tmp_path, *messages(1))
            got = hec.wait_for(lambda events: len(events) == 2, 30)
    assert got[0].envelope == got[1].envelope
