"""Asking a kubelet: verified TLS by the node's name, a token that is read anew, and nothing but what checks look at."""

import asyncio
import json
import ssl
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from enforcer.cluster.kubelet import KubeletConfiguration, settings_of

CONFIGURATION = {
    "authentication": {
        "anonymous": {"enabled": False},
        "x509": {"clientCAFile": "/pki/ca.crt"},
        "webhook": {"enabled": True},
    },
    "authorization": {"mode": "Webhook"},
    "streamingConnectionIdleTimeout": "4h0m0s",
    "makeIPTablesUtilChains": True,
    "serverTLSBootstrap": True,
    "rotateCertificates": True,
    "podPidsLimit": 4096,
    "seccompDefault": True,
    "tlsCipherSuites": ["TLS_AES_128_GCM_SHA256"],
    "staticPodURLHeader": {"Authorization": ["Bearer s3cret"]},
}


@pytest.fixture
def authority(tmp_path):
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("t0ken\n")
    return made


@asynccontextmanager
async def kubelet(certificate, answer):
    """`answer` gets the request; what it returns is answered."""

    async def configz(request):
        return answer(request)

    app = web.Application()
    app.router.add_get("/configz", configz)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(tls)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def asked(folder, certificate, answer, name="node-1"):
    async def ask():
        async with kubelet(certificate, answer) as address:
            return await client(folder, address, name).ask()

    return asyncio.run(ask())


def client(folder, address, name="node-1", heard=lambda: None, interval=300.0):
    return KubeletConfiguration(address, name, folder / "token", folder / "ca.crt", interval, heard)


def told(configuration=CONFIGURATION):
    return lambda request: web.json_response({"kubeletconfig": configuration})


def test_it_is_asked_by_the_nodes_name_with_the_token(tmp_path, authority):
    seen = []

    def answer(request):
        seen.append(request.headers["Authorization"])
        return told()(request)

    state = asked(tmp_path, authority.issue_cert("node-1"), answer)
    assert seen == ["Bearer t0ken"]
    assert state["settings"]["authorizationMode"] == "Webhook"
    assert state["settings"]["anonymous"] is False


def test_a_header_that_may_be_secret_stays_on_the_node(tmp_path, authority):
    assert "s3cret" not in json.dumps(asked(tmp_path, authority.issue_cert("node-1"), told()))


def test_who_isnt_the_kubelet_gets_no_token(tmp_path, authority):
    seen = []

    def answer(request):
        seen.append(request)
        return told()(request)

    another = asked(tmp_path, authority.issue_cert("node-2"), answer)
    stranger = asked(tmp_path, trustme.CA().issue_cert("node-1"), answer)
    assert "doesn't answer" in another["problem"]
    assert "certificate verify failed" in stranger["problem"]
    assert seen == []


@pytest.mark.parametrize(
    ("response", "problem"),
    [
        (lambda _: web.Response(status=403), "needs the right nodes/configz"),
        (lambda _: web.Response(status=401), "refuses (401)"),
        (lambda _: web.Response(status=500), "answers 500"),
        (lambda _: web.Response(text="nonsense"), "is no configuration"),
        (lambda _: web.Response(text="[1]"), "is no configuration"),
        (lambda _: web.Response(text='{"kubeletconfig": {"authentication": 1}}'), "is no configuration"),
        (lambda _: web.Response(text="[" * 100_000), "is no configuration"),
        (lambda _: web.Response(text="x" * 2_000_000), "is too long"),
    ],
)
def test_any_other_answer_is_a_problem(tmp_path, authority, response, problem):
    assert problem in asked(tmp_path, authority.issue_cert("node-1"), response)["problem"]


def test_nobody_there_or_no_token_is_a_problem(tmp_path, authority):
    assert "doesn't answer" in asyncio.run(client(tmp_path, "127.0.0.1:1").ask())["problem"]
    Path(tmp_path / "token").unlink()
    assert "can't be read" in asyncio.run(client(tmp_path, "127.0.0.1:1").ask())["problem"]


def test_what_it_leaves_out_is_false():
    """As Go leaves out what is false, 0 and empty."""
    told_nothing = settings_of({})
    assert told_nothing["anonymous"] is False
    assert told_nothing["rotateCertificates"] is False
    assert told_nothing["podPidsLimit"] == 0
    assert told_nothing["rotateServerCertificate"] is True
    assert settings_of({"featureGates": {"RotateKubeletServerCertificate": False}})["rotateServerCertificate"] is False


def test_a_changed_answer_is_heard_once(tmp_path, authority):
    answers, heard = [CONFIGURATION, CONFIGURATION, CONFIGURATION | {"seccompDefault": False}], []

    def answer(request):
        return told(answers.pop(0) if len(answers) > 1 else answers[0])(request)

    async def run():
        async with kubelet(authority.issue_cert("node-1"), answer) as address:
            asking = client(tmp_path, address, interval=0.01)
            enough = asyncio.Event()

            def hear():
                heard.append(asking.state)
                if len(heard) == 2:
                    enough.set()

            asking._heard = hear
            task = asyncio.create_task(asking.run())
            async with asyncio.timeout(10):
                await enough.wait()
            task.cancel()

    asyncio.run(run())
    assert [state["settings"]["seccompDefault"] for state in heard] == [True, False]
