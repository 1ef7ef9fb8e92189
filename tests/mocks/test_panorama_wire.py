"""The wire of the mock Panorama, seen with a plain HTTP client: paths, credentials, status codes, faults, traffic."""

from __future__ import annotations

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from xml.etree.ElementTree import fromstring

import httpx
import pytest

from mocks.serving import Fault
from tests.mocks.panoramas import K8S, RULES, served

INFO = {"type": "op", "cmd": "<show><system><info/></system></show>"}


@pytest.fixture
def server():
    with served() as running:
        yield running


@pytest.fixture
def http(server):
    with client(server) as made:
        yield made


def client(server, **settings) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(server.ca_file))
    return httpx.Client(base_url=server.url, verify=context, timeout=10, **settings)


@pytest.fixture
def key(http) -> str:
    answer = http.post("/api/", data={"type": "keygen", "user": "admin", "password": "admin"})
    return fromstring(answer.text).findtext("result/key")


@pytest.mark.parametrize("path", ["/api", "/api/"])
def test_both_paths_both_methods_and_three_credentials(http, key, path):
    answers = [
        http.post(path, data=INFO | {"key": key}),
        http.get(path, params=INFO | {"key": key}),
        http.post(path, data=INFO, headers={"X-PAN-KEY": key}),
        http.post(path, data=INFO, auth=("admin", "admin")),
        http.post(path, params={"key": key}, data=INFO),
    ]
    for answer in answers:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("application/xml")
        assert fromstring(answer.text).findtext("result/system/hostname") == "panorama"


@pytest.mark.parametrize(
    "asked",
    [
        {"data": INFO},
        {"data": INFO | {"key": "nonsense"}},
        {"data": INFO, "headers": {"X-PAN-KEY": "nonsense"}},
        {"data": INFO, "auth": ("admin", "wrong")},
        {"data": INFO, "headers": {"Authorization": "Basic %%%"}},
        {"data": {"type": "keygen", "user": "admin", "password": "wrong"}},
        {"data": {"type": "keygen"}},
    ],
)
def test_bad_credentials_are_403_with_xml(http, asked):
    answer = http.post("/api/", **asked)
    assert (answer.status_code, answer.reason_phrase) == (403, "Invalid Credential")
    root = fromstring(answer.text)
    assert (root.get("status"), root.get("code"), root.findtext("result/msg")) == ("error", "403", "Invalid Credential")


def test_an_expired_key_is_400(server, http, key):
    server.panorama.expire_keys()
    answer = http.post("/api/", data=INFO | {"key": key})
    assert answer.status_code == 400
    assert answer.reason_phrase.startswith("Key Expired")
    assert fromstring(answer.text).get("code") == "400"


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"type": "nonsense"},
        {"type": "op"},
        {"type": "config"},
        {"type": "config", "action": "nonsense"},
        {"type": "config", "action": "set"},
        {"type": "config", "action": "set", "xpath": f"{K8S}/tag"},
        {"type": "export", "category": "nonsense"},
        {"type": "log", "log-type": "traffic"},
        {"type": "report", "reportname": "\u2603\r\nX: y"},
        {"type": "import", "category": "configuration"},
    ],
)
def test_missing_or_illegal_parameters_are_400(http, key, params):
    answer = http.post("/api/", data=params | {"key": key})
    assert answer.status_code == 400
    assert fromstring(answer.text).get("code") == "400"


def test_bodies_that_are_no_form_are_400(http, key):
    headers = {"X-PAN-KEY": key}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http.post("/api/", content=b"\xff\x00&&=", headers=headers | form).status_code == 400
    assert http.post("/api/", content=b"&".join([b"a=1"] * 5000), headers=headers | form).status_code == 400
    multipart = {"Content-Type": "multipart/form-data"}
    assert http.post("/api/", content=b"no boundary", headers=headers | multipart).status_code == 400


def test_hostile_xml_is_refused(http, key):
    bomb = '<!DOCTYPE a [<!ENTITY b "bbbb">]><show><system>&b;</system></show>'
    outside = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><show>&b;</show>'
    deep = "<a>" * 5000 + "</a>" * 5000
    for cmd in (bomb, outside, deep, "<show>", "", "\ud83d", "<a/><b/>"):
        answer = http.post("/api/", data={"type": "op", "cmd": cmd.encode("utf-8", "replace"), "key": key})
        assert fromstring(answer.text).get("code") in {"18", "400", "17"}
    element = {"type": "config", "action": "set", "xpath": f"{K8S}/tag", "element": deep, "key": key}
    assert fromstring(http.post("/api/", data=element).text).get("code") == "12"


