"""The commands that change this node's kernel: the agent itself, what a node does as it starts, and the way out.

`enforcer.cli` calls them with what it was given.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Mapping
from pathlib import Path

import structlog

from enforcer import memory, wiring
from enforcer.cluster import last_good
from enforcer.errors import EnforcerError
from enforcer.kernel.reconcile import Applied, AppliedAction, Reconciler
from enforcer.kernel.stance import Stance
from enforcer.restart import restore
from enforcer.service import STATUS_FILE, until_signal
from enforcer.settings.models import EnforcerSettings, load
from zones.runtime import logs
from zones.runtime.errors import SettingsError

_DESCRIPTORS = 65_536
_log = structlog.get_logger()


def run(config: Path | None, environment: Mapping[str, str], *, restored: bool) -> None:
    """Until SIGTERM. `restored`: the last good rules have just been loaded."""
    settings = _settings(config, environment)
    logs.configure(settings.log.level, settings.log.format)
    logs.note(settings.notices)
    if restored:
        _log.info("the kernel had no rules of ours; the last good ones are in force again")
    memory.tune_allocator()
    _allow_descriptors()
    asyncio.run(_run(settings, environment))


def bring_back(config: Path | None, environment: Mapping[str, str]) -> str:
    """What is in force from now on, in a line. Raises an EnforcerError where what was saved is of no use."""
    settings = _settings(config, environment)
    kernel = wiring.kernel(settings)
    try:
        applied = kernel.restore(wiring.known(settings))
        message = _told(kernel, applied)
    finally:
        kernel.stop()
    if applied.problems:
        raise EnforcerError(f"{'; '.join(applied.problems)}; {message}")
    return message


def flush(config: Path | None, environment: Mapping[str, str]) -> None:
    """Nothing is enforced on this node afterwards, nor by the next agent, until there is a tier."""
    settings = load(config, environment)
    kernel = wiring.kernel(settings)
    try:
        kernel.flush()
    finally:
        kernel.stop()
    for name in (last_good.FILE, STATUS_FILE):
        try:
            (settings.state_dir / name).unlink(missing_ok=True)
        except OSError as error:
            raise EnforcerError(f"{settings.state_dir / name} can't be removed: {error.strerror}") from error


def _allow_descriptors() -> None:
    """Container runtimes give 1,024, whatever is allowed: whoever connects could use them up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(settings: EnforcerSettings, environment: Mapping[str, str]) -> None:
    await until_signal(await wiring.assemble(settings, environment))


def _settings(config: Path | None, environment: Mapping[str, str]) -> EnforcerSettings:
    """Wrong settings are no reason to leave a node open that has just been started."""
    try:
        return load(config, environment)
    except SettingsError:
        restore.as_it_was(config, environment)
        raise


def _told(kernel: Reconciler, applied: Applied) -> str:
    if not kernel.enforces():
        return "nothing is enforced until the agent has a tier"
    if applied.action is AppliedAction.NONE:
        return "the rules that are in the kernel stay in force"
    if applied.stance in {Stance.CLOSED, Stance.LOST}:
        return "this node's pods are cut off until the agent has a tier"
    return f"revision {applied.revision} is in force again"
