"""A cluster's device group in Panorama: looks at it, writes and commits one step at a time, waits for nothing.

What a step is, `registration_steps` decides; `registration` calls it.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element

from bridge.errors import RegistrationBlockedError
from bridge.managers.panorama.manager import COMMIT_LOCKS, CONFIG_LOCKS, HIERARCHY, chains
from bridge.managers.panorama.registration import steps
from bridge.managers.panorama.registration.jobs import finished, group_path, quoted
from bridge.managers.panorama.registration.steps import (
    Blocked,
    CommitStep,
    Done,
    GroupState,
    MoveStep,
    Step,
    WantedGroup,
    Write,
)
from bridge.managers.panorama.rulebase.tree import DEVICE
from bridge.managers.panorama.session.api import PanoramaApi

MOST_STEPS = 8


class DeviceGroup:
    """`settle` goes on by one step for each value, the seconds to wait before the next.

    Raises ManagerError, and RegistrationBlockedError for what only somebody else can change.
    """

    def __init__(self, api: PanoramaApi, wanted: WantedGroup) -> None:
        self._api = api
        self._wanted = wanted

    def settle(self) -> Iterator[float]:
        """Make the device group what is wanted, one look and one change at a time."""
        self._api.live_session()
        if self._settled():
            return
        moved = False
        for _ in range(MOST_STEPS):
            step = self._next_step(moved=moved)
            yield 0.0
            match step:
                case Done():
                    return
                case Blocked():
                    raise RegistrationBlockedError(step.why)
            self._refuse_locked()
            yield 0.0
            yield from self._carry_out(step)
            moved = moved or isinstance(step, MoveStep)
        raise RegistrationBlockedError(f"device group '{self._wanted.name}' is changed by somebody else meanwhile")

    def _settled(self) -> bool:
        """Two small calls tell that there is nothing to do: the device group itself may hold thousands of rules."""
        parents = _parents(self._api.op(HIERARCHY))
        if self._wanted.name not in parents:
            return False
        element = self._api.show(f"{group_path(self._wanted.name)}/description")
        if steps.describable(self._wanted, "" if element is None else (element.text or "").strip()):
            return False
        elsewhere = steps.elsewhere(self._wanted, parents[self._wanted.name])
        if elsewhere is not None:
            raise RegistrationBlockedError(elsewhere)
        return True

    def _next_step(self, *, moved: bool) -> Step:
        name = self._wanted.name
        running = GroupState.of(self._api.show(group_path(name)))
        entry = next(iter(self._api.get(group_path(name))), None)
        facts = next(iter(self._api.get(f"/config/readonly/{DEVICE}/device-group/entry[@name={quoted(name)}]")), None)
        candidate = GroupState.of(entry, facts, parent=self._wanted.parent if moved else None)
        return steps.next_step(self._wanted, running, candidate, _parents(self._api.op(HIERARCHY)))

    def _refuse_locked(self) -> None:
        for command, kind in ((CONFIG_LOCKS, "configuration"), (COMMIT_LOCKS, "commit")):
            holders = steps.foreign_locks(self._api.op(command), self._wanted.admin)
            if holders:
                raise RegistrationBlockedError(f"Panorama has a {kind} lock of {', '.join(holders)}; have it released")

    def _carry_out(self, step: Step) -> Iterator[float]:
        match step:
            case Write():
                self._api.set(group_path(self._wanted.name), step.element)
            case MoveStep():
                answer = self._api.op(steps.move_command(self._wanted.name, step.parent))
                yield from finished(self._api, answer.findtext("job"), "moving the device group")
            case CommitStep():
                yield from finished(self._api, self._api.commit(steps.commit_command(self._wanted)), "committing it")


def _parents(answer: Element) -> dict[str, str | None]:
    """Every device group with its parent."""
    return {name: chain[1] if len(chain) > 1 else None for name, chain in chains(answer)}
