"""Every connection between the pods: what the policy says of it, and what came of a real one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from socket import SOCK_STREAM, AddressFamily, socket

from rich.table import Table

from bridge.managers.panorama import ReadOptions, read_file
from bridge.segmentation import matrix, probe
from bridge.segmentation.attempts import EXPECTED, Attempt, ProbeEnd, judged
from mocks.lab import Outcome
from mocks.lab.machines import Machine
from tests.demo.company import Company, HostSpec, PodSpec
from zones.compile import CompileOptions, compile_policy
from zones.policy import Policy
from zones.verdict import Decision
from zones.zone import allowed_zones

OUTCOMES = {verdict: Outcome(outcome.value) for verdict, outcome in EXPECTED.items()}
AT_ONCE = probe.AT_ONCE
Machines = Mapping[str, Machine]


class RefusedError(Exception):
    """The configuration is refused; the reasons, one for each rule that refuses it."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons


@dataclass(frozen=True, slots=True)
class Connection:
    """One possible connection, and what the policy says of it."""

    attempt: Attempt

    @property
    def source(self) -> str:
        return self.attempt.source.name

    @property
    def destination(self) -> str:
        return self.attempt.destination.name

    @property
    def from_zone(self) -> str:
        return self.attempt.source.zone

    @property
    def to_zone(self) -> str:
        return self.attempt.destination.zone

    @property
    def ip(self) -> str:
        return str(self.attempt.address)

    @property
    def port(self) -> int:
        return self.attempt.port

    @property
    def decision(self) -> Decision:
        return self.attempt.decision

    @property
    def expected(self) -> Outcome:
        return Outcome(self.attempt.expected.value)


@dataclass(frozen=True, slots=True)
class Measured:
    """A connection and its outcome on the wire."""

    connection: Connection
    outcome: Outcome

    @property
    def beside(self) -> matrix.Measured:
        """As `zonebridge verify` has it."""
        return matrix.Measured(self.connection.attempt, probe.Outcome(self.outcome.value))

    @property
    def agrees(self) -> bool:
        return self.beside.difference is None


def policy_of(company: Company, configuration: Path | None = None) -> Policy:
    """What a configuration means, the company's own unless given, by the same settings as the bridge's."""
    site = company.site()
    options = ReadOptions(site.objects.ancestors_win, site.time_zone)
    rulebase = read_file(configuration or company.panorama, company.device_group, options)
    compiled = compile_policy(
        rulebase,
        site.zones.zoning(),
        CompileOptions(app_id_side=site.app_id.side, inexpressible_deny=site.inexpressible_deny),
        site.infrastructure.rules(),
    )
    if compiled.policy is None:
        raise RefusedError(tuple(f"{each.origin.name}: {', '.join(each.reasons)}" for each in compiled.refusals))
    return compiled.policy


def connections(company: Company, policy: Policy, machines: Machines) -> list[Connection]:
    """From every pod and host to every pod, on every port, in both families."""
    now = datetime.now(UTC)
    ends = [*company.pods, *company.hosts]
    return [
        connection(company, policy, machines, pair, port, family, now)
        for family in (4, 6)
        for pair in _pairs(ends, company.pods)
        for port in company.ports
    ]


def _pairs(
    sources: list[PodSpec | HostSpec], destinations: tuple[PodSpec, ...]
) -> Iterator[tuple[PodSpec | HostSpec, PodSpec]]:
    return ((source, target) for source in sources for target in destinations if source is not target)


def connection(  # noqa: PLR0917 - all of one kind of thing: what a connection is made of
    company: Company,
    policy: Policy,
    machines: Machines,
    pair: tuple[PodSpec | HostSpec, PodSpec],
    port: int,
    family: int,
    now: datetime,
) -> Connection:
    """One connection, judged by a policy."""
    source, destination = (_end(company, policy, end, machines[end.name], family) for end in pair)
    attempt = judged(policy, source, destination, port, family, now)
    if attempt is None:
        raise ValueError(f"{pair[0].name} and {pair[1].name} have no IPv{family} addresses")
    return Connection(attempt)


def _end(company: Company, policy: Policy, end: PodSpec | HostSpec, machine: Machine, family: int) -> ProbeEnd:
    addresses = (ip_address(machine.ip if family == 4 else machine.ip6),)
    if isinstance(end, HostSpec):
        return ProbeEnd(end.name, policy.zoning.of_address(addresses[0]), addresses, "")
    labels = {policy.zoning.label_key: end.zone} if end.zone else {}
    allowed = allowed_zones(company.annotations.get(end.namespace, {}))
    zone = policy.zoning.of_pod(labels, allowed)
    return ProbeEnd(end.name, zone, addresses, end.workload, end.namespace, end.node)


def measured(wanted: list[Connection], machines: Machines, timeout: float = 0.5) -> Iterator[list[Measured]]:
    """A real TCP connection for each, some hundreds at a time, by the program of the probe pods."""
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]

        def open_socket(place: int, family: AddressFamily, some: list[Connection] = some) -> socket:
            return machines[some[place].source].netns.socket(family, SOCK_STREAM)

        outcomes = probe.try_all([(each.ip, each.port) for each in some], open_socket, timeout)
        yield [Measured(each, Outcome(outcome.value)) for each, outcome in zip(some, outcomes, strict=True)]


def table(results: list[Measured]) -> Table:
    """From-zones down, to-zones across: the ports that were open, and in red what the policy says otherwise.

    A port with `*` is open for some of the pair's pods only (an App-ID, an address, the infrastructure).
    """
    cells: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for result in results:
        cells[result.connection.from_zone, result.connection.to_zone].append(result)
    rows = sorted({pair[0] for pair in cells})
    columns = sorted({pair[1] for pair in cells})
    drawn = Table(title="open TCP ports, measured | policy", show_lines=True)
    drawn.add_column("from \\ to")
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(f"[bold]{row}", *(_cell(cells.get((row, column), [])) for column in columns))
    return drawn


def _cell(results: list[Measured]) -> str:
    if not results:
        return "[dim]-"
    real = _ports(results, {id(each) for each in results if each.outcome is Outcome.ALLOWED})
    said = _ports(results, {id(each) for each in results if each.connection.expected is Outcome.ALLOWED})
    colour = "green" if all(each.agrees for each in results) else "bold red"
    return f"[{colour}]{real or 'closed'}[/]\n[dim]{said or 'closed'}"


def _ports(results: list[Measured], chosen: set[int]) -> str:
    total: dict[int, int] = defaultdict(int)
    opened: dict[int, int] = defaultdict(int)
    for each in results:
        total[each.connection.port] += 1
        opened[each.connection.port] += id(each) in chosen
    if all(opened.values()):
        return "all" if opened == total else "all*"
    return " ".join(f"{port}{'' if opened[port] == total[port] else '*'}" for port in sorted(total) if opened[port])
