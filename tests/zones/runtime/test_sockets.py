"""The sessions that both programs ask an API server through."""

import asyncio
import ssl

import pytest

from zones.runtime.sockets import Sockets


@pytest.mark.parametrize(("proxy", "looks"), [("http://proxy.example:3128", True), (None, False)])
def test_the_environment_is_looked_at_for_each_request_only_where_it_names_a_proxy(monkeypatch, proxy, looks):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    if proxy:
        monkeypatch.setenv("https_proxy", proxy)
    assert asyncio.run(trusts_environment()) is looks


async def trusts_environment():
    async with Sockets().session(1, ssl.create_default_context()) as session:
        return session.trust_env
