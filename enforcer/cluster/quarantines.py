"""How long each quarantine still lasts on this node, by a clock that nobody sets. No I/O but the file it is given.

A quarantine lasts from its creation, which the API server's clock tells. How long ago that was is asked once, when it
is first heard of, of that same clock (an answer's Date); from then on, and after a restart of the agent, this machine's
time since boot counts alone. So neither a clock that is set nor a bridge that is gone changes when it ends. Where
nothing tells how long ago it was made it counts from when it was heard of: late, never early.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import inf
from pathlib import Path

from enforcer import state_file
from zones.addresses.inventory import Pod
from zones.subjects import NOBODY, Subjects, mark_of
from zones.tiers.quarantines import Quarantine

FILE = "quarantines.json"
_COARSE = 1.0  # both of the API server's times are whole seconds, cut off


def since_boot() -> float:
    """Seconds since the machine began, sleep counted; no setting of clocks changes it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(frozen=True, slots=True)
class Term:
    """A quarantine, and when it began by the machine's time since boot; that may be before the boot."""

    quarantine: Quarantine
    began: float

    @property
    def ends(self) -> float:
        return self.began + self.quarantine.seconds


@dataclass(slots=True)
class QuarantineTerms:
    """By name. `changed`: whether the file no longer says what is known.

    Whoever may label pods can have their controller let go of them, and so give them another workload while they run.
    What a quarantine of a workload has once cut off it holds by the pod's uid, here on the pod's own node, which all
    that the pod says and hears passes.
    """

    clock: Callable[[], float] = since_boot
    changed: bool = False
    _terms: dict[str, Term] = field(default_factory=dict)
    _cut_as: dict[str, frozenset[str]] = field(default_factory=dict)

    def keep(self, quarantine: Quarantine, server_time: float | None) -> None:
        """As it is now. `server_time`: the API server's, when it told this in a list; None where it is told at once."""
        known = self._terms.get(quarantine.name)
        if known is not None and known.quarantine.uid == quarantine.uid:
            began = known.began
        else:
            began = self.clock() - _age(quarantine, server_time)
        term = Term(quarantine, began)
        self.changed = self.changed or term != known
        self._terms[quarantine.name] = term

    def forget(self, name: str) -> None:
        self.changed = self._terms.pop(name, None) is not None or self.changed

    def subjects(self) -> Subjects:
        """Who is cut off now."""
        now, pods, workloads = self.clock(), set[tuple[str, str, bytes]](), set[tuple[str, str]]()
        for term in self._terms.values():
            if term.quarantine.cuts and now < term.ends:
                subjects = term.quarantine.subjects
                pods |= subjects.pods
                workloads |= subjects.workloads
        return Subjects(frozenset(pods), frozenset(workloads)) if pods or workloads else NOBODY

    def cut(self, pod: Pod, subjects: Subjects) -> bool:
        """Whether a pod of this node is among the subjects, or is still that of a workload which is."""
        among = subjects.have(pod.namespace, pod.name, mark_of(pod.uid), pod.workload)
        before = self._cut_as.get(pod.uid, frozenset())
        if among and pod.workload not in before and (pod.namespace, pod.workload) in subjects.workloads:
            self._cut_as[pod.uid] = before | {pod.workload}
            self.changed = True
        return among or any((pod.namespace, workload) in subjects.workloads for workload in before)

    def about(self, quarantine: Quarantine, pod: Pod) -> bool:
        """Whether it names a pod of this node, or the workload as which that was cut off."""
        if quarantine.workload in self._cut_as.get(pod.uid, ()) and quarantine.namespace == pod.namespace:
            return True
        return quarantine.names(pod.namespace, pod.name, pod.uid, pod.workload)

    def ended(self, uids: Iterable[str]) -> None:
        """These pods are gone."""
        gone = [uid for uid in uids if self._cut_as.pop(uid, None) is not None]
        self.changed = self.changed or bool(gone)

    def cut_before(self) -> Collection[str]:
        """The uids of pods that were cut off as a workload's."""
        return self._cut_as.keys()

    def lasting(self) -> Iterator[Quarantine]:
        """Those that are not over, whether or not they cut anybody off."""
        now = self.clock()
        return (term.quarantine for term in self._terms.values() if now < term.ends)

    def next_end(self) -> float:
        """Seconds until the next one that cuts somebody off is over; infinite without any."""
        now = self.clock()
        ends = (term.ends - now for term in self._terms.values() if term.quarantine.cuts)
        return min((left for left in ends if left > 0), default=inf)

    # The file

    def content(self, boot: str) -> bytes:
        """For the next start. `boot`: what tells this boot of the machine from others."""
        self.changed = False
        terms = [{"began": term.began, "quarantine": asdict(term.quarantine)} for term in self._terms.values()]
        cut_as = {uid: sorted(workloads) for uid, workloads in self._cut_as.items()}
        return json.dumps({"boot": boot, "quarantines": terms, "cutAs": cut_as}).encode()

    def restore(self, content: bytes | None, boot: str) -> tuple[str, ...]:
        """What an earlier run knew, until the API server tells: the names. Of another boot, or damaged, it is none."""
        try:
            saved = json.loads(content) if content else {}
            if saved.get("boot") == boot:
                terms = [
                    Term(Quarantine(**quarantine["quarantine"]), float(quarantine["began"]))
                    for quarantine in saved["quarantines"]
                ]
                cut_as = {uid: frozenset(map(str, names)) for uid, names in saved.get("cutAs", {}).items()}
                self._terms |= {term.quarantine.name: term for term in terms}
                self._cut_as |= cut_as
        except (ValueError, KeyError, TypeError, AttributeError):
            return ()
        return tuple(self._terms)

    def uids(self) -> Mapping[str, str]:
        return {name: term.quarantine.uid for name, term in self._terms.items()}


def load(quarantines: QuarantineTerms, directory: Path, boot: str) -> tuple[str, ...]:
    """The names of those that were known before. Raises StateError."""
    return quarantines.restore(state_file.read(directory / FILE), boot)


def save(directory: Path, content: bytes) -> None:
    """Raises OSError."""
    state_file.write_atomically(directory / FILE, content)


def _age(quarantine: Quarantine, server_time: float | None) -> float:
    if server_time is None or quarantine.created is None:
        return 0.0
    return max(0.0, server_time - quarantine.created - _COARSE)
