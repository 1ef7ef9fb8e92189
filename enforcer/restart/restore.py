"""The first thing that an agent does: what was last in force, from the disk into a kernel that has lost it.

Imports little and asks nobody, as everything else waits for it; a table that stands is never touched. What speaks
against it is for the start that follows to tell. `enforcer.cli` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from enforcer.errors import EnforcerError, KernelError, SettingsError, StateError
from enforcer.kernel.nft import Nftables
from enforcer.netlink.sockets import NodeLock
from enforcer.restart import snapshot
from enforcer.restart.snapshot import SavedTable
from enforcer.rules.options import RulesetOptions
from enforcer.settings import file

_NAMES = frozenset({"state_dir", "mode", "nflog", "connection_mark", "enforcement", "service_networks"})


def first(config: Path | None, environment: Mapping[str, str]) -> bool:
    """Where the settings plainly ask for the same rules as when it was saved. Whether it was loaded now."""
    try:
        given = file.given(config, environment, _NAMES)
    except SettingsError:
        return False
    wanted = RulesetOptions.plainly(given)
    return wanted is not None and _restored(given, wanted)


def as_saved(state_dir: Path) -> None:
    """Whatever the settings say now. Raises an EnforcerError where there is nothing that can be trusted."""
    held = snapshot.read(state_dir)
    if held is None:
        raise StateError(f"there is nothing saved in {state_dir}; without the agent nothing is enforced on this node")
    _loaded(held)


def as_it_was(config: Path | None, environment: Mapping[str, str]) -> bool:
    """Where the settings are refused: the last good rules as they were are better than none."""
    try:
        given = file.given(config, environment, _NAMES)
    except SettingsError:
        given = {"stateDir": environment.get(f"{file.PREFIX}STATE_DIR", file.STATE_DIR)}
    return _restored(given, None)


def _restored(given: Mapping[str, Any], wanted: RulesetOptions | None) -> bool:
    state_dir = Path(str(given.get("stateDir", file.STATE_DIR)))
    with suppress(EnforcerError, OSError):
        held = snapshot.read(state_dir)
        if held is not None and wanted in {None, held.options}:
            return _loaded(held)
    return False


def _loaded(held: SavedTable) -> bool:
    lock = NodeLock()
    try:
        with closing(Nftables()) as kernel:
            if kernel.is_active(held.table, held.hooked):
                return False
            kernel.commit(held)
            frames = held.of_bridges()
            if frames is not None:
                with suppress(KernelError):  # the agent tells it in its first pass
                    kernel.commit(frames)
            return True
    finally:
        lock.release()
