"""The plugin's commands as data: argparse is made of them, and what a shell completes."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from zones.runtime.errors import InputError


@dataclass(frozen=True, slots=True)
class Option:
    """`values`: the words that it takes, or a function's name of `bridge.kubectl.completion` that finds them."""

    names: tuple[str, ...]
    help: str
    values: tuple[str, ...] | str = ()
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def takes_value(self) -> bool:
        return self.how.get("action") != "store_true"


@dataclass(frozen=True, slots=True)
class Command:
    """`words`: what its arguments may be, as of an option."""

    name: str
    help: str
    options: tuple[Option, ...] = ()
    arguments: tuple[tuple[str, dict[str, Any]], ...] = ()
    words: tuple[str, ...] | str = ()
    commands: tuple[Command, ...] = ()
    run: Callable[[argparse.Namespace], int] | None = None


def flag(*names: str, help: str) -> Option:  # noqa: A002 - argparse's word
    return Option(names, help, how={"action": "store_true"})


# Handed to kubectl as they are.
KUBECTL = (
    Option(("--kubeconfig",), "the kubeconfig to use; else KUBECONFIG, as kubectl does", how={"metavar": "FILE"}),
    Option(("--context",), "the kubeconfig's context", "contexts", {"metavar": "NAME"}),
    Option(("--cluster",), "the kubeconfig's cluster", how={"metavar": "NAME"}),
    Option(("--user",), "the kubeconfig's user", how={"metavar": "NAME"}),
    Option(("--as",), "whom to impersonate", how={"metavar": "NAME", "dest": "as_user"}),
    Option(("--as-group",), "a group to impersonate; repeatable", how={"metavar": "NAME", "action": "append"}),
)
NAMESPACE = Option(("-n", "--namespace"), "instead of the context's", "namespaces", {"metavar": "NAME"})
ALL_NAMESPACES = flag("-A", "--all-namespaces", help="of all namespaces")
OUTPUT = Option(("-o", "--output"), "text or json", ("text", "json"), {"choices": ("text", "json"), "default": "text"})
TIER = Option(("--tier",), "the Tier", how={"metavar": "NAME", "default": "panorama"})


def kubectl_options(arguments: argparse.Namespace) -> list[str]:
    """Those of KUBECTL that were given, as kubectl takes them."""
    words: list[str] = []
    for option in KUBECTL:
        name = option.names[0]
        value = getattr(arguments, option.how.get("dest", name[2:].replace("-", "_")))
        words += [f"{name}={item}" for item in ([value] if isinstance(value, str) else value or ())]
    return words


class _CommandParser(argparse.ArgumentParser):
    """Bad input is told as everywhere in this product."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; {self.prog} --help says more")


def parser_of(command: Command) -> argparse.ArgumentParser:
    parser = _CommandParser(prog=command.name, description=command.help, allow_abbrev=False)
    _fill(parser, command)
    return parser


def _fill(parser: argparse.ArgumentParser, command: Command) -> None:
    for name, how in command.arguments:
        parser.add_argument(name, **how)
    for option in command.options:
        parser.add_argument(*option.names, help=option.help, **option.how)
    if command.commands:
        below = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=_CommandParser)
        for command_ in command.commands:
            added = below.add_parser(command_.name, help=command_.help, description=command_.help, allow_abbrev=False)
            added.set_defaults(run=command_.run)
            _fill(added, command_)


def chosen(command: Command, words: Sequence[str]) -> tuple[Command, list[str]]:
    """The innermost command that the words name, and those that are its arguments; options and their values aside."""
    rest: list[str] = []
    awaited = False
    for word in words:
        option = next((item for item in command.options if word in item.names), None)
        below = next((item for item in command.commands if item.name == word), None)
        if awaited:
            awaited = False
        elif option is not None:
            awaited = option.takes_value
        elif word.startswith("-"):
            continue
        elif below is not None:
            command, rest = below, []
        else:
            rest.append(word)
    return command, rest


def names_of(options: Iterable[Option]) -> list[tuple[str, str]]:
    """Each name of each option, with its help."""
    return [(name, option.help) for option in options for name in option.names]
