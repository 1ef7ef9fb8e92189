"""A mock's server leaves nothing open behind it, whatever its clients are doing when it stops."""

import gc
import socket
import ssl
import warnings

import pytest
from aiohttp import web

from mocks.serving import Authority, Server


@pytest.fixture
def authority(tmp_path):
    return Authority.create(tmp_path)


def application():
    async def hello(_):
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    return app


@pytest.mark.parametrize("client", ["shaking hands", "idle", "not listening"])
def test_stopping_closes_every_connection(authority, client):
    """`not listening`: it never answers the server's goodbye."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Server(application(), tls=authority.server_context()) as server:
            made = socket.create_connection(("127.0.0.1", server.port))
            if client != "shaking hands":
                made = ssl.create_default_context(cafile=str(authority.ca_file)).wrap_socket(
                    made, server_hostname="127.0.0.1"
                )
                made.sendall(b"GET / HTTP/1.1\r\nHost: mock\r\n\r\n")
                assert made.recv(100).startswith(b"HTTP/1.1 200")
            if client == "idle":
                made.close()
        del server
        gc.collect()
    made.close()
    assert [str(each.message) for each in told if issubclass(each.category, ResourceWarning)] == []
