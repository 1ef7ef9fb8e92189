"""The command that serves a mock Panorama: what it prints, that it answers, how it ends, and what it refuses."""

from __future__ import annotations

import re
import signal
import ssl
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.mocks.panoramas import CONFIG, K8S

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "import typer; from mocks.panorama import serve; typer.run(serve)"]
DEADLINE = 60


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "running.xml"
    path.write_text(CONFIG)
    return path


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], check=False, capture_output=True, text=True, timeout=DEADLINE, cwd=ROOT)


@pytest.fixture
def started(config, tmp_path):
    candidate = tmp_path / "candidate.xml"
    candidate.write_text(CONFIG.replace("<action>drop</action>", "<action>deny</action>"))
    words = [
        "--config",
        str(config),
        "--candidate",
        str(candidate),
        "--tls-dir",
        str(tmp_path / "tls"),
        "--user",
        "root",
    ]
    words += ["--password", "secret", "--fault", "status:500@type=version", "--ha", "primary-active"]
    process = subprocess.Popen([*COMMAND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    yield process
    process.kill()
    process.communicate(timeout=DEADLINE)


def test_it_serves_until_it_is_told_to_stop(started, tmp_path):
    ready = started.stdout.readline()
    url, ca_file = re.fullmatch(r"panorama ready at (\S+) ca (\S+) user root\n", ready).groups()
    assert ca_file == str(tmp_path / "tls" / "ca.pem")
    assert "type=keygen" in started.stdout.readline()
    with httpx.Client(base_url=url, verify=ssl.create_default_context(cafile=ca_file), auth=("root", "secret")) as http:
        assert http.get("", params={"type": "version"}).status_code == 500
        assert http.get("", params={"type": "version"}).status_code == 200
        shown = http.get("", params={"type": "config", "action": "get", "xpath": f"{K8S}/pre-rulebase"})
        assert 'admin="admin"' in shown.text
        assert (
            "primary-active"
            in http.get(
                "", params={"type": "op", "cmd": "<show><high-availability><state/></high-availability></show>"}
            ).text
        )
    started.send_signal(signal.SIGTERM)
    assert started.wait(DEADLINE) == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--config", "/nonexistent/a.xml"], "cannot read /nonexistent/a.xml"),
        (["--config", __file__], "cannot read"),
        (["--config", "CONFIG", "--candidate", "/nonexistent/b.xml"], "cannot read /nonexistent/b.xml"),
        (["--config", "CONFIG", "--fault", "nonsense"], "none of slow, reset, truncate, status"),
        (["--config", "CONFIG", "--fault", "slow:soon"], "KIND"),
        (["--config", "CONFIG", "--ha", "nonsense"], "none of disabled"),
        (["--config", "CONFIG", "--reader", "nobody"], "USER:PASSWORD"),
        (["--config", "CONFIG", "--port", "70000"], "less than or equal to 65535"),
        (["--config", "CONFIG", "--host", "192.0.2.1"], "192.0.2.1"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(config, words, said):
    ended = run(*[str(config) if word == "CONFIG" else word for word in words])
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    assert said in re.sub(r"[\s│]+", " ", ended.stderr)
