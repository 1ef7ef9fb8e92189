"""The first thing that an agent does: what was last in force, from the disk into a kernel that has lost it.

Imports little and asks nobody, as everything else waits for it; a table that stands is never touched. What speaks
against it is for the start that follows to tell. `enforcer.cli` calls it.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from enforcer.errors import EnforcerError, KernelError, StateError
from enforcer.kernel.nft import Nftables
from enforcer.netlink.sockets import NodeLock
from enforcer.restart import snapshot
from enforcer.restart.snapshot import SavedTable
from enforcer.rules.options import RulesetOptions
from enforcer.state_file import STATE_DIR
from zones.runtime import settings_file
from zones.runtime.settings_file import UnreadableSettingsError

_NAMES = frozenset({"state_dir", "mode", "nflog", "connection_mark", "enforcement", "service_networks"})


def first(config: Path | None, environment: Mapping[str, str]) -> bool:
    """Where the settings plainly ask for the same rules as when it was saved. Whether it was loaded now."""
    try:
        settings = settings_file.written(config, environment, _NAMES)
    except UnreadableSettingsError:
        return False
    wanted = RulesetOptions.plainly(settings)
    return wanted is not None and _restored(settings, wanted)


def as_saved(state_dir: Path) -> None:
    """Whatever the settings say now. Raises an EnforcerError where there is nothing that can be trusted."""
    saved = snapshot.read(state_dir)
    if saved is None:
        raise StateError(f"there is nothing saved in {state_dir}; without the agent nothing is enforced on this node")
    _loaded(saved)


def as_it_was(config: Path | None, environment: Mapping[str, str]) -> bool:
    """Where the settings are refused: the last good rules as they were are better than none."""
    try:
        settings = settings_file.written(config, environment, _NAMES)
    except UnreadableSettingsError:
        settings = {"stateDir": environment.get(f"{settings_file.PREFIX}STATE_DIR", STATE_DIR)}
    return _restored(settings, None)


def _restored(settings: Mapping[str, Any], wanted: RulesetOptions | None) -> bool:
    state_dir = Path(str(settings.get("stateDir", STATE_DIR)))
    with suppress(EnforcerError, OSError):
        saved = snapshot.read(state_dir)
        if saved is not None and wanted in {None, saved.options}:
            return _loaded(saved)
    return False


def _loaded(saved: SavedTable) -> bool:
    lock = NodeLock()
    try:
        with closing(Nftables()) as kernel:
            if kernel.is_active(saved.table, saved.hooked):
                return False
            kernel.commit(saved)
            frames = saved.of_bridges()
            if frames is not None:
                with suppress(KernelError):  # the agent tells it in its first pass
                    kernel.commit(frames)
            return True
    finally:
        lock.release()
