"""`kubectl zonebridge`: what the firewall does with a team's connections, asked as whoever kubectl is.

The cluster is reached by kubectl itself (`bridge.kubectl.kubectl`), so that nothing but Python is needed.
"""

from __future__ import annotations

import argparse
import asyncio
import ipaddress
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from bridge.explain import answer
from bridge.explain.flow_options import FlowQuestion
from bridge.kubectl import answers
from bridge.kubectl.completion import completed
from bridge.kubectl.kubectl import Kubectl, KubectlProxy
from bridge.kubectl.options import (
    ALL_NAMESPACES,
    KUBECTL,
    NAMESPACE,
    OUTPUT,
    TIER,
    Command,
    Option,
    flag,
    kubectl_options,
    parser_of,
)
from bridge.quarantine.client import QuarantineBudget, QuarantineClient, Subject, is_over
from bridge.quarantine.text import COLUMNS, outcome_text, row, to_json, wanted
from bridge.tier.reader import ClusterReader
from zones.net import AddressSet
from zones.runtime.errors import ExitCode, InputError, ZonebridgeError
from zones.runtime.output import json_text, lines_text, printable, table_text

_Result = TypeVar("_Result")
NAME = "kubectl zonebridge"
COMPLETE = "__complete"
COMPLETION_SCRIPT = """#!/bin/sh
# On the PATH as kubectl_complete-zonebridge, executable: kubectl's own completion asks it.
exec kubectl zonebridge __complete "$@"
"""


def main() -> None:
    """The console script, and what the packed plugin runs."""
    sys.exit(run(sys.argv[1:]))


def complete() -> None:
    """The console script `kubectl_complete-zonebridge`."""
    print("\n".join(completed(ROOT, sys.argv[1:])))


