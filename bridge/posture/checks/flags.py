"""What an argument of a program must be: each rule says what is wrong with a program's arguments, if anything.

Where another file may say it in place of the argument, it isn't known: UnclearError.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from bridge.posture.objects import ControlPlaneProgram
from zones.runtime.types import duration

FlagRule = Callable[[ControlPlaneProgram], str]
"""What is wrong, in words; empty where nothing is."""
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_ETCD = "etcd"


class UnclearError(Exception):
    """The arguments alone don't say it."""


def value_of(program: ControlPlaneProgram, flag: str) -> str | None:
    """The last one counts. etcd also reads ETCD_CLIENT_CERT_AUTH, but an argument is above it."""
    values = program.flags.get(flag)
    if values:
        return values[-1]
    if program.name == _ETCD:
        return program.environment.get(f"ETCD_{flag.upper().replace('-', '_')}")
    return None


def words_of(program: ControlPlaneProgram, flag: str) -> frozenset[str] | None:
    """Of a list, all that were given."""
    values = program.flags.get(flag)
    return None if values is None else frozenset(word for value in values for word in value.split(",") if word)


def is_set(*flags: str) -> FlagRule:
    def rule(program: ControlPlaneProgram) -> str:
        missing = [f"--{flag}" for flag in flags if not value_of(program, flag)]
        return f"{' and '.join(missing)} is not set" if missing else ""

    return rule


def is_unset(flag: str) -> FlagRule:
    return lambda program: f"--{flag} is set" if value_of(program, flag) is not None else ""


def must_be(flag: str, wanted: bool, *, by_default: bool) -> FlagRule:  # noqa: FBT001 - the value itself
    """A switch. `by_default`: what it is without the argument."""

    def rule(program: ControlPlaneProgram) -> str:
        value = value_of(program, flag)
        current = by_default if value is None else value.lower() in {"true", "1", "t"}
        written = (
            f"--{flag} is not set, which is {str(by_default).lower()}" if value is None else f"--{flag} is {value}"
        )
        return "" if current is wanted else written

    return rule


def has(flag: str, word: str) -> FlagRule:
    """Of a list."""
    return lambda program: "" if word in (words_of(program, flag) or ()) else f"--{flag} has no {word}"


def has_not(flag: str, word: str, *, by_default: bool = False) -> FlagRule:
    """`by_default`: whether the list has it where the argument isn't given."""

    def rule(program: ControlPlaneProgram) -> str:
        words = words_of(program, flag)
        if words is None:
            return f"--{flag} is not set, which is {word}" if by_default else ""
        return f"--{flag} has {word}" if word in words else ""

    return rule


def at_least(flag: str, least: int) -> FlagRule:
    def rule(program: ControlPlaneProgram) -> str:
        value = value_of(program, flag)
        if value is None:
            return f"--{flag} is not set"
        return "" if value.isdigit() and int(value) >= least else f"--{flag} is {value}, less than {least}"

    return rule


def lasts_at_most(flag: str, longest: str) -> FlagRule:
    """A duration, of which the default is shorter."""

    def rule(program: ControlPlaneProgram) -> str:
        value = value_of(program, flag)
        if value is None:
            return ""
        try:
            return "" if duration(value) <= duration(longest) else f"--{flag} is {value}, longer than {longest}"
        except ValueError:
            return f"--{flag} is {value}, which is no duration"

    return rule


def is_loopback(flag: str) -> FlagRule:
    """An address; without it all of the node's are taken."""

    def rule(program: ControlPlaneProgram) -> str:
        value = value_of(program, flag)
        if value is None:
            return f"--{flag} is not set, which is every address of the node"
        return "" if value in _LOOPBACK else f"--{flag} is {value}"

    return rule


def is_among(flag: str, allowed: Collection[str], what: str) -> FlagRule:
    def rule(program: ControlPlaneProgram) -> str:
        words = words_of(program, flag)
        if words is None:
            return f"--{flag} is not set, and the usual {what} include weak ones"
        weak = sorted(words - frozenset(allowed))
        return f"--{flag} has weak {what}: {', '.join(weak)}" if weak else ""

    return rule


def unless_in(file_flag: str, rule: FlagRule, *, always: bool = False) -> FlagRule:
    """Where the file is named that says it instead, it isn't known. `always`: also where the argument is well."""

    def guarded(program: ControlPlaneProgram) -> str:
        wrong = rule(program)
        if (wrong or always) and value_of(program, file_flag) is not None:
            raise UnclearError(f"--{file_flag} names a file that says it, which is on the node")
        return wrong

    return guarded
