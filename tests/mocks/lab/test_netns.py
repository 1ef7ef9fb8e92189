import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from aiohttp import web

from mocks.serving import Server

pytestmark = pytest.mark.kernel
ANSWER = "ok from the mock"


def namespace_of_this_thread():
    return str(Path("/proc/thread-self/ns/net").readlink())


def divide_by_zero_in(namespace):
    assert namespace_of_this_thread() == namespace
    return 1 / 0


class TestThreads:
    def test_only_the_calling_thread_moves_and_comes_back(self, lab, pods):
        before = namespace_of_this_thread()
        with pytest.raises(ZeroDivisionError), lab.inside(pods[0]):
            divide_by_zero_in(f"net:[{pods[0].netns.inode}]")
        assert namespace_of_this_thread() == before

    def test_a_thread_made_inside_stays_inside(self, lab):
        seen = []
        with lab.inside(lab.control):
            thread = threading.Thread(target=lambda: seen.append(namespace_of_this_thread()))
            thread.start()
        thread.join()
        assert seen == [f"net:[{lab.control.netns.inode}]"]


async def answer(request):
    return web.Response(text=ANSWER)


def application():
    app = web.Application()
    app.router.add_get("/", answer)
    return app


def fetch(machine, url):
    code = f"import httpx; print(httpx.get({url!r}, trust_env=False).text)"
    return subprocess.run(machine.command([sys.executable, "-c", code]), capture_output=True, text=True, check=True)


class TestControl:
    def test_a_mock_server_started_inside_control_serves_nodes_and_pods(self, lab, pods):
        with lab.inside(lab.control):
            server = Server(application(), host=lab.control_ip).start()
        try:
            assert ANSWER in fetch(pods[0].node, server.url).stdout
            assert ANSWER in fetch(pods[2], server.url).stdout
        finally:
            server.stop()

    def test_a_mock_server_on_loopback_is_relayed(self, lab, pods):
        with Server(application()) as server:
            lab.relay(server.port)
            assert ANSWER in fetch(pods[0].node, f"http://{lab.control_ip}:{server.port}").stdout
            assert ANSWER in fetch(pods[0].node, f"http://[{lab.control.ip6}]:{server.port}").stdout
            assert httpx.get(server.url, trust_env=False).text == ANSWER

    def test_a_relay_to_nothing_cuts(self, lab):
        node = lab.node("node-1")
        relay = lab.relay(1)
        with pytest.raises(subprocess.CalledProcessError):
            fetch(node, f"http://{lab.control_ip}:{relay.port}")
