"""What a SOAR may ask for, as whom, and how often; hostile bodies and callers."""

import asyncio
import json
import ssl

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import SecretError
from bridge.listeners.quarantines import MAX_BODY, QuarantineDoor, quarantine_requests
from bridge.quarantine.requests import parse_request
from bridge.settings.models import QuarantineListenerSettings
from zones.kube.errors import ClusterRefusedError, ClusterUnreachableError
from zones.runtime.errors import InputError
from zones.tiers.quarantines import Quarantine

TOKEN = "what-a-soar-knows"
GOOD = {"pod": {"namespace": "shop", "name": "web-0"}, "reason": "beacon"}


class FakeQuarantines:
    """Answers as a cluster; `trouble` is raised."""

    def __init__(self):
        self.asked, self.trouble = [], None

    async def add(self, request, caller):
        if self.trouble:
            raise self.trouble
        self.asked.append((request, caller))
        return Quarantine("web-0-1", "", "shop", pod="web-0"), len(self.asked) == 1

    async def release(self, name):
        if self.trouble:
            raise self.trouble
        self.asked.append(name)

    def json(self, quarantine):
        return {"name": quarantine.name}


def answers(requests, *, clusters=None, door=None, verify=True, scheme="http", cert=None):
    """The answers to some requests, and what was asked of the cluster."""
    clusters = clusters or {"c1": FakeQuarantines()}
    door = door or QuarantineDoor(("127.0.0.1", 0), lambda: TOKEN)

    async def scenario():
        async with quarantine_requests(door, clusters, asyncio.get_running_loop().time) as port:
            context = verify
            if cert:
                context.load_cert_chain(cert)
            base = f"{scheme}://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=base, trust_env=False, verify=context) as client:
                return [await client.request(**request) for request in requests]

    return asyncio.run(scenario()), clusters


def post(body=None, token=TOKEN, **more):
    content = more.pop("content", json.dumps(GOOD if body is None else body))
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"method": "POST", "url": "/quarantines", "headers": headers, "content": content, **more}


def codes(*requests, **how):
    found, _ = answers(requests, **how)
    return [answer.status_code for answer in found]


def test_one_is_made_and_the_same_again_is_not():
    found, clusters = answers([post(), post()])
    assert [answer.status_code for answer in found] == [201, 200]
    assert clusters["c1"].asked[0][1] == "soar"
    assert found[0].json() == {"name": "web-0-1"}


@pytest.mark.parametrize("token", ["", "wrong", TOKEN[:-1]])
def test_without_the_token_nothing_is_read(token):
    found, clusters = answers(
        [post(token=token, content=b"\xff"), post(token=token) | {"method": "DELETE", "url": "/quarantines/a"}]
    )
    assert [answer.status_code for answer in found] == [401, 401]
    assert clusters["c1"].asked == []


def test_a_token_that_cannot_be_read_lets_nobody_in():
    def missing():
        raise SecretError("gone")

    assert codes(post(), door=QuarantineDoor(("127.0.0.1", 0), missing)) == [503]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "reason"),
        ({"reason": "r"}, "name one of pod, workload and address"),
        (GOOD | {"address": "10.0.0.1"}, "name one of"),
        (GOOD | {"reason": " "}, "reason"),
        (GOOD | {"reason": "r" * 301}, "reason"),
        (GOOD | {"held": ""}, "held: is no field"),
        (GOOD | {"approvedBy": "me"}, "approvedBy: is no field"),
        (GOOD | {"dryRun": "yes"}, "dryRun"),
        ({"address": "10.0.0.0/8", "reason": "r"}, "address"),
        ({"pod": {"namespace": "", "name": "a"}, "reason": "r"}, "pod.namespace"),
        ([], "no JSON object"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_asked(body, says):
    found, clusters = answers([post(body)])
    assert found[0].status_code == 422
    assert says in found[0].json()["error"]
    assert clusters["c1"].asked == []


@given(st.binary(max_size=200) | st.recursive(st.none() | st.booleans() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["pod", "workload", "address", "reason", "duration"]), inner, max_size=3)).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_octets_are_a_request_or_a_fault(body):
    try:
        request = parse_request(body)
    except InputError:
        return
    assert request.reason


def test_deep_json_is_a_fault():
    with pytest.raises(InputError):
        parse_request(b"[" * 15_000)


def test_a_long_body_is_refused():
    assert codes(post(content=b" " * (MAX_BODY + 1))) == [413]


def test_so_many_a_minute_and_no_more():
    door = QuarantineDoor(("127.0.0.1", 0), lambda: TOKEN, per_minute=2)
    assert codes(post(), post(), post(), door=door) == [201, 200, 429]


def test_a_cluster_is_named_where_there_are_several():
    clusters = {"c1": FakeQuarantines(), "c2": FakeQuarantines()}
    found, _ = answers([post(), post(GOOD | {"cluster": "c2"}), post(GOOD | {"cluster": "c3"})], clusters=clusters)
    assert [answer.status_code for answer in found] == [422, 201, 422]
    assert found[0].json()["error"] == "cluster: name one of c1, c2"
    assert (len(clusters["c1"].asked), len(clusters["c2"].asked)) == (0, 1)


@pytest.mark.parametrize(
    ("trouble", "code"),
    [
        (InputError("no pod shop/web-0 runs"), 422),
        (ClusterRefusedError("exempt"), 422),
        (ClusterUnreachableError("no answer"), 503),
    ],
)
def test_what_the_cluster_says_is_told(trouble, code):
    cluster = FakeQuarantines()
    cluster.trouble = trouble
    found, _ = answers([post(), post() | {"method": "DELETE", "url": "/quarantines/a"}], clusters={"c1": cluster})
    assert [answer.status_code for answer in found] == [code, code]
    assert found[0].json() == {"error": str(trouble)}


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def mutual(authority, token=None, clients=()):
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    authority.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    return QuarantineDoor(("127.0.0.1", 0), token, tls, frozenset(clients))


def shown(authority, tmp_path, name):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    path = tmp_path / "client.pem"
    authority.issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(path))
    return {"scheme": "https", "verify": trust, "cert": str(path)}


def test_a_certificate_says_who_it_is(authority, tmp_path):
    found, clusters = answers(
        [post(token="")], door=mutual(authority), **shown(authority, tmp_path, "soar.example.com")
    )
    assert found[0].status_code == 201
    assert clusters["c1"].asked[0][1] == "soar.example.com"


def test_a_certificate_of_another_name_or_without_the_token_is_not_let_in(authority, tmp_path):
    other = shown(authority, tmp_path, "web.example.com")
    assert codes(post(token=""), door=mutual(authority, clients=["soar.example.com"]), **other) == [401]
    own = shown(authority, tmp_path, "soar.example.com")
    door = mutual(authority, token=lambda: TOKEN, clients=["soar.example.com"])
    assert codes(post(token=""), post(), door=door, **own) == [401, 201]


def test_without_a_certificate_there_is_no_connection(authority):
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    with pytest.raises(httpx.TransportError):
        answers([post()], door=mutual(authority), scheme="https", verify=trust)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "give tokenFile, clientCaFile, or both"),
        ({"clientCaFile": "/ca"}, "clientCaFile needs certFile"),
        ({"tokenFile": "/t", "clients": ["a"]}, "give clientCaFile"),
        ({"tokenFile": "/t", "certFile": "/c"}, "belong together"),
    ],
)
def test_a_listener_that_knows_nobody_is_a_fault(settings, says):
    with pytest.raises(ValueError, match=says):
        QuarantineListenerSettings.model_validate({"address": "127.0.0.1:1"} | settings)
