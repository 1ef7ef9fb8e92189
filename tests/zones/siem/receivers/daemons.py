"""rsyslog and syslog-ng as receivers over TLS, with the parsers that their users would set up for our formats.

They write what they have understood as JSON lines, one file for each format. `*.conf` beside this file is their setup.
"""

import json
import socket
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from mocks.serving import Authority
from mocks.siem import issue
from tests.mocks.siem.daemons import SYSLOG_NG_ROOT, rsyslogd, running, syslog_ng_program

HERE = Path(__file__).parent
SECONDS = 60.0
PANOS = "usr/share/syslog-ng/include/scl/paloalto/panos.conf"


@dataclass(frozen=True)
class Receiver:
    """`directory` has our certificate, `sender.pem` and `sender.key`, and the authority's, `ca.pem`."""

    name: str
    directory: Path
    port: int

    def understood(self, name, count):
        """What was made of the first messages of a format."""
        path, deadline = self.directory / f"{name}.out", time.monotonic() + SECONDS
        while True:
            lines = path.read_text(encoding="utf-8").split("\n")[:-1] if path.exists() else []
            if len(lines) >= count:
                return [json.loads(line) for line in lines]
            if time.monotonic() > deadline:
                logs = "".join(log.read_text(errors="replace")[-3000:] for log in self.directory.glob("*.log"))
                pytest.fail(f"{len(lines)} of {count} {name} messages arrived: {logs}")
            time.sleep(0.05)


@contextmanager
def receiver(name, directory):
    """The daemon, listening, until the block ends."""
    authority = Authority.create(directory)
    issue(authority, "sender", directory)
    _receivers_certificate(authority, directory)
    with _reserved() as port:
        config = directory / f"{name}.conf"
        text = (HERE / config.name).read_text(encoding="utf-8")
        for word, value in {"%folder%": directory, "%port%": port, "%panos%": _panos()}.items():
            text = text.replace(word, str(value))
        config.write_text(text, encoding="utf-8")
        log = directory / f"{name}.log"
        command, environment = _command(name, directory, config)
        with running(command, log, **environment) as daemon:
            _wait_for_port(port, daemon, log)
            yield Receiver(name, directory, port)


def _command(name, directory, config):
    if name == "rsyslog":
        return [rsyslogd("gtls"), "-n", "-f", str(config), "-i", str(directory / "rsyslog.pid")], {}
    binary, options, environment = syslog_ng_program()
    files = [f"--{each}={directory}/syslog-ng.{each}" for each in ("persist-file", "pidfile", "control")]
    return [binary, "-F", "-e", "--no-caps", *options, f"--cfgfile={config}", *files], environment


def _panos():
    """syslog-ng's own parser of PAN-OS lines, where it is."""
    for root in (Path("/"), SYSLOG_NG_ROOT):
        if (root / PANOS).exists():
            return root / PANOS
    pytest.skip("syslog-ng's PAN-OS parser isn't installed: apt-get install syslog-ng-scl")


def _receivers_certificate(authority, directory):
    leaf = authority.ca.issue_cert("localhost", "127.0.0.1")
    leaf.private_key_pem.write_to_path(str(directory / "receiver.key"))
    (directory / "receiver.pem").write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))


@contextmanager
def _reserved():
    """A port that nobody else gets: bound, but not listened on, which lets a daemon have it that sets SO_REUSEADDR."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()[1]


def _wait_for_port(port, daemon, log):
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if daemon.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the daemon doesn't listen: {log.read_text(errors='replace')}")
            time.sleep(0.05)
        else:
            return
