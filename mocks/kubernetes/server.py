"""A Kubernetes API server in small, over TLS, with a kubeconfig to reach it. It runs no controllers and no kubelets.

Tests use KubernetesServer; `python -m mocks kubernetes` runs `serve`.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

import typer
import yaml
from aiohttp import web

from mocks.kubernetes.calls import Call
from mocks.kubernetes.catalog import Catalog
from mocks.kubernetes.handlers import Habits, Handlers, Seen
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.status import Json
from mocks.kubernetes.store import Store
from mocks.kubernetes.verbs import Verbs
from mocks.serving import Authority, Fault, Faults, Handler, Server, play

NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")


class KubernetesServer:
    """The server, between `start` and `stop`; also a context manager.

    `directory` gets the CA and the kubeconfig; without one, a temporary directory does. `history` is how many changes
    of a kind a watch may lie behind.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        port: int = 0,
        token: str = "mock-token",
        history: int = 10_000,
        bookmark_seconds: float = 60.0,
        gone_as_status: bool = False,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self._temporary = None if directory else tempfile.TemporaryDirectory(prefix="mock-kubernetes-")
        self.directory = Path(self._temporary.name) if self._temporary else Path(directory or ".")
        self.token = token
        self.faults = Faults()
        self.store = Store(history)
        self.catalog = Catalog()
        self.habits = Habits(token, bookmark_seconds, gone_as_status)
        self.verbs = Verbs(self.store, self.catalog, clock)
        self._handlers = Handlers(self.store, self.catalog, self.verbs, self.habits)
        authority = Authority.create(self.directory)
        self.ca_file = authority.ca_file
        self.kubeconfig = self.directory / "kubeconfig"
        self._server = Server(self._application(), port=port, tls=authority.server_context())
        for name in NAMESPACES:
            self.create(_namespace(name))

    @property
    def url(self) -> str:
        return self._server.url

    @property
    def seen(self) -> list[Seen]:
        """Every request, in order."""
        return self._handlers.seen

    def counts(self) -> Counter[tuple[str, str]]:
        """How often each verb met each path."""
        return Counter((each.verb, each.path) for each in self.seen)

    @property
    def watches(self) -> int:
        """How many watches are open."""
        return len(self._handlers.streams)

    def close_watches(self, *, broken: bool = False) -> int:
        """End every open watch, cleanly or in the middle of an event. How many there were."""
        streams = list(self._handlers.streams)
        for stream in streams:
            stream.cut(broken=broken)
        return len(streams)

    def compact(self) -> None:
        """Forget the history: watches and continued lists from before are gone (410)."""
        self.store.compact()

    def create(self, item: Json) -> Json:
        """Create an object as a client would, without HTTP."""
        return self.verbs.create(Call(self._resource(item), _namespace_of(item), agent="mock"), item).body

    def set_status(self, item: Json) -> Json:
        """Write the status of an object that exists, as its kubelet or controller would."""
        call = Call(self._resource(item), _namespace_of(item), item["metadata"]["name"], "status", agent="mock")
        live = self.verbs.get(Call(call.resource, call.namespace, call.name)).body
        return self.verbs.update(call, live | {"status": item["status"]}).body

    def delete(self, item: Json) -> None:
        name = item["metadata"]["name"]
        self.verbs.delete(Call(self._resource(item), _namespace_of(item), name, agent="mock"), {})

    def install(self, paths: Sequence[Path]) -> list[str]:
        """Create every object of YAML files, or of the YAML files in directories. Their names."""
        files = [file for path in paths for file in (sorted(path.glob("*.y*ml")) if path.is_dir() else [path])]
        documents = [item for file in files for item in yaml.safe_load_all(file.read_text()) if item]
        return [self.create(item)["metadata"]["name"] for item in documents]

    def start(self) -> Self:
        self._server.start()
        self.kubeconfig.write_text(yaml.safe_dump(self._kubeconfig()))
        return self

    def stop(self) -> None:
        self.close_watches()
        self._server.stop()
        if self._temporary:
            self._temporary.cleanup()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _application(self) -> web.Application:
        app = web.Application(middlewares=[self._faulty], client_max_size=16 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handlers.handle)
        return app

    @web.middleware
    async def _faulty(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        fault = self.faults.next(request)
        if fault is None:
            return await handler(request)
        if fault.kind == "truncate" and request.query.get("watch", "") in {"1", "true", "True"}:
            return await self._truncated_watch(request, handler, fault)
        return await play(fault, request, handler)

    async def _truncated_watch(self, request: web.Request, handler: Handler, fault: Fault) -> web.StreamResponse:
        """A watch that lives for the fault's seconds, then breaks in the middle of an event."""
        loop = asyncio.get_running_loop()
        before = set(map(id, self._handlers.streams))

        def cut() -> None:
            for stream in self._handlers.streams:
                if id(stream) not in before:
                    stream.cut(broken=True)

        loop.call_later(fault.seconds, cut)
        return await handler(request)

    def _resource(self, item: Json) -> Resource:
        resource = self.catalog.by_kind(item["apiVersion"], item["kind"])
        if resource is None:
            raise LookupError(f"the mock serves no {item['kind']} of {item['apiVersion']}; create its definition first")
        return resource

    def _kubeconfig(self) -> Json:
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "mock", "cluster": cluster}],
            "users": [{"name": "mock", "user": {"token": self.token}}],
            "contexts": [{"name": "mock", "context": {"cluster": "mock", "user": "mock", "namespace": "default"}}],
            "current-context": "mock",
        }


def _namespace(name: str) -> Json:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _namespace_of(item: Json) -> str:
    namespace: str = item["metadata"].get("namespace", "")
    return namespace


def serve(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 0,
    crds: Annotated[
        Path | None, typer.Option(exists=True, help="YAML file or directory of objects to create first.")
    ] = None,
    tls_dir: Annotated[Path | None, typer.Option(help="Where to write the CA and the kubeconfig.")] = None,
    token: Annotated[str, typer.Option(help="The bearer token that clients must send.")] = "mock-token",
) -> None:
    """Serve a Kubernetes API in small until interrupted."""
    # blocked before any thread starts, so that every thread leaves these signals to sigwait
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    with KubernetesServer(tls_dir, port=port, token=token) as server:
        if crds:
            server.install([crds])
        print(f"kubernetes {server.url} kubeconfig {server.kubeconfig}", flush=True)
        signal.sigwait(stops)
