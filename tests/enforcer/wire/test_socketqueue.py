"""What waits in a netlink socket, as the kernel has it."""

import os
import socket
import struct

from enforcer.netlink.socket_queue import waiting_bytes

# A request for all network interfaces: RTM_GETLINK, to be answered by a dump.
_GET_LINKS = struct.pack("=IHHIIB15x", 32, 18, 0x301, 1, 0, 0)


def test_an_answer_that_nobody_has_read_waits():
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as links:
        links.bind((0, 0))
        assert waiting_bytes(links.fileno()) == 0
        links.send(_GET_LINKS)
        assert waiting_bytes(links.fileno()) > 0
        while waiting_bytes(links.fileno()):  # the kernel answers on as it is read
            assert links.recv(65_536)


def test_what_is_no_netlink_socket_has_nothing_waiting(tmp_path):
    reader, writer = os.pipe()
    assert waiting_bytes(reader) == 0
    assert waiting_bytes(reader, tmp_path / "none") == 0
    os.close(reader)
    os.close(writer)
    assert waiting_bytes(-1) == 0