def test_a_serial_that_is_not_there_is_told_so(http, key):
    answer = http.post("/api/", data=INFO | {"key": key, "target": "0123"})
    assert "0123 not connected" in answer.text


def test_other_paths_are_404(http):
    assert http.get("/php/login.php").status_code == 404


def test_multi_config_applies_in_order_and_strictly_all_or_nothing(http, key):
    def send(element: str, **more: str):
        data = {"type": "config", "action": "multi-config", "element": element, "key": key, **more}
        return fromstring(http.post("/api/", data=data).text)

    xpath = f"{K8S}/tag/entry[@name='%s']"
    good = f'<set id="1" xpath="{xpath % "a"}"><comments>c</comments></set><delete id="2" xpath="{xpath % "a"}"/>'
    answer = send(f"<multi-config>{good}</multi-config>")
    assert [(one.get("id"), one.get("code")) for one in answer] == [("1", "20"), ("2", "20")]
    bad = f'<set id="3" xpath="{xpath % "b"}"><comments>c</comments></set><move id="4" xpath="{xpath % "z"}" where="top"/>'
    answer = send(f"<multi-configure-request>{bad}</multi-configure-request>", **{"strict-transactional": "yes"})
    assert answer.get("status") == "error"
    assert [(one.get("id"), one.get("code")) for one in answer] == [("3", "20"), ("4", "7")]
    got = http.post("/api/", data={"type": "config", "action": "get", "xpath": xpath % "b", "key": key})
    assert fromstring(got.text).get("code") == "7"


def test_an_imported_configuration_can_be_loaded_committed_and_exported(server, http, key):
    text = server.panorama.running_xml().replace("192.0.2.53/32", "192.0.2.54/32")
    params = {"type": "import", "category": "configuration", "key": key}
    answer = http.post("/api/", params=params, files={"file": ("next.xml", text.encode())})
    assert fromstring(answer.text).get("status") == "success"
    exported = http.get("/api/", params={"type": "export", "category": "configuration", "from": "next.xml", "key": key})
    assert exported.text == text
    load = "<load><config><from>next.xml</from></config></load>"
    assert "Config loaded" in http.post("/api/", data={"type": "op", "cmd": load, "key": key}).text
    assert server.panorama.pending
    server.panorama.commit()
    server.panorama.finish_jobs()
    assert server.panorama.running_xml() == text


def test_calls_are_counted_and_secrets_are_not_kept(server, http, key):
    server.panorama.traffic.clear()
    http.post("/api/", data={"type": "config", "action": "show", "xpath": f"{K8S}/{RULES}", "key": key})
    http.post("/api/", data=INFO, auth=("admin", "admin"))
    traffic = server.panorama.traffic
    assert dict(traffic.counted()) == {"config/show": 1, "op": 1}
    assert traffic.calls[0].subject == f"{K8S}/{RULES}"
    assert key not in repr(traffic.calls)


def test_requests_at_once_are_seen(server, key):
    server.panorama.latency = 0.3
    with client(server) as http, ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: http.post("/api/", data=INFO | {"key": key}), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert 2 <= server.panorama.traffic.most <= 4


def test_a_slow_answer_outlasts_a_clients_patience(server, key):
    server.faults.add(Fault("slow", path="type=op", seconds=5))
    with client(server) as http, pytest.raises(httpx.ReadTimeout):
        http.post("/api/", data=INFO | {"key": key}, timeout=0.2)


def test_a_reset_connection(server, http, key):
    server.faults.add(Fault("reset"))
    with pytest.raises(httpx.TransportError):
        http.post("/api/", data=INFO | {"key": key})
    assert http.post("/api/", data=INFO | {"key": key}).status_code == 200


def test_a_truncated_answer(server, http, key):
    server.faults.add(Fault("truncate"))
    with pytest.raises(httpx.TransportError):
        http.post("/api/", data=INFO | {"key": key})


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_status_hits_only_what_it_names(server, http, key, status):
    server.faults.add(Fault("status", path="action=show", status=status, headers={"Retry-After": "1"}))
    assert http.post("/api/", data=INFO | {"key": key}).status_code == 200
    show = {"type": "config", "action": "show", "xpath": "/config/shared", "key": key}
    assert http.post("/api/", data=show).status_code == status
    assert http.post("/api/", data=show).status_code == 200


def test_tls_is_really_verifiable(server):
    with httpx.Client(base_url=server.url) as stranger, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY"):
        stranger.get("/api/")


def test_a_stopped_server_is_gone():
    with served() as server:
        address = (server.host, server.port)
        ca_file = server.ca_file
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, timeout=2)
    assert not ca_file.exists()
