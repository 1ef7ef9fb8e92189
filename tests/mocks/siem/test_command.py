"""The SIEM as one, and its command as a process: its address line, its output, its end, its bad input."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from mocks.siem import Siem
from tests.mocks.siem.conftest import CHANNEL, TOKEN, eventually

RUN = [sys.executable, "-c", "import typer; from mocks.siem import serve; typer.run(serve)"]
ROOT = Path(__file__).parents[3]
ONE = b"<34>1 - - app - - - one"


def post(url: str, ca_file: str, **headers: str) -> httpx.Response:
    return httpx.post(
        f"{url}/services/collector",
        content=b'{"event":"x"}',
        headers={"Authorization": f"Splunk {TOKEN}", **headers},
        verify=ssl.create_default_context(cafile=ca_file),
    )


def send(url: str, octets: bytes) -> None:
    host, _, port = url.partition("://")[2].rpartition(":")
    with socket.create_connection((host, int(port)), 10) as sock:
        sock.sendall(octets)


def test_three_receivers_under_one_authority() -> None:
    with Siem(TOKEN) as siem:
        assert post(siem.hec.url, str(siem.ca_file)).status_code == 200
        send(siem.syslog.url, ONE + b"\n")
        assert siem.syslog.wait_for(bool)[0].msg == "one"
        context = ssl.create_default_context(cafile=str(siem.ca_file))
        with (
            socket.create_connection(("127.0.0.1", siem.syslog_tls.port), 10) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"%d %s" % (len(ONE), ONE))
            assert siem.syslog_tls.wait_for(bool)[0].app == "app"


@contextmanager
def command(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The process, and the words of its address line."""
    with subprocess.Popen([*RUN, *arguments], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().split()
        finally:
            process.send_signal(signal.SIGTERM)


def test_events_go_to_a_file(tmp_path: Path) -> None:
    out = tmp_path / "events.jsonl"
    with command("--token", f"{TOKEN}:ack", "--out", str(out), "--tls-dir", str(tmp_path)) as (process, words):
        assert words[:3] == ["siem", "ready", "at"]
        hec, tcp, tls = words[3], words[5], words[6]
        assert tls.startswith("tls://")
        assert words[8] == str(tmp_path / "ca.pem")
        assert post(hec, words[8], **{"X-Splunk-Request-Channel": CHANNEL}).json()["ackId"] == 0
        send(tcp, ONE + b"\nbad\n")
        eventually(lambda: len(out.read_text().splitlines()) == 3)
    assert process.returncode == 0
    hec_line, syslog_line, error_line = (json.loads(line) for line in out.read_text().splitlines())
    assert (hec_line["via"], hec_line["event"]) == ("hec", "x")
    assert (syslog_line["via"], syslog_line["msg"]) == ("syslog", "one")
    assert error_line["raw"] == "bad"


def test_events_go_to_stdout() -> None:
    with command("--token", f"{TOKEN}:main,net", "--no-hec-tls") as (process, words):
        assert words[3].startswith("http://")
        assert post(words[3], words[8]).status_code == 200
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["index"] == "main"


def test_faults_are_played_in_order() -> None:
    faults = ["--fault", "code:26:7*2", "--fault", "reset"]
    with command("--token", TOKEN, *faults) as (_, words):
        replies = [post(words[3], words[8]) for _ in range(2)]
        assert [(one.status_code, one.headers["Retry-After"]) for one in replies] == [(429, "7")] * 2
        with pytest.raises(httpx.TransportError):
            post(words[3], words[8])
        assert post(words[3], words[8]).status_code == 200


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--oversize", "414"], "neither 413 nor 400"),
        (["--token", ":ack"], "VALUE[:ack]"),
        (["--hec-port", "70000"], "65535"),
        (["--fault", "flood"], "KIND[:VALUE][*TIMES]"),
        (["--fault", "code:99"], "no code 99"),
        (["--out", "/nowhere/at/all"], "/nowhere/at/all"),
    ],
)
def test_bad_input_is_one_message_and_code_2(arguments: list[str], why: str) -> None:
    done = subprocess.run([*RUN, *arguments], check=False, capture_output=True, text=True, cwd=ROOT, timeout=30)
    assert done.returncode == 2
    assert why in " ".join(done.stderr.replace("│", " ").split())
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_bad_input() -> None:
    with Siem(TOKEN) as siem:
        for option, port in (("--hec-port", siem.hec.port), ("--syslog-port", siem.syslog.port)):
            arguments = [*RUN, option, str(port)]
            done = subprocess.run(arguments, check=False, capture_output=True, text=True, cwd=ROOT, timeout=30)
            assert (done.returncode, done.stdout) == (2, "")
            assert "in use" in done.stderr
