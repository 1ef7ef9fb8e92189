"""Wake-ups: let in with the token only, coalesced, and saying nothing but 'look'."""

import asyncio

import httpx
import pytest

from bridge.listeners.wakeup import ListenAddress, listening
from bridge.settings.credentials import read_secret

TOKEN = "a-long-secret"


def calls(requests, least=0.05, wait_for=0):
    """The status codes of some requests, and how often it was looked, once it was `wait_for` times."""
    looks = []

    async def scenario():
        enough = asyncio.Event()

        def look():
            looks.append(1)
            if len(looks) >= wait_for:
                enough.set()

        async with listening(ListenAddress(("127.0.0.1", 0), lambda: TOKEN), look, least) as port:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
                codes = [(await client.request(**request)).status_code for request in requests]
            async with asyncio.timeout(5):
                if wait_for:
                    await enough.wait()
        return codes

    return asyncio.run(scenario()), len(looks)


def post(token=TOKEN, scheme="Bearer", **more):
    return {"method": "POST", "url": "/wake-up", "headers": {"Authorization": f"{scheme} {token}"}, **more}


def test_a_caller_with_the_token_is_heard_and_its_words_are_not_read():
    assert calls([post(content=b"<!DOCTYPE x>" * 100)]) == ([202], 1)


@pytest.mark.parametrize(
    "request_", [post("wrong"), post(TOKEN[:-1]), post(scheme="Basic"), {"method": "POST", "url": "/wake-up"}]
)
def test_a_caller_without_it_is_not(request_):
    assert calls([request_]) == ([401], 0)


def test_octets_that_are_no_text_are_a_wrong_token():
    request = post() | {"headers": [(b"Authorization", b"Bearer \xff\xfe")]}
    assert calls([request]) == ([401], 0)


def test_a_token_that_cannot_be_read_lets_nobody_in(tmp_path):
    async def scenario():
        door = ListenAddress(("127.0.0.1", 0), lambda: read_secret(tmp_path / "token"))
        async with (
            listening(door, lambda: None) as port,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
        ):
            return (await client.request(**post())).status_code

    assert asyncio.run(scenario()) == 503


@pytest.mark.parametrize("request_", [post() | {"method": "GET"}, post() | {"url": "/other"}])
def test_there_is_one_thing_to_say(request_):
    codes, looks = calls([request_])
    assert codes[0] in {404, 405}
    assert looks == 0


def test_many_calls_are_one_look_now_and_one_later():
    codes, looks = calls([post()] * 20, least=0.5, wait_for=2)
    assert codes == [202] * 20
    assert looks == 2
