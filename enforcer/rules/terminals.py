"""Where ways through the rules end: one chain for each rule's verdict, which counts, logs and decides. Pure.

`enforcer.rules.ruleset` leads there; the log records' prefixes name terminals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from enforcer.rules import label
from enforcer.rules.generations import REVOKED, UNJUDGED, Marks
from enforcer.rules.matching import short_digest
from enforcer.rules.options import Mode, Options
from enforcer.rules.table import Chain, remark
from zones.policy import ISOLATION, NO_BLOCKLISTS, Blocklists, Verdict
from zones.rules import NO_LOG, Log, Origin

LOG_PREFIX = "zb"
ACCEPTED, STAMP, LIVE = "accepted", "stamp", "live"
LOGGED, UNLOGGED = "logged", "unlogged"
_REJECT = "meta l4proto tcp reject with tcp reset", "reject with icmpx admin-prohibited"
_HELD_BACK = f'counter counter name "{UNLOGGED}"'  # of this rule, and of all
_SNAP = 128  # bytes of a logged packet: enough for every header

Ending = tuple[Origin, Verdict, Log]
ISOLATED_END: Ending = (ISOLATION, Verdict.DENY, NO_LOG)
UNTRACKED: Ending = (Origin("infrastructure/untracked", None, "infrastructure", ""), Verdict.DENY, NO_LOG)
SPOOFED: Ending = (Origin("infrastructure/spoofed-address", None, "infrastructure", ""), Verdict.DENY, NO_LOG)
LOCAL_DNS: Ending = (Origin("infrastructure/local-dns", None, "infrastructure", ""), Verdict.ALLOW, NO_LOG)
WITHOUT_CONNECTION = frozenset({UNTRACKED[0], SPOOFED[0], LOCAL_DNS[0]})


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where a packet's way through the rules ends. `enforced` False: a denial that is only logged.

    `blocklists` is for who reads the log; packets know nothing of it, nor does the id.
    """

    origin: Origin
    verdict: Verdict
    log: Log
    enforced: bool = True
    blocklists: Blocklists = NO_BLOCKLISTS

    @property
    def id(self) -> str:
        origin = {name: getattr(self.origin, name) for name in Origin.__slots__}
        log = {name: getattr(self.log, name) for name in Log.__slots__}
        return short_digest({"origin": origin, "verdict": self.verdict, "log": log, "enforced": self.enforced})


@dataclass(slots=True)
class Terminals:
    """The terminals that were asked for, by id, and their chains. `blocklists`: of the rules that have any."""

    options: Options
    blocklists: Mapping[Origin, Blocklists] = field(default_factory=dict)
    by_id: dict[str, Terminal] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    _by_ending: dict[tuple[Ending, bool], str] = field(default_factory=dict)

    def chain(self, ending: Ending, *, observed: bool = False) -> str:
        """The name of the chain, which is made when first asked for. `observed`: it drops nothing in any mode."""
        found = self._by_ending.get((ending, observed))
        if found is None:
            origin, verdict, log = ending
            enforced = verdict is Verdict.ALLOW or (self.options.mode is Mode.ENFORCE and not observed)
            terminal = Terminal(origin, verdict, log, enforced, self.blocklists.get(origin, NO_BLOCKLISTS))
            key = terminal.id
            self.by_id[key] = terminal
            self._by_ending[ending, observed] = found = f"{verdict}-{key}"
            self.chains[found] = Chain(tuple(self._rules(terminal, key)))
        return found

    def _rules(self, terminal: Terminal, key: str) -> Iterator[str]:
        """Counted, then logged, then concluded. What the log's limit holds back is counted apart. Denials are logged.

        A connection that is judged again, as the rules have changed, was counted and logged when it began.
        """
        comment, end = f'comment "{remark(terminal.origin.name)}"', self._conclusion(terminal)
        if terminal.verdict is Verdict.ALLOW and terminal.origin in WITHOUT_CONNECTION:
            yield f"counter accept {comment}"
        elif terminal.verdict is Verdict.ALLOW:
            marks = self.options.marks
            fresh = f"ct mark & {marks.mask:#010x} == {UNJUDGED:#010x} " if marks.mask else ""
            whose = f"ct state new ct label set {label.words(key)} " if terminal.log.end and self.options.labels else ""
            yield f"{fresh}counter {whose}{comment}"
            if terminal.log.start:
                yield f"ct state new {fresh}{self._log(key, 'o')} {end}"
                if self.options.log_rate:
                    yield f"ct state new {fresh}{_HELD_BACK}"
            yield end
        elif terminal.origin in WITHOUT_CONNECTION:
            yield f"counter {self._log(key, 'o')} {end} {comment}"
            yield self._last(end)
        else:
            yield f"counter ct direction original {self._log(key, 'o')} {end} {comment}"
            yield f"ct direction reply {self._log(key, 'r')} {end}"
            yield self._last(end)

    def _conclusion(self, terminal: Terminal) -> str:
        if terminal.verdict is Verdict.ALLOW:
            return f"goto {ACCEPTED}"
        if not terminal.enforced:
            return "accept"
        if terminal.verdict is Verdict.RESET:
            return f"goto {self._ended('rejected', *_REJECT)}"
        return "drop" if terminal.origin in WITHOUT_CONNECTION else f"goto {self._ended('dropped', 'drop')}"

    def _ended(self, name: str, *rules: str) -> str:
        """A chain for denials. A connection that was accepted before is known as revoked from then on."""
        marks = self.options.marks
        accepted = f"ct mark & {marks.mask:#010x} != {UNJUDGED:#010x} "
        known = (accepted + stamping(marks, REVOKED),) if marks.mask else ()
        self.chains[name] = Chain((*known, *rules))
        return name

    def _log(self, key: str, direction: str) -> str:
        rate, burst = self.options.log_rate, self.options.log_burst
        limit = f"limit rate {rate}/second burst {burst} packets " if rate else ""
        prefix = f"{LOG_PREFIX}:{key}:{direction}"
        return f'{limit}log group {self.options.log_group} snaplen {_SNAP} prefix "{prefix}" counter name "{LOGGED}"'

    def _last(self, end: str) -> str:
        """For what the limit held back."""
        return f"{_HELD_BACK} {end}" if self.options.log_rate else end


def stamping(marks: Marks, number: int) -> str:
    """What gives a connection a number; bits that aren't ours stay."""
    return f"ct mark set ct mark & {marks.others:#010x} | {marks.bits(number):#010x}"
