"""`python -m tests.demo`: the product at work, told as a story. Exit 0 only if every measured connection agrees."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from bridge.errors import BridgeError
from mocks.lab import Conversation, LabError, Outcome, connect, unavailable
from tests.demo import change
from tests.demo.change import Change
from tests.demo.company import Company, example, of_export
from tests.demo.matrix import Connection, Measured, RefusedError, connections, measured, policy_of, table
from tests.demo.world import World, WorldError

TROUBLE, BAD_INPUT = 1, 2
COMMITS = 10
ALERTS_SHOWN = 15
DENIALS = frozenset({"denied-flow", "blocklist-hit"})

console = Console(width=None if sys.stdout.isatty() else 160, highlight=False)


def main(
    panorama_config: Annotated[Path | None, typer.Option(help="Your own exported running-config.xml.")] = None,
    device_group: Annotated[str | None, typer.Option(help="The device group that the cluster is.")] = None,
    commits: Annotated[int, typer.Option(min=0, help="How many commits to time at the end.")] = COMMITS,
) -> None:
    """Show the product at work on the example company, or on your own Panorama export."""
    try:
        company = _company(panorama_config, device_group)
    except (BridgeError, ValueError) as error:
        _fail(str(error), BAD_INPUT)
    reason = unavailable()
    if reason:
        _fail(reason, TROUBLE)
    try:
        with World(company) as world:
            raise typer.Exit(Story(world).tell(commits))
    except (WorldError, LabError) as error:
        _fail(str(error), TROUBLE)


def _company(panorama_config: Path | None, device_group: str | None) -> Company:
    if panorama_config is None and device_group is None:
        return example()
    if panorama_config is None or device_group is None:
        raise ValueError("give both: make demo PANORAMA_CONFIG=my.xml DEVICE_GROUP=my-dg")
    company = of_export(panorama_config, device_group)
    try:
        policy_of(company)
    except RefusedError as refused:
        console.print("[bold]As it stands, this configuration is refused, and the last good tier would stay:")
        for reason in refused.reasons:
            console.print(f"  {reason}", markup=False)
        console.print("To show the rest, the demo goes on as if these rules carried the tag k8s-ignore.")
        return of_export(panorama_config, device_group, ignore_inexpressible=True)
    return company


def _fail(message: str, code: int) -> None:
    typer.echo(f"demo: {message}", err=True)
    raise typer.Exit(code)


class Story:
    """What is shown, in order. `disagreements` counts measured connections that the policy says otherwise of."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.disagreements = 0

    def tell(self, commits: int) -> int:
        """The exit code."""
        self._introduce()
        before = self._measure("1. Before", policy_of(self.world.company))
        planned = change.prepare(self.world, before)
        self._commit(planned)
        self._measure("3. After", policy_of(self.world.company, self.world.candidate_file()))
        self._time_commits(planned, commits)
        heard = self._siem()
        if self.disagreements:
            console.print(f"[bold red]{self.disagreements} measured connections differ from the policy")
        return TROUBLE if self.disagreements or not heard else 0

    def _introduce(self) -> None:
        company = self.world.company
        started = time.monotonic()
        self.world.start_product()
        console.rule(f"[bold]{company.device_group}: a cluster as one more Panorama device group")
        console.print(
            f"{len(company.pods)} pods on {len(self.world.nodes)} nodes, {len(company.hosts)} hosts outside; "
            f"tier revision {self.world.revision()} is in force on both nodes, "
            f"{time.monotonic() - started:.1f} s after zonebridge and zone-enforcer were started"
        )
        console.print(_rules_told(company))

    def _measure(self, title: str, policy) -> list[Connection]:
        wanted = connections(self.world.company, policy, self.world.machines)
        started = time.monotonic()
        console.rule(f"[bold]{title}")
        results: list[Measured] = []
        with Live(console=console, auto_refresh=False) as live:
            for some in measured(wanted, self.world.machines):
                results += some
                live.update(table(results), refresh=True)
        if not console.is_terminal:
            console.line()
        wrong = [result for result in results if not result.agrees]
        self.disagreements += len(wrong)
        counts = Counter(result.outcome.value for result in results)
        console.print(
            f"{len(results)} TCP connections over IPv4 and IPv6 in {time.monotonic() - started:.0f} s: "
            + ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
            + f"; [bold]{len(results) - len(wrong)} agree with the policy, {len(wrong)} differ"
        )
        for result in wrong[:10]:
            told = result.connection
            console.print(
                f"[red]{told.source} -> {told.destination} {told.ip} tcp/{told.port}: {result.outcome}, "
                f"but '{told.decision.origin.name}' says {told.expected}"
            )
        return wanted

    def _commit(self, planned: Change) -> None:
        console.rule("[bold]2. An administrator commits in Panorama")
        for words in planned.words:
            console.print(f"  {words}")
        talk = self._conversation(planned.cuts)
        revision = self.world.revision()
        started = time.monotonic()
        self.world.panorama.panorama.commit(description="demo")
        if planned.opens is not None:
            self._await_outcome(planned.opens, Outcome.ALLOWED)
            console.print(f"  {_told(planned.opens)}: open {time.monotonic() - started:.2f} s after the commit began")
        if talk is not None and planned.cuts is not None:
            self.world.wait(lambda: not talk.alive, "the revoked connection is cut")
            console.print(
                f"  {_told(planned.cuts)}: established before, {talk.replies} replies, "
                f"its last one {talk.last_reply_at - started:.2f} s after the commit began"
            )
        self.world.wait(lambda: self.world.revision() > revision and self.world.in_sync(), "both nodes are in sync")
        console.print(f"  both nodes report revision {self.world.revision()}")

    def _conversation(self, cut: Connection | None) -> Conversation | None:
        if cut is None:
            return None
        return self.world.lab.conversation(self.world.machines[cut.source], cut.ip, cut.port)

    def _await_outcome(self, wanted: Connection, outcome: Outcome) -> float:
        source = self.world.machines[wanted.source]
        return self.world.wait(
            lambda: connect(source, wanted.ip, wanted.port, 0.2) is outcome, f"{_told(wanted)} is {outcome}"
        )

    def _time_commits(self, planned: Change, commits: int) -> None:
        """Switch the added rule off and on, each time until real packets on the wire and both nodes agree."""
        if planned.opens is None or not commits:
            return
        panorama = self.world.panorama.panorama
        seconds = []
        for number in range(commits):
            disabled = number % 2 == 0
            change.set_disabled(panorama, planned.added, disabled=disabled)
            revision = self.world.revision()
            started = time.monotonic()
            panorama.commit(description=f"demo {number}")
            self.world.wait(lambda r=revision: self.world.revision() > r and self.world.in_sync(), "nodes in sync")
            self._await_outcome(planned.opens, planned.opens.expected if disabled else Outcome.ALLOWED)
            seconds.append(time.monotonic() - started)
        console.rule("[bold]4. From commit to enforcement")
        console.print(
            f"{commits} commits, each until both nodes report it and a real connection shows it: "
            f"median {statistics.median(seconds):.2f} s, fastest {min(seconds):.2f} s, slowest {max(seconds):.2f} s"
        )

    def _siem(self) -> bool:
        """Show the alerts; whether denied flows were heard of."""
        self.world.wait(lambda: any(e.get("alert") == "denied-flow" for e in self.world.events()), "an alert arrives")
        events = self.world.events()
        alerts = [event for event in events if event.get("kind") == "alert"]
        console.rule("[bold]5. What the SIEM received")
        kinds = Counter(alert["alert"] for alert in alerts)
        flows = len(events) - len(alerts)
        console.print(f"{flows} flow records; alerts: {', '.join(f'{n} {kind}' for kind, n in kinds.most_common())}")
        console.print(_alerts(alerts))
        return kinds["denied-flow"] > 0


