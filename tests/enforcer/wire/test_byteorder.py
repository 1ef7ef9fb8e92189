"""The kernel's numbers are in the machine's byte order: nothing of ours takes them to be little-endian."""

import ast
from ipaddress import ip_address
from pathlib import Path
from socket import AF_INET

import pytest

import enforcer
from enforcer.netlink.messages import attribute
from enforcer.node import uplinks

SOURCES = sorted(Path(enforcer.__file__).parent.rglob("*.py"))
INDEX, MASTER, LOWER, NAMESPACE, LINK = 3, 7, 9, 2, 12


def fixed(source):
    """Conversions whose order is written as little-endian, and struct formats that say so."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [each.value for each in (*node.args, *(key.value for key in node.keywords)) if is_text(each)]
        if (name in {"from_bytes", "to_bytes"} and "little" in texts) or (
            name in {"Struct", "pack", "pack_into", "unpack", "unpack_from", "iter_unpack"}
            and any(each.startswith("<") for each in texts)
        ):
            yield node.lineno


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('int.from_bytes(a, "little")', [1]),
        ('1 .to_bytes(4, byteorder="little")', [1]),
        ('Struct("<HH")', [1]),
        ('struct.unpack_from("<I", b)', [1]),
        ('int.from_bytes(a, byteorder)\n1 .to_bytes(2, "big")\nStruct("=I")', []),
    ],
)
def test_what_is_looked_for_is_found(source, found):
    assert list(fixed(source)) == found


def test_no_number_is_read_or_written_as_little_endian_whatever_the_machine():
    assert len(SOURCES) > 100
    places = [f"{path.name}:{line}" for path in SOURCES for line in fixed(path.read_text())]
    assert places == []


@pytest.mark.parametrize("order", ["little", "big"])
def test_links_and_routes_are_read_in_the_machines_order(monkeypatch, order):
    """Attributes' own headers stay this machine's: only what the messages hold is of the other order."""
    monkeypatch.setattr(uplinks, "byteorder", order)

    def number(value, length=4):
        return value.to_bytes(length, order)

    head = bytes(2) + number(uplinks._LOOPBACK, 2) + number(INDEX) + bytes(8)
    texts = attribute(uplinks._IFNAME, b"eth0\0") + attribute(uplinks._MASTER, number(MASTER))
    far = attribute(uplinks._LOWER, number(LOWER)) + attribute(uplinks._LOWER_ELSEWHERE, number(NAMESPACE))
    link = uplinks.link_of(head + texts + far)
    assert (link.index, link.loopback, link.master, link.peer, link.namespace) == (
        INDEX,
        True,
        MASTER,
        LOWER,
        NAMESPACE,
    )
    route = bytes([AF_INET, 24, 0, 0, 0, 0, 0, uplinks._UNICAST]) + number(0)
    via = attribute(uplinks._VIA, number(AF_INET, 2) + ip_address("192.0.2.1").packed)
    hop = number(8 + len(via), 2) + bytes(2) + number(LINK) + via
    held = attribute(uplinks._DESTINATION, ip_address("10.1.2.0").packed) + attribute(uplinks._MULTIPATH, hop)
    (way,) = uplinks._of_route(route + held)
    assert (way.link, way.gateway) == (LINK, ip_address("192.0.2.1"))
