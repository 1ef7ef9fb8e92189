"""The enforcer's errors, by blame. Each message is one line: what was being done, to what, and what to do next.

EnforcerError
├── InputError                        the user's input; exit code 2
│   ├── SettingsError                 the settings file or the environment, all faults at once
│   └── SpoolUnusableError            the spool directory can't be written at start
├── ClusterError                      the API server; the last good rules stay in the kernel
│   ├── ClusterRefusedError           it refused our credentials or rights
│   │   └── ClusterMissingError       it has no such object or kind
│   ├── TooLongError                  its answer is longer than we may hold: ask for less
│   └── ExpiredError                  the changes since that resource version can't be had: list again
├── KernelError                       the kernel; what was in force stays in force
│   ├── LoadError                     it refused rules
│   ├── PrivilegeError                we lack the rights; exit code 2
│   ├── TakenError                    an NFLOG group has another reader
│   ├── UnfitError                    the kernel lacks what we need of it; exit code 2
│   └── LockedError                   another enforcer is at work in this network namespace; exit code 2
├── StateError                        what was saved of the rules can't be trusted; it is left alone
└── SpoolError                        the disk refused a write or a read later on; enforcement goes on
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's end means."""

    DONE = 0
    TROUBLE = 1
    BAD_INPUT = 2


class EnforcerError(Exception):
    """Anything that stops the enforcer from doing what it was asked; `exit_code` is what a command ends with."""

    exit_code: ExitCode = ExitCode.TROUBLE


class InputError(EnforcerError):
    """What the user gave is wrong; the same input will always fail."""

    exit_code = ExitCode.BAD_INPUT


class SettingsError(InputError):
    """The settings are wrong. `faults` are all of them, each with its path in the file."""

    def __init__(self, where: str, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(f"{where}: {fault}" for fault in faults))
        self.faults = faults


class SpoolUnusableError(InputError):
    """The spool directory can't be written, so nothing could be promised to the SIEM."""


class ClusterError(EnforcerError):
    """The API server failed or answered nonsense: worth trying again. `retry_after` is its own wish, in seconds."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ClusterRefusedError(ClusterError):
    """The API server refused our credentials or rights, or doesn't know the kind: only an administrator can help."""


class ClusterMissingError(ClusterRefusedError):
    """404: there is no such object, or no such kind."""


class ExpiredError(ClusterError):
    """410: the changes since that resource version can't be had."""


class TooLongError(ClusterError):
    """An answer of more octets than we may hold."""


class SpoolError(EnforcerError):
    """The disk refused a write or a read."""


class StateError(EnforcerError):
    """What was saved of the rules can't be trusted."""


class KernelError(EnforcerError):
    """The kernel did not do or say what it should."""


class LoadError(KernelError):
    """Rules were refused, all of them: a transaction is whole or nothing."""


class PrivilegeError(KernelError):
    """The rights to change the kernel's rules are missing."""

    exit_code = ExitCode.BAD_INPUT


class TakenError(KernelError):
    """An NFLOG group has another reader."""


class UnfitError(KernelError):
    """The kernel lacks what we need of it."""

    exit_code = ExitCode.BAD_INPUT


class LockedError(KernelError):
    """Another enforcer works on this node."""

    exit_code = ExitCode.BAD_INPUT
