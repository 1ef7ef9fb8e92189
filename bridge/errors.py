"""The bridge's errors, by blame; the API server has its own in `zones.kube.errors`, input in `zones.runtime.errors`.

Each message is one line: what was being done, to what, and what to do next.

BridgeError
├── ConfigurationFileError            an InputError: a manager's export that is missing, cut off or something else
├── UnknownDeviceGroupError           an InputError: a device group the configuration doesn't have
├── ManagerError                      the firewall manager; the last good tier stays
│   ├── ManagerUnreachableError       no answer, or only from a passive peer: tried again
│   ├── ManagerRefusedError           it refused our credentials or rights
│   └── ManagerAnswerError            its answer is cut off, malformed or hostile
├── SecretError                       a secret's file is missing, empty or no text; whoever needs it says what follows
├── RemovalError                      nodes keep their rules, although they should be removed
├── RegistrationBlockedError          somebody else stands in the way of registering the cluster: tried again
├── RegistrationWaitsError            others are at work in the manager: no trouble, and tried again
├── RevisionRefusedError              what the manager says must not be published; the last good tier stays
└── UndecidedError                    a question that can't be answered from what was given
"""

from __future__ import annotations

from zones.runtime.errors import InputError, ZonebridgeError

MOST_TOLD = 5


class BridgeError(ZonebridgeError):
    """Anything of the bridge's own that stops it from doing what it was asked."""


class ConfigurationFileError(BridgeError, InputError):
    """A manager's exported configuration can't be read as one."""


class UnknownDeviceGroupError(BridgeError, InputError):
    """The manager's configuration has no such device group; the message lists the ones that come near."""


class ManagerError(BridgeError):
    """The firewall manager didn't give a usable answer."""


class ManagerUnreachableError(ManagerError):
    """No peer answered, or the one that did can't serve now: worth trying again."""


class ManagerRefusedError(ManagerError):
    """The manager refused our credentials or rights: only its administrator can help."""


class ManagerAnswerError(ManagerError):
    """The manager answered, but with something cut off, malformed or hostile. Nothing of it was used."""


class SecretError(BridgeError):
    """A secret that the settings name can't be had. The message names its file and never what is in it."""


class RemovalError(BridgeError):
    """The rules are not gone from every node; the message says from which."""


class RegistrationBlockedError(BridgeError):
    """The cluster can't be registered at the manager as things are there; the message says who can change that."""


class RegistrationWaitsError(BridgeError):
    """Others are at work in the manager, and nothing of ours may be in their way; the message says who."""


class RevisionRefusedError(BridgeError):
    """A revision must not be published. `reason` is a word for machines, `why` the sentences for people.

    As text it is the first few of them and how many more there are: logs, alerts and conditions have no room for 120.
    """

    def __init__(self, reason: str, *why: str) -> None:
        more = (f"and {len(why) - MOST_TOLD} more",) if len(why) > MOST_TOLD else ()
        super().__init__("; ".join((*why[:MOST_TOLD], *more)))
        self.reason = reason
        self.why = why


class UndecidedError(BridgeError):
    """The answer depends on something that was not given; the message says on what."""
