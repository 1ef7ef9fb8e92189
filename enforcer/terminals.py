"""Where ways through the rules end: one chain for each rule's verdict, which counts, logs and decides. Pure.

`enforcer.ruleset` leads there; the log records' prefixes name terminals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from enforcer.generations import UNJUDGED
from enforcer.matching import short_digest
from enforcer.options import Mode, Options
from enforcer.table import Chain, remark
from zones.policy import ISOLATION, Verdict
from zones.rules import NO_LOG, Log, Origin

LOG_PREFIX = "zb"
ACCEPTED, STAMP, LIVE = "accepted", "stamp", "live"
_SNAP = 128  # bytes of a logged packet: enough for every header

Ending = tuple[Origin, Verdict, Log]
ISOLATED_END: Ending = (ISOLATION, Verdict.DENY, NO_LOG)
UNTRACKED: Ending = (Origin("infrastructure/untracked", None, "infrastructure", ""), Verdict.DENY, NO_LOG)
SPOOFED: Ending = (Origin("infrastructure/spoofed-address", None, "infrastructure", ""), Verdict.DENY, NO_LOG)
_WITHOUT_CONNECTION = frozenset({UNTRACKED[0], SPOOFED[0]})


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a packet's way through the rules ends. `enforced` False: a denial that observe mode only logs."""

    origin: Origin
    verdict: Verdict
    log: Log
    enforced: bool = True

    @property
    def id(self) -> str:
        origin = {name: getattr(self.origin, name) for name in Origin.__slots__}
        log = {name: getattr(self.log, name) for name in Log.__slots__}
        return short_digest({"origin": origin, "verdict": self.verdict, "log": log, "enforced": self.enforced})


@dataclass(slots=True)
class Terminals:
    """The terminals that were asked for, by id, and their chains."""

    options: Options
    by_id: dict[str, Terminal] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    _by_ending: dict[Ending, str] = field(default_factory=dict)

    def chain(self, ending: Ending) -> str:
        """The name of the chain, which is made when first asked for."""
        if ending not in self._by_ending:
            origin, verdict, log = ending
            enforced = verdict is Verdict.ALLOW or self.options.mode is Mode.ENFORCE
            terminal = Terminal(origin, verdict, log, enforced)
            key = terminal.id
            self.by_id[key] = terminal
            self._by_ending[ending] = f"{verdict}-{key}"
            self.chains[f"{verdict}-{key}"] = Chain(tuple(self._rules(terminal, key)))
        return self._by_ending[ending]

    def _rules(self, terminal: Terminal, key: str) -> Iterator[str]:
        """Counted before logged: what the limit swallows is known. Denials are always logged.

        A connection that is judged again, as the rules have changed, was counted and logged when it began.
        """
        comment = f'comment "{remark(terminal.origin.name)}"'
        if terminal.verdict is Verdict.ALLOW:
            marks = self.options.marks
            fresh = f"ct mark & {marks.mask:#010x} == {UNJUDGED:#010x} " if marks.mask else ""
            yield f"{fresh}counter {comment}"
            if terminal.log.start:
                yield f"ct state new {fresh}{self._log(key, 'o')}"
            yield f"goto {ACCEPTED}"
        elif terminal.origin in _WITHOUT_CONNECTION:
            yield f"counter {self._log(key, 'o')} {comment}"
            yield from self._denied(terminal)
        else:
            yield f"counter ct direction original {self._log(key, 'o')} {comment}"
            yield f"ct direction reply {self._log(key, 'r')}"
            yield from self._denied(terminal)

    def _denied(self, terminal: Terminal) -> Iterator[str]:
        if not terminal.enforced:
            yield "accept"
        elif terminal.verdict is Verdict.RESET:
            yield "meta l4proto tcp reject with tcp reset"
            yield "reject with icmpx admin-prohibited"
        else:
            yield "drop"

    def _log(self, key: str, direction: str) -> str:
        limit = f"limit rate {self.options.log_rate}/second burst {self.options.log_burst} packets"
        return f'{limit} log group {self.options.log_group} snaplen {_SNAP} prefix "{LOG_PREFIX}:{key}:{direction}"'
