import socket

import pytest

from mocks.lab import Netns, wiring
from mocks.lab.addresses import Place

pytestmark = pytest.mark.kernel
SWITCH = Place("192.0.2.1", "2001:db8::1")
NEIGHBOUR = Place("192.0.2.2", "2001:db8::2")
RETURNING = Place("192.0.2.3", "2001:db8::3")
DISCARD = 9


def machine(switch, place, index):
    netns = Netns.create(f"machine-{index}")
    wiring.prepare(netns, "t")
    wiring.plug(netns, switch, index)
    wiring.address(netns, place, 24, 64)
    return netns


def answers(netns, address):
    """Whether a closed port there refuses a connection."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with netns.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(2)
        try:
            client.connect((address, DISCARD))
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    return False


@pytest.fixture
def switch(possible):
    netns = Netns.create("switch")
    wiring.prepare(netns, "t")
    wiring.make_switch(netns, SWITCH, 24, 64)
    yield netns
    netns.close()


@pytest.mark.parametrize("address", [RETURNING.ip, RETURNING.ip6])
def test_a_machine_that_comes_back_has_its_address_on_the_wire(switch, address):
    """Its neighbours go on sending to where they last heard it, and it says nothing of itself first."""
    neighbour, first = machine(switch, NEIGHBOUR, 1), machine(switch, RETURNING, 2)
    assert answers(neighbour, address)
    wiring.unplug(switch, "port2")
    first.close()
    again = machine(switch, RETURNING, 2)
    assert answers(neighbour, address)
    again.close()
    neighbour.close()
