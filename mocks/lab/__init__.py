"""A cluster's network in small: nodes and pods as network namespaces on this machine's real kernel.

It knows no policy and no product. Tests and the demo import what they need from here.
"""

from mocks.lab.conversation import Conversation
from mocks.lab.leftovers import purge
from mocks.lab.listen import Listener
from mocks.lab.machines import Host, Machine, Node, Pod
from mocks.lab.netns import LabError, Netns, unavailable
from mocks.lab.probe import Endpoint, Outcome, Probe, Transport, connect, measure
from mocks.lab.services import Service
from mocks.lab.topology import Lab

__all__ = [
    "Conversation",
    "Endpoint",
    "Host",
    "Lab",
    "LabError",
    "Listener",
    "Machine",
    "Netns",
    "Node",
    "Outcome",
    "Pod",
    "Probe",
    "Service",
    "Transport",
    "connect",
    "measure",
    "purge",
    "unavailable",
]
