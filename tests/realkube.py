"""A real kube-apiserver with etcd on loopback, for tests and `python -m tests.realkube build`. It knows nothing of ours.

It runs no controllers: no pod starts, a deleted namespace stays Terminating, the roles `view`, `edit` and `admin` are
empty (they are aggregated), and a namespace has no service account `default`, which every pod wants, until one is made.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

from tests.apiserver.identities import Identities
from tests.apiserver.programs import Binaries, RealKubeError, Unavailable, binaries, version

__all__ = ["Binaries", "RealKube", "RealKubeError", "Unavailable", "binaries", "version"]

READY_SECONDS = 60.0
# Where etcd listens: unix sockets of these names in its folder (etcd wants something that looks like a port).
CLIENTS = "unix://etcd:1"
PEERS = "unix://peer:1"


class RealKube:
    """etcd and kube-apiserver between `start` and `stop`; also a context manager. `kubeconfig` is an administrator's.

    Start it in the main thread, or in one that outlives it. `flags` are added to kube-apiserver's own.
    """

    ready_seconds = READY_SECONDS

    def __init__(self, programs: Binaries, flags: Sequence[str] = ()) -> None:
        self._programs = programs
        self._flags = tuple(flags)
        self._folder = tempfile.TemporaryDirectory(prefix="realkube-")
        self._reserved = _reserve_port()
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None
        self.directory = Path(self._folder.name)
        self.port = int(self._reserved.getsockname()[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self._identities = Identities(self.directory, self.url)
        self.admin_token = self._identities.admin_token
        self.ca_file = self._identities.ca_file
        self.kubeconfig = self._identities.admin_kubeconfig

    def start(self) -> Self:
        """Start both and wait until they are ready. Raises RealKubeError, and then nothing is left running."""
        try:
            self._identities.write()
            self._etcd = self._run("etcd", self._etcd_command())
            self.start_apiserver()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """End both at once, and forget what they held."""
        for process in (self._apiserver, self._etcd):
            if process is not None:
                process.kill()
                process.wait()
        self._reserved.close()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_apiserver(self) -> None:
        """Start it and wait until it is ready. Raises RealKubeError with the end of the logs."""
        self._apiserver = self._run("kube-apiserver", self._apiserver_command())
        self._wait_ready()

    def stop_apiserver(self, seconds: float = 15.0) -> None:
        """End it in good order: open watches are closed. After `seconds` it is killed."""
        if self._apiserver is None:
            return
        self._apiserver.terminate()
        try:
            self._apiserver.wait(seconds)
        except subprocess.TimeoutExpired:
            self._apiserver.kill()
            self._apiserver.wait()

    def restart_apiserver(self) -> None:
        self.stop_apiserver()
        self.start_apiserver()

    def pause_etcd(self) -> None:
        """Stop etcd in its tracks, so that every write hangs."""
        if self._etcd is not None:
            self._etcd.send_signal(signal.SIGSTOP)

    def resume_etcd(self) -> None:
        if self._etcd is not None:
            self._etcd.send_signal(signal.SIGCONT)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, user: str | None = None, groups: Sequence[str] = ()
    ) -> str:
        """What kubectl prints, as that user if given. Raises CalledProcessError with its stderr."""
        kubeconfig = self.kubeconfig_for(user, groups) if user else self.kubeconfig
        cache = self.directory / "kubectl-cache"  # one in the home would answer for an earlier server on this port
        command = [str(self._programs.kubectl), f"--kubeconfig={kubeconfig}", f"--cache-dir={cache}", *arguments]
        environment = os.environ | {"KUBERC": "off"}
        return subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, check=True).stdout

    def client(self, user: str | None = None, groups: Sequence[str] = ()) -> httpx.Client:
        """An HTTP client of the administrator, or of an impersonated user."""
        headers = [("Authorization", f"Bearer {self.admin_token}")]
        headers += [("Impersonate-User", user)] if user else []
        headers += [("Impersonate-Group", group) for group in groups]
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.Client(base_url=self.url, headers=headers, verify=trust, trust_env=False, timeout=30)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig with which any client is that user (`system:serviceaccount:NAMESPACE:NAME` too)."""
        return self._identities.kubeconfig(user, groups)

    def _etcd_command(self) -> list[str]:
        return [
            str(self._programs.etcd),
            f"--data-dir={self.directory / 'data'}",
            f"--listen-client-urls={CLIENTS}",
            f"--advertise-client-urls={CLIENTS}",
            f"--listen-peer-urls={PEERS}",
            f"--initial-advertise-peer-urls={PEERS}",
            f"--initial-cluster=default={PEERS}",
            "--heartbeat-interval=20",
            "--election-timeout=100",  # it elects itself; the default waits a second for others
            "--unsafe-no-fsync",
            "--logger=zap",
            "--log-level=error",
        ]

    def _apiserver_command(self) -> list[str]:
        known = self._identities
        return [
            str(self._programs.apiserver),
            f"--etcd-servers={CLIENTS}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",  # without it, it wants a default route, and a namespace may have none
            "--endpoint-reconciler-type=none",  # and a loopback address can't be published
            f"--secure-port={self.port}",
            "--permit-port-sharing=true",
            f"--tls-cert-file={known.tls_file}",
            f"--tls-private-key-file={known.tls_key_file}",
            f"--client-ca-file={known.ca_file}",
            f"--token-auth-file={known.tokens_file}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://localhost",
            f"--service-account-key-file={known.service_account_key_file}",
            f"--service-account-signing-key-file={known.service_account_key_file}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--profiling=false",
            *self._flags,
        ]

    def _run(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with self._log(name).open("ab") as log:
            return subprocess.Popen(
                [*dies_with_us(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory
            )

    def _wait_ready(self) -> None:
        until = time.monotonic() + self.ready_seconds
        with self.client() as client:
            while time.monotonic() < until and self._running():
                if _ready(client):
                    return
                time.sleep(0.05)
        ends = (
            f"{name}:\n{self._log(name).read_text(errors='replace')[-2000:]}" for name in ("etcd", "kube-apiserver")
        )
        raise RealKubeError("\n".join(["starting kube-apiserver: it is not ready; the end of the logs", *ends]))

    def _running(self) -> bool:
        return all(process is not None and process.poll() is None for process in (self._etcd, self._apiserver))

    def _log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def _reserve_port() -> socket.socket:
    """A port that stays ours over restarts: bound here, never listened on, and shared with kube-apiserver."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", 0))
    return made


def dies_with_us() -> list[str]:
    """A prefix that has the kernel end a program when the thread that started it ends, however that comes about."""
    setpriv = shutil.which("setpriv")
    if setpriv is None or threading.current_thread() is not threading.main_thread():
        return []
    return [setpriv, "--pdeathsig", "KILL", "--"]


def main(arguments: Sequence[str]) -> int:
    """`python -m tests.realkube build`."""
    if list(arguments) != ["build"]:
        print("usage: python -m tests.realkube build", file=sys.stderr)
        return 2
    started = time.monotonic()
    try:
        found = binaries()
    except RealKubeError as error:
        found = Unavailable(str(error))
    if isinstance(found, Unavailable):
        print(f"no real kube-apiserver: {found.reason}", file=sys.stderr)
        return 1
    print(f"kube-apiserver is at {found.apiserver}, kubectl beside it ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
