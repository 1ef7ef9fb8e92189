"""What the mock API server has beyond the contract: faults, tuned habits, doors for tests, its own limits."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from mocks.kubernetes import ApiError, KubernetesServer, Store
from mocks.kubernetes.patches import strategic_merge_patch
from mocks.kubernetes.selectors import label_selector
from mocks.kubernetes.store import CompactedError
from mocks.kubernetes.tables import find
from mocks.serving import Fault

Json = dict[str, Any]
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


def config_map(name: str, **data: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


def pod(name: str, namespace: str = "default") -> Json:
    spec = {"containers": [{"name": "main", "image": "example/main:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def definition(*versions: str) -> Json:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    listed = [{"name": name, "served": True, "storage": name == versions[0], "schema": schema} for name in versions]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.mock.example"},
        "spec": {
            "group": "mock.example",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": "things"},
            "versions": listed,
        },
    }


@contextmanager
def connected(server: KubernetesServer) -> Iterator[httpx.Client]:
    context = ssl.create_default_context(cafile=str(server.ca_file))
    headers = {"Authorization": f"Bearer {server.token}"}
    with httpx.Client(base_url=server.url, verify=context, headers=headers, trust_env=False, timeout=20) as http:
        yield http


@pytest.fixture
def server() -> Iterator[KubernetesServer]:
    with KubernetesServer() as running:
        yield running


@pytest.fixture
def http(server: KubernetesServer) -> Iterator[httpx.Client]:
    with connected(server) as client:
        yield client


def watch(http: httpx.Client, path: str = CONFIG_MAPS, **query: Any) -> list[Json]:
    params = {"watch": "1", "timeoutSeconds": 1} | query
    with http.stream("GET", path, params=params) as response:
        assert response.status_code == 200, response.read()
        return [json.loads(line) for line in response.iter_lines()]


class TestFaults:
    def test_too_many_requests(self, server: KubernetesServer, http: httpx.Client) -> None:
        server.faults.add(Fault("status", "configmaps", status=429, headers={"Retry-After": "1"}))
        refused = http.get(CONFIG_MAPS)
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
        assert http.get(CONFIG_MAPS).status_code == 200

    def test_a_reset_connection(self, server: KubernetesServer, http: httpx.Client) -> None:
        server.faults.add(Fault("reset", "configmaps"))
        with pytest.raises(httpx.TransportError):
            http.get(CONFIG_MAPS)

    def test_half_an_answer(self, server: KubernetesServer, http: httpx.Client) -> None:
        server.create(config_map("a"))
        server.faults.add(Fault("truncate", "configmaps"))
        with pytest.raises(httpx.RemoteProtocolError):
            http.get(CONFIG_MAPS)

    def test_a_watch_that_breaks(self, server: KubernetesServer, http: httpx.Client) -> None:
        server.faults.add(Fault("truncate", "watch=1", seconds=0.1))
        with pytest.raises(httpx.TransportError):
            watch(http, timeoutSeconds=10)
        assert server.watches == 0


class TestWatches:
    def test_closed_by_the_server(
        self, server: KubernetesServer, http: httpx.Client, until: Callable[..., Any]
    ) -> None:
        closer = threading.Thread(target=lambda: until(lambda: server.watches == 2) and server.close_watches())
        with connected(server) as other:
            held = threading.Thread(target=lambda: watch(other, timeoutSeconds=60))
            held.start()
            closer.start()
            assert watch(http, timeoutSeconds=60) == []
            held.join(10)
        closer.join(10)
        assert server.watches == 0

    def test_broken_by_the_server(
        self, server: KubernetesServer, http: httpx.Client, until: Callable[..., Any]
    ) -> None:
        closer = threading.Thread(
            target=lambda: until(lambda: server.watches == 1) and server.close_watches(broken=True)
        )
        closer.start()
        with pytest.raises(httpx.TransportError):
            watch(http, timeoutSeconds=60)
        closer.join(10)

    def test_gone_after_a_compaction(self, server: KubernetesServer, http: httpx.Client) -> None:
        old = server.create(config_map("a"))["metadata"]["resourceVersion"]
        server.create(config_map("b"))
        server.compact()
        (event,) = watch(http, resourceVersion=old)
        assert (event["type"], event["object"]["code"], event["object"]["reason"]) == ("ERROR", 410, "Expired")
        new = http.get(CONFIG_MAPS).json()["metadata"]["resourceVersion"]
        server.create(config_map("c"))
        (event,) = watch(http, resourceVersion=new)
        assert event["object"]["metadata"]["name"] == "c"

    def test_gone_while_it_runs_too_slowly(self, http: httpx.Client) -> None:
        with KubernetesServer(history=5) as server, connected(server) as client:
            start = client.get(CONFIG_MAPS).json()["metadata"]["resourceVersion"]
            for number in range(12):
                server.create(config_map(f"c{number}"))
            (event,) = watch(client, resourceVersion=start)
            assert event["object"]["code"] == 410

    def test_gone_as_a_status(self) -> None:
        with KubernetesServer(gone_as_status=True) as server, connected(server) as client:
            response = client.get(CONFIG_MAPS, params={"watch": "1", "resourceVersion": "1"})
            assert (response.status_code, response.json()["reason"]) == (410, "Expired")

    def test_bookmarks_as_often_as_told(self) -> None:
        with KubernetesServer(bookmark_seconds=0.1) as server, connected(server) as client:
            start = client.get(CONFIG_MAPS).json()["metadata"]["resourceVersion"]
            mover = threading.Timer(0.3, server.store.advance)
            mover.start()
            events = watch(client, resourceVersion=start, allowWatchBookmarks="true")
            mover.join()
        assert [event["type"] for event in events] == ["BOOKMARK"]
        assert int(events[0]["object"]["metadata"]["resourceVersion"]) == int(start) + 1

    def test_a_streamed_list_ends_with_a_bookmark(self, server: KubernetesServer, http: httpx.Client) -> None:
        server.create(config_map("a"))
        query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        added, end = watch(http, **query)
        assert (added["type"], end["type"]) == ("ADDED", "BOOKMARK")
        assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    def test_as_tables(self, server: KubernetesServer, http: httpx.Client) -> None:
        server.create(config_map("a"))
        http.headers["Accept"] = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
        (event,) = watch(http)
        assert event["object"]["kind"] == "Table"
        assert event["object"]["rows"][0]["cells"][0] == "a"


def test_a_page_token_expires(server: KubernetesServer, http: httpx.Client) -> None:
    for name in "abc":
        server.create(config_map(name))
    token = http.get(CONFIG_MAPS, params={"limit": 1}).json()["metadata"]["continue"]
    server.create(config_map("d"))
    server.compact()
    gone = http.get(CONFIG_MAPS, params={"limit": 1, "continue": token})
    assert (gone.status_code, gone.json()["reason"]) == (410, "Expired")


def test_a_list_from_the_future(server: KubernetesServer, http: httpx.Client) -> None:
    response = http.get(CONFIG_MAPS, params={"resourceVersion": "999999"})
    assert (response.status_code, response.json()["reason"]) == (504, "Timeout")
    assert response.json()["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_requests_are_counted_by_verb_and_path(server: KubernetesServer, http: httpx.Client) -> None:
    http.get(CONFIG_MAPS)
    http.get(CONFIG_MAPS, params={"limit": 5})
    watch(http)
    http.post(CONFIG_MAPS, json=config_map("a"))
    counts = server.counts()
    assert counts["list", CONFIG_MAPS] == 2
    assert counts["watch", CONFIG_MAPS] == 1
    assert counts["create", CONFIG_MAPS] == 1
    assert server.seen[1].query == {"limit": "5"}


def test_the_token_guards_everything_but_health(server: KubernetesServer, http: httpx.Client) -> None:
    http.headers.pop("Authorization")
    assert http.get("/healthz").status_code == 200
    assert http.get("/version").status_code == 200
    assert http.get("/apis").status_code == 401


def test_impersonation_is_ignored(http: httpx.Client) -> None:
    assert http.get(CONFIG_MAPS, headers={"Impersonate-User": "somebody"}).status_code == 200


def test_objects_made_and_changed_from_the_test(server: KubernetesServer, http: httpx.Client) -> None:
    server.create(pod("a"))
    server.set_status(pod("a") | {"status": {"phase": "Running", "podIP": "10.0.0.9"}})
    path = "/api/v1/namespaces/default/pods/a"
    assert http.get(path).json()["status"]["podIP"] == "10.0.0.9"
    with pytest.raises(ApiError):
        server.create(pod("a"))
    server.delete(pod("a"))
    assert http.get(path).status_code == 404


def test_a_kind_that_is_not_served_is_named(server: KubernetesServer) -> None:
    with pytest.raises(LookupError, match=r"serves no Thing of mock\.example/v1"):
        server.create({"apiVersion": "mock.example/v1", "kind": "Thing", "metadata": {"name": "a"}})


def test_definitions_from_files(server: KubernetesServer, http: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / "things.yaml").write_text(yaml.safe_dump(definition("v1")))
    assert server.install([tmp_path]) == ["things.mock.example"]
    assert http.get("/apis/mock.example/v1/things").json()["items"] == []


def test_every_version_shows_the_same_objects(server: KubernetesServer, http: httpx.Client) -> None:
    server.create(definition("v1", "v1beta1"))
    path = "/apis/mock.example/{}/namespaces/default/things"
    http.post(path.format("v1"), json={"apiVersion": "mock.example/v1", "kind": "Thing", "metadata": {"name": "a"}})
    (item,) = http.get(path.format("v1beta1")).json()["items"]
    assert item["apiVersion"] == "mock.example/v1beta1"
    assert http.get("/apis/mock.example").json()["preferredVersion"]["version"] == "v1"


def test_a_namespace_takes_its_objects_along(server: KubernetesServer, http: httpx.Client) -> None:
    server.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})
    server.create(pod("a", "team"))
    start = http.get("/api/v1/pods").json()["metadata"]["resourceVersion"]
    http.delete("/api/v1/namespaces/team")
    assert http.get("/api/v1/namespaces/team").status_code == 404
    assert [event["type"] for event in watch(http, "/api/v1/pods", resourceVersion=start)] == ["DELETED"]


def test_a_pod_is_bound_to_its_node(server: KubernetesServer, http: httpx.Client) -> None:
    server.create(pod("a"))
    path = "/api/v1/namespaces/default/pods/a"
    assert http.post(f"{path}/binding", json={"target": {"kind": "Node", "name": "n1"}}).status_code == 201
    assert http.get(path).json()["spec"]["nodeName"] == "n1"


def test_containers_merge_by_name(http: httpx.Client) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/web"
    template = {"spec": {"containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}}
    apply = {"Content-Type": "application/apply-patch+yaml"}
    http.patch(path, content=json.dumps(body), headers=apply, params={"fieldManager": "one"})
    body["spec"] = {"template": {"spec": {"containers": [{"name": "c", "image": "c:1"}]}}}
    merged = http.patch(path, content=json.dumps(body), headers=apply, params={"fieldManager": "two"}).json()
    assert [each["name"] for each in merged["spec"]["template"]["spec"]["containers"]] == ["a", "b", "c"]


def test_protobuf_is_declined(http: httpx.Client) -> None:
    headers = {"Content-Type": "application/vnd.kubernetes.protobuf"}
    assert http.post(CONFIG_MAPS, content=b"k8s\x00", headers=headers).status_code == 415


def test_a_clock_of_the_tests_own() -> None:
    with KubernetesServer(clock=lambda: datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)) as server:
        assert server.create(config_map("a"))["metadata"]["creationTimestamp"] == "2030-01-02T03:04:05Z"


def test_the_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    program = "import typer; from mocks.kubernetes import serve; typer.run(serve)"
    (tmp_path / "things.yaml").write_text(yaml.safe_dump(definition("v1")))
    command = [sys.executable, "-c", program, "--tls-dir", str(tmp_path / "tls"), "--crds", str(tmp_path)]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ) as process:
        assert process.stdout is not None
        word, url, _, kubeconfig = process.stdout.readline().split()
        context = ssl.create_default_context(cafile=str(tmp_path / "tls" / "ca.pem"))
        token = yaml.safe_load(Path(kubeconfig).read_text())["users"][0]["user"]["token"]
        headers = {"Authorization": f"Bearer {token}"}
        served = httpx.get(f"{url}/apis/mock.example/v1/things", verify=context, headers=headers, trust_env=False)
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    assert word == "kubernetes"
    assert served.status_code == 200


class TestStore:
    def test_past_states(self) -> None:
        store = Store()
        first = store.put("b", {"metadata": {"name": "a"}, "n": 1})
        then = store.revision
        store.put("b", first | {"n": 2})
        store.put("b", {"metadata": {"name": "c"}})
        assert [item["n"] for item in store.items("b", at=then)] == [1]
        store.remove("b", ("", "a"))
        assert [item["metadata"]["name"] for item in store.items("b")] == ["c"]

    def test_what_is_compacted_is_gone(self) -> None:
        store = Store()
        store.put("b", {"metadata": {"name": "a"}})
        then = store.revision
        store.put("b", {"metadata": {"name": "c"}})
        assert len(store.since("b", then)) == 1
        store.compact()
        with pytest.raises(CompactedError):
            store.since("b", then)
        assert store.since("b", store.revision) == []

    def test_writers_in_threads_lose_nothing(self) -> None:
        store = Store()

        def write(worker: int) -> None:
            for number in range(200):
                store.put("b", {"metadata": {"name": f"{worker}-{number}"}})

        workers = [threading.Thread(target=write, args=(worker,)) for worker in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        changes = store.since("b", store.floor("b"))
        assert len(changes) == 800
        assert [change.revision for change in changes] == sorted(change.revision for change in changes)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (".spec.side", ["north"]),
        ("spec.side", ["north"]),
        (".spec.none", []),
        (".spec.list[1]", ["b"]),
        (".spec.list[*]", ["a", "b"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (r".metadata.labels.a\.example/b", ["c"]),
        ("['spec'].side", ["north"]),
    ],
)
def test_paths_of_printer_columns(path: str, expected: list[str]) -> None:
    item = {
        "metadata": {"labels": {"a.example/b": "c"}},
        "spec": {"side": "north", "list": ["a", "b"]},
        "status": {"conditions": [{"type": "X", "status": "?"}, {"type": "Ready", "status": "True"}]},
    }
    assert find(item, path) == expected


def test_strategic_patches_of_known_lists() -> None:
    target = {"containers": [{"name": "a", "image": "1"}, {"name": "b"}], "args": ["x"], "finalizers": ["f"]}
    patch = {
        "containers": [{"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}, {"name": "c"}],
        "args": ["y"],
        "finalizers": ["g"],
    }
    assert strategic_merge_patch(target, patch) == {
        "containers": [{"name": "a", "image": "2"}, {"name": "c"}],
        "args": ["y"],
        "finalizers": ["f", "g"],
    }
    assert strategic_merge_patch({"finalizers": ["f", "g"]}, {"$deleteFromPrimitiveList/finalizers": ["f"]}) == {
        "finalizers": ["g"]
    }


def test_a_label_that_is_absent_is_in_no_set() -> None:
    assert label_selector("a notin (b)")({"metadata": {}})
    assert not label_selector("a in (b)")({"metadata": {}})
