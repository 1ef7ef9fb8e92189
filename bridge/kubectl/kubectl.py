"""kubectl as the plugin's way to the API server: it reads the kubeconfig and signs in, however a site does that.

One `kubectl proxy` on a socket that only its own user can open serves all requests of a command, and ends with it.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from zones.canonical import Json
from zones.kube.api import JSON, LONGEST, Api, Reply, status_message
from zones.kube.errors import (
    AnswerTooLongError,
    ClusterConflictError,
    ClusterError,
    ClusterRefusedError,
    ClusterUnreachableError,
    ExpiredError,
)
from zones.runtime.errors import InputError

PROGRAM = "kubectl"
_SECONDS = 60.0
_END_SECONDS = 5.0


class Kubectl:
    """kubectl with the options that say which cluster, and as whom. Its complaints go to our standard error."""

    def __init__(self, options: Sequence[str]) -> None:
        self._options = tuple(options)

    def command(self, *arguments: str) -> list[str]:
        """Raises InputError where there is no kubectl."""
        program = shutil.which(PROGRAM)
        if program is None:
            raise InputError("kubectl is not on the PATH; install it, as this plugin reaches the cluster by it")
        return [program, *self._options, *arguments]

    def words(self, *arguments: str) -> list[str]:
        """What it prints, word by word; nothing where it fails, which it tells nobody."""
        command = self.command(*arguments)
        ended = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
        return ended.stdout.split() if ended.returncode == 0 else []

    def namespace(self) -> str:
        """The context's, as kubectl takes it where none is given."""
        return next(iter(self.words("config", "view", "--minify", "--output=jsonpath={..namespace}")), "default")


class KubectlProxy(Api):
    """Requests through a proxy of kubectl. Implements `zones.kube.api.Api`. A context manager: it runs within."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self._folder = tempfile.TemporaryDirectory(prefix="kubectl-zonebridge-")  # nobody else may look into it
        self._socket = str(Path(self._folder.name) / "api")
        self._proxy: subprocess.Popen[str] | None = None

    @property
    def name(self) -> str:
        return "kubectl"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._proxy is not None:
            self._proxy.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._proxy.wait(_END_SECONDS)
            self._proxy.kill()
            self._proxy.wait()
            if self._proxy.stdout is not None:
                self._proxy.stdout.close()
        self._folder.cleanup()

    async def close(self) -> None:
        """Nothing: it ends with the command."""

    async def ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
        most: int = LONGEST,
    ) -> Reply:
        self._start()
        target = quote(path) + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": accept, "Content-Type": content_type}
        content = None if body is None else json.dumps(body).encode()
        try:
            status, text = await asyncio.to_thread(self._exchange, method, target, content, headers, most + 1)
        except (OSError, HTTPException) as error:
            raise ClusterUnreachableError(f"{doing}: no answer by kubectl: {error or type(error).__name__}") from error
        if len(text) > most:
            raise AnswerTooLongError(f"{doing}: the answer has more than {most} octets")
        if status == HTTPStatus.NOT_FOUND:
            return Reply(None, len(text))
        if status >= HTTPStatus.BAD_REQUEST:
            raise _error(status, f"{doing}: {status}: {status_message(text)}")
        try:
            answer = json.loads(text)
        except ValueError as error:
            raise ClusterUnreachableError(f"{doing}: the answer is no JSON: {status_message(text)}") from error
        if not isinstance(answer, dict):
            raise ClusterUnreachableError(f"{doing}: the answer is no object")
        return Reply(answer, len(text))

    def _exchange(
        self, method: str, target: str, content: bytes | None, headers: Mapping[str, str], most: int
    ) -> tuple[int, bytes]:
        connection = _UnixConnection(self._socket)
        try:
            connection.request(method, target, content, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.read(most)
        finally:
            connection.close()

    def _start(self) -> None:
        """Once; kubectl says itself what is wrong. Raises ClusterRefusedError."""
        if self._proxy is not None:
            return
        command = self._kubectl.command("proxy", f"--unix-socket={self._socket}", "--api-prefix=/")
        self._proxy = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - no shell
        if self._proxy.stdout is None or not self._proxy.stdout.readline().startswith("Starting to serve"):
            raise ClusterRefusedError("connecting to the cluster: kubectl proxy ended; what it says is above")


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _error(status: int, what: str) -> ClusterError:
    if status == HTTPStatus.CONFLICT:
        return ClusterConflictError(f"{what}; try again")
    if status == HTTPStatus.GONE:
        return ExpiredError(what)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return ClusterRefusedError(f"{what}; ask for the right, or choose another --context or --as")
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        return ClusterUnreachableError(f"{what}; try again")
    return ClusterRefusedError(what)
