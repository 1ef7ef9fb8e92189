"""A real kube-apiserver with etcd on loopback: built once with Go from tests/apiserver, or taken from
KUBEBUILDER_ASSETS. It runs no controllers. Tests and `python -m tests.realkube build` use it; it knows nothing of ours.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

MODULE = Path(__file__).parent / "apiserver"
PROGRAMS = ("kube-apiserver", "kubectl")
READY_SECONDS = 60.0


class RealKubeError(Exception):
    """The server can't be built or doesn't come up. The message says what to look at."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs, as paths."""

    etcd: Path
    apiserver: Path
    kubectl: Path


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why there is no real API server here, and what would make one."""

    reason: str


def version() -> str:
    """The Kubernetes version that tests/apiserver pins, as `v1.36.3`."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (MODULE / "go.mod").read_text())
    if found is None:
        raise RealKubeError(f"{MODULE / 'go.mod'} pins no k8s.io/kubernetes")
    return found[1]


def binaries() -> Binaries | Unavailable:
    """The programs, built now where they are not cached yet (about five minutes on two cores)."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _in(Path(assets), Path(assets) / "etcd")
    etcd = shutil.which("etcd")
    if etcd is None:
        return Unavailable("etcd is not installed: install Debian's etcd-server, or set KUBEBUILDER_ASSETS")
    folder = cache()
    if not all((folder / program).exists() for program in PROGRAMS):
        if shutil.which("go") is None:
            return Unavailable("kube-apiserver is not built and there is no Go: install Go, or set KUBEBUILDER_ASSETS")
        build(folder)
    return _in(folder, Path(etcd))


def _in(folder: Path, etcd: Path) -> Binaries | Unavailable:
    found = Binaries(etcd, *(folder / program for program in PROGRAMS))
    missing = [str(path) for path in (found.etcd, found.apiserver, found.kubectl) if not os.access(path, os.X_OK)]
    return Unavailable(f"not there or not executable: {', '.join(missing)}") if missing else found


def cache() -> Path:
    """Where built programs are kept, outside the tree."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "zonebridge" / f"kubernetes-{version()}"


