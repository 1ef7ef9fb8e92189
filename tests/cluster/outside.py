"""The world outside of the cluster, at one address of the LAN: Panorama, a SIEM, a server and a client."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mocks.lab import Listener, Netns, wiring
from mocks.lab.background import Background
from mocks.lab.listen import bind, echo
from mocks.panorama import Panorama, PanoramaServer
from mocks.siem import Siem
from tests.cluster.addresses import LAN_LENGTH, LAN_LENGTH6, OUTSIDE

USER, PASSWORD = "zonebridge", "panorama-password"
TOKEN = "6f1f4c1e-3c0a-4a3e-9a51-1f0f3f6f2f5b"
PANORAMA_PORT, SIEM_PORT, SERVER_PORT = 443, 8088, 9000
PORT = 20  # on the switch


class Outside:
    """Between `start` and `stop`. `panorama` is the appliance, `siem` has what was received."""

    def __init__(self, configuration: str) -> None:
        self._stack = ExitStack()
        self.panorama = Panorama(configuration, users={"admin": "admin", USER: PASSWORD}, commit_seconds=0.2)
        self.api_key = self.panorama.keys.generate(USER)
        self.siem = Siem(TOKEN, address=OUTSIDE.ip, hec_port=SIEM_PORT)
        self.panorama_ca: Path
        self.netns: Netns

    def start(self, switch: Netns) -> None:
        try:
            self._start(switch)
        except BaseException:
            self.stop()
            raise

    def _start(self, switch: Netns) -> None:
        self.netns = Netns.create("outside")
        self._stack.callback(self.netns.close)
        wiring.prepare(self.netns, "cluster:outside")
        wiring.plug(self.netns, switch, PORT)
        wiring.address(self.netns, OUTSIDE, LAN_LENGTH, LAN_LENGTH6)
        with self.netns.inside():  # the servers' threads stay here
            server = PanoramaServer(self.panorama, host=OUTSIDE.ip, port=PANORAMA_PORT)
            self._stack.enter_context(server)
            self._stack.enter_context(self.siem)
        self.panorama_ca = server.ca_file
        background = Background()
        background.start()
        self._stack.callback(background.stop)
        for kind, handle in ((socket.SOCK_STREAM, echo), (socket.SOCK_DGRAM, None)):
            listener = Listener(background, bind(self.netns, SERVER_PORT, kind), handle)
            self._stack.callback(listener.close)

    def commit(self, configuration: str) -> None:
        """Panorama's administrator loads another configuration and commits it."""
        self.panorama.set_candidate(configuration)
        self.panorama.commit()

    def records(self) -> list[dict[str, Any]]:
        """What the SIEM has received, oldest first."""
        return [each.event for each in self.siem.hec.events if isinstance(each.event, dict)]

    def stop(self) -> None:
        self._stack.close()