def _told(wanted: Connection) -> str:
    return f"{wanted.source} ({wanted.from_zone}) -> {wanted.destination} ({wanted.to_zone}) tcp/{wanted.port}"


def _rules_told(company: Company) -> str:
    """The rules' statuses, as `zonebridge compile -o report` tells them."""
    command = [str(Path(sys.executable).parent / "zonebridge"), "compile", "-o", "json"]
    command += ["--panorama-config", str(company.panorama), "--device-group", company.device_group]
    done = subprocess.run([*command, "-c", str(company.settings)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise WorldError(done.stderr.strip())
    counts = json.loads(done.stdout)["summary"]
    told = ", ".join(f"{number} {status.replace('_', ' ')}" for status, number in counts.items() if status != "total")
    return f"{counts['total']} rules: {told}"


def _alerts(alerts: list[dict]) -> Table:
    """Conditions first, then the first denied flow of every rule and pair of zones."""
    drawn = Table(show_edge=False)
    for column in ("alert", "severity", "rule", "device group", "from", "to", "port", "state"):
        drawn.add_column(column, overflow="fold")
    denials = [alert for alert in alerts if alert["alert"] in DENIALS]
    for alert in alerts:
        if alert["alert"] not in DENIALS:
            drawn.add_row(alert["alert"], alert["severity"], "", "", alert["subject"], "", "", alert["state"])
    # one that tells of many flows at once names no protocol
    first = {(a["rule"]["name"], _zones(a)): a for a in reversed(denials) if "protocol" in a}
    shown = list(reversed(first.values()))[:ALERTS_SHOWN]
    for alert in shown:
        drawn.add_row(*_denied(alert))
    rest = len(denials) - len(shown)
    drawn.caption = f"and {rest} more, one for each rule, workload pair and port, or for all the rest of one workload"
    return drawn


def _zones(alert: dict) -> tuple[str, str]:
    return alert["source"]["zone"], alert["destination"]["zone"]


def _denied(alert: dict) -> tuple[str, ...]:
    rule, ends = alert["rule"], [alert["source"], alert["destination"]]
    names = [f"{end.get('namespace', '')}/{end.get('workload') or end['address']} ({end['zone']})" for end in ends]
    port = f"{alert['protocol']}/{ends[1].get('port', '')}"
    return alert["alert"], alert["severity"], rule["name"], rule.get("deviceGroup", ""), *names, port, alert["state"]


if __name__ == "__main__":
    typer.run(main)