def run(words: list[str]) -> int:
    """The exit code: as `zonebridge` has them."""
    if words[:1] == [COMPLETE]:
        print("\n".join(completed(ROOT, words[1:])))
        return ExitCode.DONE
    try:
        arguments = parser_of(ROOT).parse_args(words)
        code: int = arguments.run(arguments)
    except ZonebridgeError as error:
        print(f"{NAME}: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.TROUBLE
    return code


def _ask(arguments: argparse.Namespace, work: Callable[[KubectlProxy], Awaitable[_Result]]) -> _Result:
    async def asked() -> _Result:
        return await work(proxy)

    with KubectlProxy(Kubectl(kubectl_options(arguments))) as proxy:
        return asyncio.run(asked())


def _namespace(arguments: argparse.Namespace) -> str:
    return arguments.namespace or Kubectl(kubectl_options(arguments)).namespace()


def _pod(text: str, arguments: argparse.Namespace) -> str:
    """As `bridge.explain.answer` has it; a name alone is of the namespace that counts."""
    parts = text.removeprefix("pod/").split("/")
    if not all(parts) or len(parts) > len(("namespace", "name")):
        raise InputError(f"'{text}' is no pod: write NAME, pod/NAME or pod/NAMESPACE/NAME")
    return f"pod/{'/'.join(parts)}" if len(parts) > 1 else f"pod/{_namespace(arguments)}/{parts[0]}"


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _explain(arguments: argparse.Namespace) -> int:
    source = _pod(arguments.source, arguments)
    destination = (
        arguments.destination if _is_address(arguments.destination) else _pod(arguments.destination, arguments)
    )
    asked = FlowQuestion(
        arguments.protocol,
        port=arguments.port,
        source_port=arguments.source_port,
        icmp_type=arguments.icmp_type,
        at=arguments.at,
    )
    try:
        services = AddressSet.parse(arguments.service_network or [])
    except ValueError as error:
        raise InputError(f"--service-network: {error}") from error
    listed = _ask(
        arguments,
        lambda proxy: answer.from_cluster(
            ClusterReader(proxy), arguments.tier, source, destination, asked, services=services
        ),
    )
    print(json_text(listed.json()) if arguments.output == "json" else listed.text())
    return ExitCode.DONE


def _why(arguments: argparse.Namespace) -> int:
    namespace, pod = None if arguments.all_namespaces else _namespace(arguments), None
    if arguments.pod is not None:
        if arguments.all_namespaces:
            raise InputError("why: a pod is of one namespace; leave -A out")
        _, namespace, pod = _pod(arguments.pod, arguments).split("/")
    refused = _ask(arguments, lambda proxy: answers.refusals(ClusterReader(proxy), namespace, pod))
    if arguments.output == "json":
        print(json_text(refused))
    else:
        print(lines_text(answers.refusal_lines(refused, datetime.now(UTC))))
    return ExitCode.DONE


def _zones(arguments: argparse.Namespace) -> int:
    namespace = None if arguments.all_namespaces else _namespace(arguments)
    listed = _ask(arguments, lambda proxy: answers.zones_of(ClusterReader(proxy), arguments.tier, namespace))
    print(json_text(listed) if arguments.output == "json" else lines_text(answers.zone_lines(listed, namespace)))
    return ExitCode.DONE


def _status(arguments: argparse.Namespace) -> int:
    """1 where it isn't ready, as `zonebridge status`."""
    value = _ask(arguments, lambda proxy: answers.status_of(ClusterReader(proxy), arguments.tier))
    print(json_text(value) if arguments.output == "json" else lines_text(answers.status_lines(value)))
    return ExitCode.DONE if value["ready"] else ExitCode.TROUBLE


def _add(arguments: argparse.Namespace) -> int:
    kind, _, name = (
        arguments.subject.rpartition("/") if arguments.subject.count("/") == 1 else (arguments.subject, "", "")
    )
    named = Subject.parse(f"{kind}/{_namespace(arguments)}/{name}" if name else arguments.subject)
    asked = wanted(named.namespace, arguments.reason, arguments.lasting, arguments.reference, dry_run=arguments.dry_run)
    budget = QuarantineBudget(arguments.workload_budget, arguments.cluster_budget)
    created = _ask(arguments, lambda proxy: QuarantineClient(proxy, budget).add(named, asked, time.time()))
    json = arguments.output == "json"
    print(json_text(to_json(created, time.time())) if json else outcome_text(created, f"{NAME} quarantine"))
    return ExitCode.DONE


def _list(arguments: argparse.Namespace) -> int:
    listed, now = _ask(arguments, lambda proxy: QuarantineClient(proxy).all()), time.time()
    if arguments.output == "json":
        print(json_text([to_json(quarantine, now) for quarantine in listed]))
    else:
        print(table_text(COLUMNS, [row(quarantine, now) for quarantine in listed]))
    return ExitCode.DONE


def _release(arguments: argparse.Namespace) -> int:
    if bool(arguments.names) == arguments.over:
        raise InputError("quarantine release: give names, or --over")

    async def work(proxy: KubectlProxy) -> None:
        quarantines = QuarantineClient(proxy)
        for name in arguments.names or [
            quarantine.name for quarantine in await quarantines.all() if is_over(quarantine, time.time())
        ]:
            await quarantines.release(name)
            print(f"{name}: released")

    _ask(arguments, work)
    return ExitCode.DONE


def _approve(arguments: argparse.Namespace) -> int:
    _ask(arguments, lambda proxy: QuarantineClient(proxy).approve(arguments.name))
    print(f"{arguments.name}: approved")
    return ExitCode.DONE


def _completion(_given: argparse.Namespace) -> int:
    print(COMPLETION_SCRIPT, end="")
    return ExitCode.DONE


def _percent(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 100:  # noqa: PLR2004 - percent
        raise ValueError
    return number


PROTOCOL = Option(
    ("--protocol",),
    "tcp, udp, sctp, icmp, icmp6 or a number; tcp if not given",
    ("tcp", "udp", "sctp", "icmp", "icmp6"),
    {"default": "tcp"},
)
NUMBER = {"type": int, "metavar": "N"}
PERCENT = {"type": _percent, "metavar": "PERCENT"}
EXPLAIN = Command(
    "explain",
    "say which rule decides a connection of a pod, why no rule before it did, and what its team can do",
    (
        *KUBECTL,
        NAMESPACE,
        OUTPUT,
        TIER,
        PROTOCOL,
        Option(("--port",), "the destination's port", how=NUMBER),
        Option(("--source-port",), "the source's port", how=NUMBER),
        Option(("--icmp-type",), "the ICMP type", how=NUMBER),
        Option(("--at",), "when, as RFC 3339; now if not given", how={"metavar": "TIME"}),
        Option(
            ("--service-network",),
            "a prefix of Services' addresses; repeatable",
            how={"metavar": "PREFIX", "action": "append"},
        ),
    ),
    (
        ("source", {"metavar": "POD", "help": "NAME, pod/NAME or pod/NAMESPACE/NAME"}),
        ("destination", {"metavar": "POD|ADDRESS", "help": "the same, or an IP address"}),
    ),
    "pods",
    run=_explain,
)
QUARANTINE = Command(
    "quarantine",
    "cut a pod or a workload off, and let it out",
    commands=(
        Command(
            "add",
            "cut a pod off by its uid, or all pods of a workload",
            (
                *KUBECTL,
                NAMESPACE,
                OUTPUT,
                Option(("--reason",), "why; it is in the records", how={"required": True, "metavar": "TEXT"}),
                Option(
                    ("--for",), "90s, 30m, 4h; up to 168h", how={"dest": "lasting", "default": "4h", "metavar": "TIME"}
                ),
                Option(("--reference",), "a ticket, an incident", how={"default": "", "metavar": "TEXT"}),
                flag("--dry-run", help="it is told of, and nobody is cut off"),
                Option(
                    ("--workload-budget",),
                    "of a workload's pods without an approval",
                    how={**PERCENT, "default": QuarantineBudget().workload},
                ),
                Option(
                    ("--cluster-budget",),
                    "of the cluster's pods without an approval",
                    how={**PERCENT, "default": QuarantineBudget().cluster},
                ),
            ),
            (("subject", {"metavar": "pod/[NAMESPACE/]NAME|workload/[NAMESPACE/]NAME"}),),
            "subjects",
            run=_add,
        ),
        Command("list", "say which there are, and what each does", (*KUBECTL, OUTPUT), run=_list),
        Command(
            "release",
            "let pods out at once",
            (*KUBECTL, flag("--over", help="those whose time is over")),
            (("names", {"metavar": "NAME", "nargs": "*"}),),
            "quarantines",
            run=_release,
        ),
        Command(
            "approve",
            "let one that is beyond the budget come into force; not for who asked for it",
            KUBECTL,
            (("name", {"metavar": "NAME"}),),
            "quarantines",
            run=_approve,
        ),
    ),
)
ROOT = Command(
    NAME,
    "Zones and rules of this cluster's firewall, which are made in Panorama.",
    commands=(
        EXPLAIN,
        Command(
            "why",
            "say which connections of pods were refused within the last hour, by which rule, and what to do",
            (*KUBECTL, NAMESPACE, ALL_NAMESPACES, OUTPUT),
            (("pod", {"metavar": "POD", "nargs": "?", "help": "one pod alone"}),),
            "pods",
            run=_why,
        ),
        Command(
            "zones",
            "list the zones, how many pods are in each, and whether the namespace may use it",
            (*KUBECTL, NAMESPACE, ALL_NAMESPACES, OUTPUT, TIER),
            run=_zones,
        ),
        Command(
            "status",
            "say which revision is in force on how many nodes, and what is wrong",
            (*KUBECTL, OUTPUT, TIER),
            run=_status,
        ),
        QUARANTINE,
        Command("completion", "print the program by which shells complete", run=_completion),
    ),
)


if __name__ == "__main__":
    main()
