"""Foreign syslog daemons as senders: rsyslog and syslog-ng in the foreground, with files of their own in one folder.

They know nothing of the mock but its address. Where one isn't installed, the test is skipped and says which package.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

GRACE = 15.0
# Debian lets only one of the two be installed; the other may be unpacked here with `dpkg -x`.
SYSLOG_NG_ROOT = Path(os.environ.get("SYSLOG_NG_ROOT", "/opt/syslog-ng"))


def program(name: str, package: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{name} isn't installed: apt-get install {package}")
    return found


def logger() -> str:
    return program("logger", "bsdutils")


def rsyslogd(driver: str) -> str:
    package = {"gtls": "rsyslog-gnutls", "ossl": "rsyslog-openssl"}[driver]
    found = program("rsyslogd", f"rsyslog {package}")
    if not list(Path("/usr/lib").glob(f"*/rsyslog/lmnsd_{driver}.so")):
        pytest.skip(f"rsyslog's {driver} driver isn't installed: apt-get install {package}")
    return found


@contextmanager
def running(command: list[str], log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """The daemon, until the block ends."""
    with log.open("wb") as output:
        daemon = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        try:
            yield daemon
        finally:
            daemon.terminate()
            try:
                daemon.wait(GRACE)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait(GRACE)


@contextmanager
def rsyslog(directory: Path, driver: str, config: str) -> Iterator[None]:
    """An rsyslog that listens on `directory`/in.sock and does what `config` says with the ruleset `out`."""
    binary = rsyslogd(driver)
    config_file = directory / "rsyslog.conf"
    config_file.write_text(
        f"""
        global(workDirectory="{directory}" defaultNetstreamDriver="{driver}" processInternalMessages="on"
               defaultNetstreamDriverCAFile="{directory}/ca.pem"
               defaultNetstreamDriverCertFile="{directory}/sender.pem"
               defaultNetstreamDriverKeyFile="{directory}/sender.key")
        module(load="imuxsock" sysSock.use="off")
        input(type="imuxsock" socket="{directory}/in.sock" ruleset="out" useSpecialParser="off" parseHostname="on"
              useSysTimeStamp="off" ignoreTimestamp="off" unlink="on")
        ruleset(name="out") {{ {config} }}
        """
    )
    command = [binary, "-n", "-f", str(config_file), "-i", str(directory / "rsyslog.pid")]
    with running(command, directory / "rsyslog.log") as daemon:
        wait_for_socket(directory / "in.sock", daemon, directory / "rsyslog.log")
        yield


@contextmanager
def syslog_ng(directory: Path, destination: str) -> Iterator[None]:
    """A syslog-ng that listens on `directory`/in.sock (RFC 5424) and sends to `destination`."""
    binary, options, environment = syslog_ng_program()
    config_file = directory / "syslog-ng.conf"
    config_file.write_text(
        f"""@version: 3.38
        options {{ keep-hostname(yes); keep-timestamp(yes); use-dns(no); stats-freq(0); time-reopen(1); }};
        source s_in {{ unix-dgram("{directory}/in.sock" flags(syslog-protocol)); }};
        destination d_out {{ {destination} }};
        log {{ source(s_in); destination(d_out); }};
        """
    )
    command = [binary, "-F", "--no-caps", *options, f"--cfgfile={config_file}"]
    command += [f"--{name}={directory}/syslog-ng.{name}" for name in ("persist-file", "pidfile", "control")]
    log = directory / "syslog-ng.log"
    with running([*command, "-e"], log, **environment) as daemon:
        wait_for_socket(directory / "in.sock", daemon, log)
        yield


def syslog_ng_program() -> tuple[str, list[str], dict[str, str]]:
    """The installed one, or the unpacked one with the folders that it needs to be told."""
    unpacked = SYSLOG_NG_ROOT / "usr/sbin/syslog-ng"
    if shutil.which("syslog-ng", path="/usr/sbin:/sbin") is None and unpacked.exists():
        library = SYSLOG_NG_ROOT / "usr/lib/syslog-ng"
        modules = ":".join(str(found) for found in library.glob("[0-9]*"))
        return str(unpacked), [f"--module-path={modules}"], {"LD_LIBRARY_PATH": str(library)}
    return program("syslog-ng", "syslog-ng-core syslog-ng-mod-http"), [], {}


def wait_for_socket(path: Path, daemon: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + GRACE
    while not path.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the daemon didn't open {path}: {log.read_text(errors='replace')}")
        time.sleep(0.02)


def hand_over(directory: Path, *messages: bytes) -> None:
    """Datagrams to a daemon's local socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(str(directory / "in.sock"))
        for message in messages:
            sock.send(message)
