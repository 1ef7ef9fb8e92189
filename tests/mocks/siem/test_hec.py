"""The collector on the wire: TLS, faults, restarts, waiting."""

from __future__ import annotations

import gzip
import io
import json
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from mocks.serving import Fault
from mocks.siem import HecServer, Token
from tests.mocks.siem.conftest import ACK_TOKEN, CHANNEL, TOKEN

EVENT = b'{"event":"x"}'
PATH = "/services/collector/event"


def test_success_and_refusal_on_the_wire(http: httpx.Client) -> None:
    good = http.post(PATH, content=EVENT)
    assert (good.status_code, good.text) == (200, '{"text":"Success","code":0}')
    assert good.headers["Content-Type"].startswith("application/json")
    bad = http.post(PATH, content=EVENT + b"{}")
    assert (bad.status_code, bad.json()["invalid-event-number"]) == (400, 1)


def test_only_its_authority_is_to_be_trusted(tmp_path: Path) -> None:
    with HecServer(TOKEN, tls_dir=tmp_path) as hec:
        assert hec.ca_file == tmp_path / "ca.pem"
        trusting = ssl.create_default_context(cafile=str(hec.ca_file))
        assert httpx.get(f"{hec.url}/services/collector/health", verify=trusting).json()["code"] == 17
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{hec.url}/services/collector/health")


def test_gzip_arrives_packed(hec: HecServer, http: httpx.Client) -> None:
    packed = gzip.compress(EVENT * 100)
    assert http.post(PATH, content=packed, headers={"Content-Encoding": "gzip"}).json()["code"] == 0
    assert hec.wire_bytes == len(packed)
    assert len(hec.events) == 100
    assert http.post(PATH, content=EVENT, headers={"Content-Encoding": "deflate"}).status_code == 415


def test_a_body_of_megabytes_is_the_collectors_to_refuse(hec: HecServer, http: httpx.Client) -> None:
    body = b'{"event":"' + b"x" * 3_000_000 + b'"}'
    assert http.post(PATH, content=body).status_code == 413
    hec.max_content_length = 4_000_000
    assert http.post(PATH, content=body).status_code == 200


def test_acks_on_the_wire(http: httpx.Client) -> None:
    headers = {"Authorization": f"Splunk {ACK_TOKEN}", "X-Splunk-Request-Channel": CHANNEL}
    assert http.post(PATH, content=EVENT, headers=headers).json() == {"text": "Success", "code": 0, "ackId": 0}
    answer = http.post("/services/collector/ack", json={"acks": [0, 1]}, headers=headers)
    assert answer.json() == {"acks": {"0": True, "1": False}}


def test_a_reset_after_the_commit_makes_a_sender_repeat_itself(hec: HecServer, http: httpx.Client) -> None:
    hec.reset_after_commit()
    with pytest.raises(httpx.TransportError):
        http.post(PATH, content=EVENT)
    assert http.post(PATH, content=EVENT).status_code == 200
    assert len(hec.events) == 2


def test_a_reset_before_it_does_not(hec: HecServer, http: httpx.Client) -> None:
    hec.faults.add(Fault("reset"))
    with pytest.raises(httpx.TransportError):
        http.post(PATH, content=EVENT)
    assert http.post(PATH, content=EVENT).status_code == 200
    assert len(hec.events) == 1


def test_a_slow_reply_comes_after_the_commit(hec: HecServer, http: httpx.Client) -> None:
    hec.stall_after_commit(5)
    with pytest.raises(httpx.ReadTimeout):
        http.post(PATH, content=EVENT, timeout=0.2)
    assert len(hec.wait_for(bool)) == 1


def test_retry_after_is_a_header(hec: HecServer, http: httpx.Client) -> None:
    hec.answer(26, retry_after=2)
    reply = http.post(PATH, content=EVENT)
    assert (reply.status_code, reply.headers["Retry-After"], reply.json()["code"]) == (429, "2", 26)


def test_a_proxy_may_answer_instead(hec: HecServer, http: httpx.Client) -> None:
    hec.faults.add(Fault("status", status=502, body="<h1>Bad Gateway</h1>"))
    assert http.post(PATH, content=EVENT).status_code == 502
    assert hec.requests == 0


def test_away_and_back_on_the_same_port(hec: HecServer) -> None:
    url = f"{hec.url}{PATH}"
    headers = {"Authorization": f"Splunk {TOKEN}"}
    assert httpx.post(url, content=EVENT, headers=headers).status_code == 200
    hec.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.post(url, content=EVENT, headers=headers)
    hec.start()
    assert httpx.post(url, content=EVENT, headers=headers).status_code == 200
    assert len(hec.events) == 2


def test_a_taken_port_is_an_error_and_leaves_nothing_behind(hec: HecServer) -> None:
    with pytest.raises(OSError, match="ddress already in use"):
        HecServer(TOKEN, port=hec.port, tls=False).start()


def test_waiting_for_events(hec: HecServer, http: httpx.Client) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(hec.wait_for, lambda events: len(events) == 3, 10)
        for _ in range(3):
            http.post(PATH, content=EVENT)
        assert len(waiting.result(10)) == 3
    with pytest.raises(TimeoutError, match="3 did"):
        hec.wait_for(lambda events: len(events) == 4, 0.05)


def test_events_are_written_as_lines_and_the_oldest_forgotten() -> None:
    out = io.StringIO()
    with HecServer(Token(TOKEN), tls=False, out=out, keep=2) as hec:
        body = b"".join(b'{"event":%d}' % number for number in range(5))
        httpx.post(f"{hec.url}{PATH}", content=body, headers={"Authorization": f"Splunk {TOKEN}"})
        assert [event.event for event in hec.events] == [3, 4]
        assert hec.journal.total == 5
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [0, 1, 2, 3, 4]
    assert lines[0]["via"] == "hec"
