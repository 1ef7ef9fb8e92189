"""Where ways through the rules end: one chain for each rule's verdict, which counts, logs and decides. Pure.

`enforcer.rules.ruleset` leads there; the log records' prefixes name terminals.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from enforcer.rules import connlabel, log_limits
from enforcer.rules.connmark import REVOKED, UNJUDGED, ConnmarkLayout
from enforcer.rules.match import short_digest
from enforcer.rules.options import Mode, RulesetOptions
from enforcer.rules.table import Chain, remark
from zones.policy import (
    BROADCAST,
    ISOLATION,
    LINK_LOCAL,
    NO_BLOCKLISTS,
    QUARANTINED,
    TUNNELLED,
    UNKNOWN_POD,
    UNTRANSLATED_SERVICE,
    Blocklists,
    Verdict,
    built_in,
)
from zones.rules import NO_LOG, Log, Origin

LOG_PREFIX = "zb"
ACCEPTED, STAMP, LIVE = "accepted", "stamp", "live"
LOGGED, UNLOGGED = "logged", "unlogged"
_RESET_TCP = "meta l4proto tcp reject with tcp reset"
_REJECT = _RESET_TCP, "reject with icmpx admin-prohibited"
_REFUSE = _RESET_TCP, "reject with icmpx port-unreachable"  # as if nobody listened
_SNAP = 128  # bytes of a logged packet: enough for every header

Ending = tuple[Origin, Verdict, Log]


def _denied(origin: Origin) -> Ending:
    return origin, Verdict.DENY, NO_LOG


ISOLATED_END = _denied(ISOLATION)
QUARANTINED_END = _denied(QUARANTINED)
UNKNOWN_END = _denied(UNKNOWN_POD)
LINK_LOCAL_END = _denied(LINK_LOCAL)
BROADCAST_END = _denied(BROADCAST)
TUNNEL_END = _denied(TUNNELLED.origin)
UNTRACKED = _denied(built_in("untracked"))
NO_CONNECTION = _denied(built_in("no-connection"))
SPOOFED = _denied(built_in("spoofed-address"))
ROUTER_MESSAGE = _denied(built_in("router-message"))
ICMP_ERROR = _denied(built_in("icmp-error"))
FOREIGN_FRAME = _denied(built_in("foreign-frame"))
MISDIRECTED = _denied(built_in("misdirected-frame"))
UNJUDGED_END = _denied(built_in("unjudged"))  # never while the table is whole
SERVICE_END: Ending = (UNTRANSLATED_SERVICE, Verdict.RESET, NO_LOG)
LOCAL_DNS: Ending = (built_in("local-dns"), Verdict.ALLOW, NO_LOG)
BY_PACKET = frozenset(
    ending[0]
    for ending in (LINK_LOCAL_END, BROADCAST_END, UNTRACKED, NO_CONNECTION, SPOOFED, ROUTER_MESSAGE, ICMP_ERROR,
                 FOREIGN_FRAME, MISDIRECTED, UNJUDGED_END, LOCAL_DNS)
)  # fmt: skip
"""Rules that judge a packet and not its connection, which it may not have, or not by right."""


@dataclass(frozen=True, slots=True)
class VerdictChain:
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
class VerdictChains:
    """The terminals that were asked for, by id, and their chains. `blocklists`: of the rules that have any.

    `limits`: what keeps a source from filling the log. `add`: where chains go, if not into `chains`.
    """

    options: RulesetOptions
    blocklists: Mapping[Origin, Blocklists] = field(default_factory=dict)
    by_id: dict[str, VerdictChain] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    limits: Callable[..., Iterator[str]] = log_limits.rules
    add: Callable[[str, Chain], None] | None = None
    _by_ending: dict[tuple[Ending, bool] | None, str] = field(default_factory=dict)
    _endings: dict[str, tuple[Ending, bool]] = field(default_factory=dict)

    def chain(self, ending: Ending, *, observed: bool = False) -> str:
        """The name of the chain, which is made when first asked for. `observed`: it drops nothing in any mode."""
        name = self._by_ending.get((ending, observed))
        if name is None:
            origin, verdict, log = ending
            enforced = verdict is Verdict.ALLOW or (self.options.mode is Mode.ENFORCE and not observed)
            terminal = VerdictChain(origin, verdict, log, enforced, self.blocklists.get(origin, NO_BLOCKLISTS))
            key = terminal.id
            self.by_id[key] = terminal
            name = f"{verdict}-{key}"
            self._by_ending[ending, observed], self._endings[name] = name, (ending, observed)
            self._put(name, Chain(tuple(self._rules(terminal, key))))
        return name

    def forget(self, names: Collection[str]) -> None:
        """Chains that are gone end nothing any more."""
        for name in names:
            self.by_id.pop(name.partition("-")[2], None)
            self._by_ending.pop(self._endings.pop(name, None), None)

    def follow(self, blocklists: Mapping[Origin, Blocklists]) -> None:
        """Rules draw on these lists now."""
        if blocklists != self.blocklists:
            self.blocklists = blocklists
            for key, terminal in self.by_id.items():
                self.by_id[key] = replace(terminal, blocklists=blocklists.get(terminal.origin, NO_BLOCKLISTS))

    def _put(self, name: str, chain: Chain) -> None:
        if self.add is None:
            self.chains[name] = chain
        else:
            self.add(name, chain)

    def _rules(self, terminal: VerdictChain, key: str) -> Iterator[str]:
        """Counted, then logged and concluded; only concluded where its source has used up the log. Denials are logged.

        What is logged is counted apart: the rest is what the limit held back. A connection that is judged again, as the
        rules have changed, was counted and logged when it began.
        """
        comment, end = f'comment "{remark(terminal.origin.name)}"', self._conclusion(terminal)
        by_packet = terminal.origin in BY_PACKET
        if terminal.verdict is Verdict.ALLOW and by_packet:
            yield f"counter accept {comment}"
        elif terminal.verdict is Verdict.ALLOW:
            marks = self.options.marks
            fresh = f"ct mark & {marks.mask:#010x} == {UNJUDGED:#010x} " if marks.mask else ""
            whose = (
                f"ct state new ct label set {connlabel.words(key)} " if terminal.log.end and self.options.labels else ""
            )
            yield f"{fresh}counter {whose}{comment}"
            if terminal.log.start:
                asks = self._asks(end)
                yield from [f"ct state new {fresh}counter {asks.rstrip()}"] if asks else []
                yield f"ct state new {fresh}counter {self._log(key, 'o')} {end}"
            yield end
        else:
            yield f"counter {self._asks(end, forged=terminal.origin == SPOOFED[0])}{comment}"
            if by_packet:
                yield f"counter {self._log(key, 'o')} {end}"
            else:
                yield f"counter ct direction reply {self._log(key, 'r')} {end}"
                yield f"{self._log(key, 'o')} {end}"

    def _asks(self, end: str, *, forged: bool = False) -> str:
        """Whoever comes back from there is logged; `end` is for the others."""
        if not self.options.log_rate:
            return ""
        name = f"log-limit-{end.removeprefix('goto ')}{'-forged' if forged else ''}"
        # The kernel follows at most 16 chains: from here, one less than by way of `accepted`.
        ends = (f"jump {STAMP}", "accept") if end == f"goto {ACCEPTED}" else (end,)
        beyond = f'counter name "{UNLOGGED}" {ends[0]}', *ends[1:]
        self._put(name, Chain((*self.limits(self.options, forged=forged), *beyond)))
        return f"jump {name} "

    def _conclusion(self, terminal: VerdictChain) -> str:
        if terminal.verdict is Verdict.ALLOW:
            return f"goto {ACCEPTED}"
        if not terminal.enforced:
            return "accept"
        if terminal.origin == UNTRANSLATED_SERVICE:
            return f"goto {self._ended('refused', *_REFUSE)}"
        if terminal.verdict is Verdict.RESET:
            return f"goto {self._ended('rejected', *_REJECT)}"
        return "drop" if terminal.origin in BY_PACKET else f"goto {self._ended('dropped', 'drop')}"

    def _ended(self, name: str, *rules: str) -> str:
        """A chain for denials. A connection that was accepted before is known as revoked from then on."""
        marks = self.options.marks
        accepted = f"ct mark & {marks.mask:#010x} != {UNJUDGED:#010x} "
        known = (accepted + stamping(marks, REVOKED),) if marks.mask else ()
        self._put(name, Chain((*known, *rules)))
        return name

    def _log(self, key: str, direction: str) -> str:
        prefix = f"{LOG_PREFIX}:{key}:{direction}"
        return f'log group {self.options.log_group} snaplen {_SNAP} prefix "{prefix}" counter name "{LOGGED}"'


def stamping(marks: ConnmarkLayout, number: int) -> str:
    """What gives a connection a number; bits that aren't ours stay."""
    return f"ct mark set ct mark & {marks.others:#010x} | {marks.bits(number):#010x}"
