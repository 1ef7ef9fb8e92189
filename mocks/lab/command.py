"""`python -m mocks lab`: brings up a topology from YAML, shows it, and holds it until SIGINT or SIGTERM.

It refuses a file it doesn't understand and reports to no API server. mocks/__main__ registers `serve`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from rich.console import Console
from rich.table import Table

from mocks.lab.leftovers import purge
from mocks.lab.machines import Machine, Node, Pod
from mocks.lab.netns import LabError, unavailable
from mocks.lab.topology import Lab

TROUBLE = 1
BAD_INPUT = 2
PIPE_WIDTH = 140


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NodePlan(Strict):
    """A node; without prefixes it gets the next 10.244.N.0/24 and fd00:10:244:N::/64.

    `bridge`: its pods are on a bridge, not routed. `masquerade`: they are hidden from what is outside.
    """

    pod_cidr: str | None = None
    pod_cidr6: str | None = None
    bridge: bool = False
    masquerade: bool = False
    pods: list[str] = []
    host_network: list[str] = []


class HostPlan(Strict):
    ip: str
    ip6: str


class LabPlan(Strict):
    """What to bring up; `tcp` and `udp` are echo ports served by every pod and outside host."""

    nodes: dict[str, NodePlan] = Field(min_length=1)
    outside: dict[str, HostPlan] = {}
    tcp: list[int] = []
    udp: list[int] = []


USUAL = LabPlan(
    nodes={"node-1": NodePlan(pods=["web-1", "db-1"]), "node-2": NodePlan(pods=["web-2", "batch-1"])},
    outside={"outside": HostPlan(ip="198.51.100.10", ip6="2001:db8:100::10")},
    tcp=[80, 443],
    udp=[53],
)


def serve(
    config: Annotated[Path | None, typer.Option(help="YAML with nodes, pods and outside hosts.")] = None,
    prefix: Annotated[str, typer.Option(help="Name of the lab; leftovers of a dead one are ended.")] = "lab",
    *,
    purge_only: Annotated[bool, typer.Option("--purge", help="Only end what dead labs of that name left.")] = False,
) -> None:
    """Nodes and pods as network namespaces on this machine's kernel, until SIGINT or SIGTERM."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    if purge_only:
        console.print(f"ended {len(purge(prefix))} processes of dead labs named {prefix}")
        return
    try:
        plan = USUAL if config is None else read(config)
        reason = unavailable()
        if reason is not None:
            fail(reason, TROUBLE)
        hold(plan, prefix, console)
    except LabError as error:
        fail(str(error), BAD_INPUT)


def fail(why: str, code: int) -> NoReturn:
    print(f"lab: {why}", file=sys.stderr)
    raise typer.Exit(code)


def read(config: Path) -> LabPlan:
    try:
        return LabPlan.model_validate(yaml.safe_load(config.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise LabError(f"cannot read {config}: {' '.join(str(error).split())}; give a readable YAML file") from error
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc'])) or 'file'}: {fault['msg']}" for fault in error.errors())
        raise LabError(f"cannot use {config}: {faults}; correct these") from error


def hold(plan: LabPlan, prefix: str, console: Console) -> None:
    ends = [signal.SIGINT, signal.SIGTERM]
    # blocked before any thread starts, so that the signal comes to nobody but sigwait
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with Lab(prefix) as lab:
            build(lab, plan)
            console.print(table(lab))
            console.print("enter one with the command beside it; the lab ends with SIGINT or SIGTERM")
            signal.sigwait(ends)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def build(lab: Lab, plan: LabPlan) -> None:
    try:
        for name, node_plan in plan.nodes.items():
            add_node(lab, name, node_plan)
        for name, host_plan in plan.outside.items():
            lab.host(name, host_plan.ip, host_plan.ip6)
    except ValueError as error:
        raise LabError(f"{error}; correct the address") from error
    for name, node_plan in plan.nodes.items():
        if node_plan.masquerade:
            lab.nodes[name].masquerade(*lab.inside_prefixes)
    for machine in echoing(lab):
        lab.listen(machine, *plan.tcp)
        lab.listen(machine, *plan.udp, transport="udp")


def add_node(lab: Lab, name: str, plan: NodePlan) -> None:
    node = lab.node(name, plan.pod_cidr, plan.pod_cidr6, bridge=plan.bridge)
    for pod in plan.pods:
        node.pod(pod)
    for pod in plan.host_network:
        node.pod(pod, host_network=True)


def echoing(lab: Lab) -> list[Machine]:
    pods = [pod for pod in lab.pods if not pod.host_network]
    return [*pods, *(host for host in lab.hosts.values() if host is not lab.control)]


def table(lab: Lab) -> Table:
    shown = Table(title=f"lab {lab.prefix}")
    for column in ("kind", "name", "node", "IPv4", "IPv6", "enter with"):
        shown.add_column(column, no_wrap=True)
    for machine in machines(lab):
        where = machine.node.name if isinstance(machine, Pod) else ""
        shown.add_row(kind(machine), machine.name, where, machine.ip, machine.ip6, " ".join(machine.command(["sh"])))
    return shown


def machines(lab: Lab) -> Sequence[Machine]:
    return [*lab.hosts.values(), *lab.nodes.values(), *lab.pods]


def kind(machine: Machine) -> str:
    if isinstance(machine, Pod):
        return "pod on host network" if machine.host_network else "pod"
    return "node" if isinstance(machine, Node) else "host"
