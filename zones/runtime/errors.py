"""The root of all errors that are expected, what is wrong with what a user gave, and what a command's end means.

ZonebridgeError
├── InputError           the user's input; exit code 2
│   └── SettingsError    the settings file or the environment, all faults at once
├── BridgeError          in `bridge.errors`
├── EnforcerError        in `enforcer.errors`
└── ClusterError         in `zones.kube.errors`
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What a command's end means."""

    DONE = 0
    TROUBLE = 1
    BAD_INPUT = 2


class ZonebridgeError(Exception):
    """Anything that stops a program from doing what it was asked; `exit_code` is what a command ends with."""

    exit_code: ExitCode = ExitCode.TROUBLE


class InputError(ZonebridgeError):
    """What the user gave is wrong; the same input will always fail."""

    exit_code = ExitCode.BAD_INPUT


class SettingsError(InputError):
    """The settings are wrong. `faults` are all of them, each with its path in the file."""

    def __init__(self, where: str, faults: tuple[str, ...]) -> None:
        super().__init__("\n".join(f"{where}: {fault}" for fault in faults))
        self.faults = faults
