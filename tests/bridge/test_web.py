"""Served pages: for those who know the token, read-only, and made once however many ask."""

import asyncio
from base64 import b64encode
from urllib.parse import unquote

import httpx
import pytest

from bridge.compilation.worker_process import WorkerError
from bridge.listeners.status_pages import Gate, ServedPage, cluster_path, serving_pages
from bridge.pages.parts import Headline, StatusPage
from bridge.settings.credentials import read_secret
from zones.kube.errors import ClusterUnreachableError

TOKEN = "a-token-that-nobody-guesses"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HOSTILE = "a/../b?<script>#%"


def basic(password, user="anybody"):
    return {"Authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


class Site:
    """Pages that count how often they were made."""

    def __init__(self):
        self.made = []

    async def status(self):
        self.made.append("status")
        return StatusPage("Status", "", Headline("fine"))

    async def cluster(self):
        self.made.append("cluster")
        return StatusPage("Cluster", "", Headline("rules"))

    async def text(self):
        self.made.append("usage")
        return "<!doctype html><title>written elsewhere</title>"

    async def failing(self):
        raise WorkerError("it needs more than 512 MiB of memory")

    async def away(self):
        raise ClusterUnreachableError("asking the API server of 'away': connection refused")


def asked(*requests, token=lambda: TOKEN, site=None):
    """The answers to requests that are all sent at once."""
    site = site or Site()

    async def scenario():
        made = {("prod", ""): site.cluster, (HOSTILE, ""): site.cluster, ("away", ""): site.away}
        made |= {("prod", "usage"): site.text, (HOSTILE, "usage"): site.text, ("away", "usage"): site.failing}
        clusters = {key: ServedPage(make) for key, make in made.items()}
        gate, status = Gate(("127.0.0.1", 0), token), ServedPage(site.status)
        async with serving_pages(gate, status, clusters) as port, httpx.AsyncClient(trust_env=False) as client:
            at = f"http://127.0.0.1:{port}"
            return await asyncio.gather(*(client.request(**each | {"url": at + each["url"]}) for each in requests))

    return asyncio.run(scenario())


def get(path="/", headers=BEARER, method="GET"):
    return {"method": method, "url": path, "headers": headers}


@pytest.mark.parametrize("headers", [BEARER, basic(TOKEN), basic(TOKEN, "")])
def test_the_token_is_a_bearer_or_a_password(headers):
    (answer,) = asked(get(headers=headers))
    assert answer.status_code == 200
    assert "<h1>Status</h1>" in answer.text


@pytest.mark.parametrize(
    "headers",
    [{}, basic(TOKEN[:-1]), basic(""), {"Authorization": "Basic %%"}, {"Authorization": f"Basic {TOKEN}"},
     {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": "Bearer"}, {"Authorization": b"Bearer \xff"},
     {"Authorization": b"Basic \xff"}],
)  # fmt: skip
def test_without_it_there_is_nothing_not_even_that_a_page_is_missing(headers):
    site = Site()
    answers = asked(get(headers=headers), get("/clusters/prod", headers), get("/missing", headers), site=site)
    assert {answer.status_code for answer in answers} == {401}
    assert all(answer.headers["WWW-Authenticate"].startswith("Basic ") for answer in answers)
    assert len({answer.text for answer in answers}) == 1
    assert site.made == []


def test_a_token_that_cannot_be_read_lets_nobody_in(tmp_path):
    (answer,) = asked(get(), token=lambda: read_secret(tmp_path / "token"))
    assert answer.status_code == 503
    assert str(tmp_path) not in answer.text


def test_it_is_read_only_and_nothing_may_frame_or_keep_it():
    post, missing, page = asked(get(method="POST"), get("/missing"), get())
    assert (post.status_code, missing.status_code) == (405, 404)
    for answer in (post, missing, page):
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert answer.headers["Cache-Control"] == "no-store"


def test_a_cluster_that_cannot_be_asked_says_why_and_one_that_is_not_known_is_not_there():
    away, unknown, well = asked(get("/clusters/away"), get("/clusters/x"), get("/clusters/prod"))
    assert (away.status_code, unknown.status_code, well.status_code) == (503, 404, 200)
    assert "connection refused" in away.text


def test_a_page_is_made_once_for_all_who_ask():
    site = Site()
    answers = asked(*[get()] * 20, *[get("/clusters/prod")] * 20, site=site)
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(site.made) == ["cluster", "status"]


def test_a_cluster_of_any_name_has_a_path():
    assert unquote(cluster_path(HOSTILE)) == f"/clusters/{HOSTILE}"
    assert asked(get(cluster_path(HOSTILE)))[0].status_code == 200


def test_a_cluster_has_more_pages_than_its_own():
    site = Site()
    path = cluster_path(HOSTILE, "usage")
    answers = asked(
        get(path), get("/clusters/prod/usage"), get("/clusters/prod/preview"), get("/clusters/prod/x/y"), site=site
    )
    assert [answer.status_code for answer in answers] == [200, 200, 404, 404]
    assert "written elsewhere" in answers[0].text
    assert site.made == ["usage", "usage"], "each is made for itself"
    (failing,) = asked(get("/clusters/away/usage"))
    assert (failing.status_code, failing.text) == (503, "it needs more than 512 MiB of memory\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--address", "0.0.0.0:9470"), "in clear text"),
        (("--address", "example.com:9470"), "in clear text"),
        (("--address", "nonsense"), "must be HOST:PORT"),
        (("--cert-file", "x"), "belong together"),
        (("--cert-file", "x", "--key-file", "y"), "can't be used"),
        (("--token-file", "short"), "at least 16 characters"),
        (("--token-file", "missing"), "reading the secret"),
    ],
)
def test_what_would_be_unsafe_is_refused(run, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "short").write_text("short")
    code, out, err = run("serve", "--token-file", "token", *options)
    assert (code, out) == (2, "") or words == "reading the secret"
    assert code
    assert words in err
