"""The receiver on the wire: TCP, TLS with and without a client's certificate, faults, restarts."""

from __future__ import annotations

import io
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mocks.serving import Fault
from mocks.siem import SyslogServer, issue
from tests.mocks.siem.conftest import eventually

ONE = b"<34>1 - - app - - - one"
TWO = b"<34>1 - - app - - - two"


def counted(frame: bytes) -> bytes:
    return b"%d %s" % (len(frame), frame)


@pytest.fixture
def syslog() -> Iterator[SyslogServer]:
    with SyslogServer() as server:
        yield server


def connect(server: SyslogServer) -> socket.socket:
    return socket.create_connection((server.address, server.port), 10)


def flood(sock: socket.socket, timeout: float = 10) -> None:
    """Send until something stops it."""
    sock.settimeout(timeout)
    while True:
        sock.sendall(counted(ONE) * 100)


def send(server: SyslogServer, octets: bytes) -> None:
    with connect(server) as sock:
        sock.sendall(octets)


@pytest.mark.parametrize("stream", [counted(ONE) + counted(TWO), ONE + b"\n" + TWO + b"\n"])
def test_both_framings_in_order(syslog: SyslogServer, stream: bytes) -> None:
    send(syslog, stream)
    assert [message.msg for message in syslog.wait_for(lambda seen: len(seen) == 2)] == ["one", "two"]
    assert syslog.errors == []
    assert syslog.connections[0].framing == ("octet" if stream[:1].isdigit() else "newline")


def test_a_bad_message_is_an_error_and_the_next_is_read(syslog: SyslogServer) -> None:
    send(syslog, counted(b"<34>Oct 11 old") + counted(ONE))
    assert [message.msg for message in syslog.wait_for(bool)] == ["one"]
    (error,) = syslog.errors
    assert (error.raw, "no VERSION" in error.why) == (b"<34>Oct 11 old", True)


def test_a_broken_frame_ends_the_connection(syslog: SyslogServer) -> None:
    with connect(syslog) as sock:
        sock.sendall(counted(ONE) + b"nonsense")
        assert sock.recv(1) == b""
    assert len(syslog.wait_for(bool)) == 1
    assert "isn't a number" in syslog.errors[0].why


def test_an_unfinished_message_is_no_message(syslog: SyslogServer) -> None:
    send(syslog, counted(ONE) + b"99 <34>1 - - app")
    (error,) = syslog.wait_for_errors(bool)
    assert "inside a frame" in error.why
    assert len(syslog.messages) == 1


def test_a_dropped_connection_loses_what_was_on_its_way(syslog: SyslogServer) -> None:
    syslog.faults.add(Fault("reset", path="message"))
    with connect(syslog) as sock, pytest.raises(ConnectionError):
        flood(sock)
    assert len(syslog.messages) == 1


def test_a_connection_may_be_refused_its_first_word(syslog: SyslogServer) -> None:
    syslog.faults.add(Fault("reset", path="connection"))
    with connect(syslog) as sock, pytest.raises(ConnectionError):
        flood(sock)
    assert syslog.messages == []


def test_a_slow_receiver_makes_the_sender_wait(syslog: SyslogServer) -> None:
    syslog.faults.add(Fault("slow", path="connection", seconds=3600))
    with connect(syslog) as sock, pytest.raises(TimeoutError):
        flood(sock, 0.2)
    assert syslog.messages == []


def test_away_and_back_on_the_same_port(syslog: SyslogServer) -> None:
    send(syslog, counted(ONE))
    syslog.wait_for(bool)
    with closing(connect(syslog)) as sock:
        syslog.stop()
        with pytest.raises(ConnectionError):
            flood(sock)
    with pytest.raises(ConnectionRefusedError):
        connect(syslog)
    syslog.start()
    send(syslog, counted(TWO))
    assert syslog.wait_for(lambda seen: seen[-1].msg == "two")


def trusting(server: SyslogServer) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(server.ca_file))


def send_tls(server: SyslogServer, context: ssl.SSLContext, octets: bytes, *, politely: bool = True) -> None:
    with connect(server) as sock, context.wrap_socket(sock, server_hostname="localhost") as tls:
        tls.sendall(octets)
        if politely:
            tls.unwrap()


def test_tls() -> None:
    with SyslogServer(tls=True) as server:
        send_tls(server, trusting(server), counted(ONE) * 5000)
        server.wait_for(lambda seen: len(seen) == 5000)
        (connection,) = server.connections
        assert connection.tls == "TLSv1.3"
        assert connection.client == ""
        assert server.errors == []


@pytest.mark.parametrize("politely", [True, False])
def test_a_tls_sender_that_leaves_without_a_word_is_known(politely: bool) -> None:
    with SyslogServer(tls=True) as server:
        send_tls(server, trusting(server), counted(ONE), politely=politely)
        server.wait_for(bool)
        eventually(lambda: not server.connections[0].open)
        assert server.connections[0].proper_close is politely


def test_a_client_certificate_is_demanded_and_read(tmp_path: Path) -> None:
    with SyslogServer(tls=True, client_certificate="required") as server:
        files = issue(server.authority, "node-1.example.com", tmp_path)
        context = trusting(server)
        context.load_cert_chain(files.cert_file, files.key_file)
        send_tls(server, context, counted(ONE))
        server.wait_for(bool)
        assert server.connections[0].client == "node-1.example.com"
        with (
            connect(server) as sock,
            trusting(server).wrap_socket(sock, server_hostname="localhost") as tls,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            tls.recv(1)  # TLS 1.3: the client learns of the refusal only when it reads
        (error,) = server.wait_for_errors(bool)
        assert "PEER_DID_NOT_RETURN_A_CERTIFICATE" in error.why
        assert len(server.messages) == 1


def test_a_stranger_that_trusts_another_authority_leaves_an_error() -> None:
    with SyslogServer(tls=True) as server:
        with connect(server) as sock, pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(sock, server_hostname="localhost")
        (error,) = server.wait_for_errors(bool)
        assert "UNKNOWN_CA" in error.why


def test_plain_octets_are_no_tls() -> None:
    with SyslogServer(tls=True) as server:
        send(server, counted(ONE))
        (error,) = server.wait_for_errors(bool)
        assert error.why.startswith("TLS: ")
        assert server.messages == []


def test_lines_of_output_for_messages_and_errors() -> None:
    out = io.StringIO()
    with SyslogServer(out=out) as server:
        send(server, counted(ONE) + counted(b"bad"))
        server.wait_for(bool)
        server.wait_for_errors(bool)
    good, bad = (json.loads(line) for line in out.getvalue().splitlines())
    assert (good["msg"], good["app"]) == ("one", "app")
    assert bad["raw"] == "bad"


def test_waiting_in_vain_tells_the_errors(syslog: SyslogServer) -> None:
    send(syslog, counted(b"bad"))
    syslog.wait_for_errors(bool)
    with pytest.raises(TimeoutError, match="no PRI"):
        syslog.wait_for(bool, 0.05)
