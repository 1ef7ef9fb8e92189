"""The enforcer's errors, by blame; the API server has its own in `zones.kube.errors`, input in `zones.runtime.errors`.

Each message is one line: what was being done, to what, and what to do next.

EnforcerError
├── SpoolUnusableError                an InputError: the spool directory can't be written at start; exit code 2
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

from zones.runtime.errors import ExitCode, InputError, ZonebridgeError


class EnforcerError(ZonebridgeError):
    """Anything of the enforcer's own that stops it from doing what it was asked."""


class SpoolUnusableError(EnforcerError, InputError):
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