def build(folder: Path) -> None:
    """Build the programs into a folder, once even where two ask. Raises RealKubeError that names the log."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all((folder / program).exists() for program in PROGRAMS):
            return
        with tempfile.TemporaryDirectory(dir=folder) as made:
            packages = [f"k8s.io/kubernetes/cmd/{program}" for program in PROGRAMS]
            command = ["go", "build", "-trimpath", "-ldflags", _ldflags(), "-o", f"{made}/", *packages]
            with log.open("w") as output:
                ended = subprocess.run(
                    command,
                    cwd=MODULE,
                    env=os.environ | {"CGO_ENABLED": "0"},
                    stdout=output,
                    stderr=output,
                    check=False,
                )
            if ended.returncode:
                raise RealKubeError(f"building Kubernetes {version()} failed; see {log}")
            for program in PROGRAMS:
                (Path(made) / program).rename(folder / program)


def _ldflags() -> str:
    major, minor, _ = version().removeprefix("v").split(".")
    values = {"gitVersion": version(), "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X k8s.io/component-base/version.{name}={value}" for name, value in values.items())])


class RealKube:
    """etcd and kube-apiserver between `start` and `stop`; also a context manager. `kubeconfig` is an administrator's."""

    def __init__(self, programs: Binaries) -> None:
        self._programs = programs
        self._folder = tempfile.TemporaryDirectory(prefix="realkube-")
        self.directory = Path(self._folder.name)
        self.admin_token = "admin-token"
        self.ca_file = self.directory / "ca.pem"
        self.kubeconfig = self.directory / "kubeconfig"
        self._etcd_port, self._peer_port, self.port = _free_ports(3)
        self._etcd: subprocess.Popen[bytes] | None = None
        self._apiserver: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> Self:
        self._write_keys()
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig_of({})))
        self._etcd = self._run("etcd", self._etcd_command())
        self.start_apiserver()
        return self

    def stop(self) -> None:
        for process in (self._apiserver, self._etcd):
            _end(process)
        self._folder.cleanup()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start_apiserver(self) -> None:
        """Start it and wait until it is ready. Raises RealKubeError with the end of its log."""
        self._apiserver = self._run("kube-apiserver", self._apiserver_command())
        self._wait_ready(self._apiserver)

    def stop_apiserver(self) -> None:
        _end(self._apiserver)

    def restart_apiserver(self) -> None:
        self.stop_apiserver()
        self.start_apiserver()

    def pause_etcd(self) -> None:
        """Stop etcd in its tracks, so that every write hangs."""
        self._signal_etcd("STOP")

    def resume_etcd(self) -> None:
        self._signal_etcd("CONT")

    def _signal_etcd(self, name: str) -> None:
        if self._etcd is not None:
            subprocess.run(["kill", f"-{name}", str(self._etcd.pid)], check=True)

    def kubectl(
        self, *arguments: str, stdin: str | None = None, user: str | None = None, groups: Sequence[str] = ()
    ) -> str:
        """What kubectl prints, as an impersonated user if given. Raises CalledProcessError with its stderr."""
        who = ([f"--as={user}"] if user else []) + [f"--as-group={group}" for group in groups]
        command = [str(self._programs.kubectl), f"--kubeconfig={self.kubeconfig}", *who, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True).stdout

    def client(self, user: str | None = None, groups: Sequence[str] = ()) -> httpx.Client:
        """An HTTP client of the administrator, or of an impersonated user."""
        headers = [("Authorization", f"Bearer {self.admin_token}")]
        headers += [("Impersonate-User", user)] if user else []
        headers += [("Impersonate-Group", group) for group in groups]
        trust = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.Client(base_url=self.url, headers=headers, verify=trust, trust_env=False, timeout=30)

    def kubeconfig_for(self, user: str, groups: Sequence[str] = ()) -> Path:
        """A kubeconfig that acts as another user."""
        path = self.directory / f"kubeconfig-{re.sub(r'[^a-z0-9]+', '-', user)}"
        path.write_text(yaml.safe_dump(self._kubeconfig_of({"as": user, "as-groups": list(groups)})))
        return path

    def _kubeconfig_of(self, impersonated: dict[str, object]) -> dict[str, object]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": {"server": self.url, "certificate-authority": str(self.ca_file)}}],
            "users": [{"name": "admin", "user": {"token": self.admin_token} | impersonated}],
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "admin"}}],
            "current-context": "real",
        }

    def _write_keys(self) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca_file))
        served = authority.issue_cert("localhost", "127.0.0.1")
        served.private_key_pem.write_to_path(str(self.directory / "tls.key"))
        for pem in served.cert_chain_pems:
            pem.write_to_path(str(self.directory / "tls.crt"), append=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        (self.directory / "sa.key").write_bytes(text)
        (self.directory / "tokens.csv").write_text(f'{self.admin_token},admin,admin,"system:masters"\n')

    def _etcd_command(self) -> list[str]:
        client, peer = (f"http://127.0.0.1:{port}" for port in (self._etcd_port, self._peer_port))
        return [
            str(self._programs.etcd),
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ]

    def _apiserver_command(self) -> list[str]:
        here = self.directory
        return [
            str(self._programs.apiserver),
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--tls-cert-file={here / 'tls.crt'}",
            f"--tls-private-key-file={here / 'tls.key'}",
            f"--token-auth-file={here / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-account-issuer=https://localhost",
            f"--service-account-key-file={here / 'sa.key'}",
            f"--service-account-signing-key-file={here / 'sa.key'}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--allow-privileged=true",
            "--profiling=false",
        ]

    def _run(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.directory)

    def _wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        until = time.monotonic() + READY_SECONDS
        with self.client() as client:
            while time.monotonic() < until and process.poll() is None:
                if _ready(client):
                    return
                time.sleep(0.1)
        log = (self.directory / "kube-apiserver.log").read_text(errors="replace")
        raise RealKubeError(f"kube-apiserver is not ready; the end of its log:\n{log[-2000:]}")


def _ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").is_success
    except httpx.TransportError:
        return False


def _end(process: subprocess.Popen[bytes] | None) -> None:
    if process is None or process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _bound() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


def _free_ports(number: int) -> list[int]:
    with _bound() as one, _bound() as two, _bound() as three:
        return [made.getsockname()[1] for made in (one, two, three)][:number]


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
    print(f"kube-apiserver {version()} is at {found.apiserver} ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
