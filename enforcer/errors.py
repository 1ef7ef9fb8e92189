"""The enforcer's errors, by blame; those of the API server are in `zones.kube.errors`.

Each message is one line: what was being done, to what, and what to do next.

EnforcerError
├── InputError                        the user's input; exit code 2
│   ├── SettingsError                 the settings file or the environment, all faults at once
│   └── SpoolUnusableError            the spool directory can't be written at start
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

from zones.runtime.errors import ExitCode, ZonebridgeError


class EnforcerError(ZonebridgeError):
    """Anything of the enforcer's own that stops it from doing what it was asked."""


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
