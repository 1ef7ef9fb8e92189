"""`zone-enforcer check`: whether this node can hold what the enforcer puts into it, and the SIEM be reached.

It looks, tries and takes back; nothing is changed. Works before the enforcer runs, beside it, and after it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from enforcer.errors import EnforcerError, KernelError, PrivilegeError
from enforcer.kernel import conntrack_events
from enforcer.node import bridge_netfilter, bypass, feature_probe, source_routing
from enforcer.node.uplinks import Neighbours, Uplinks
from enforcer.service import STATUS_FILE
from enforcer.settings.models import EnforcerSettings
from enforcer.status import table
from zones.net import AddressSet
from zones.runtime.findings import Finding, Group
from zones.siem.sender import sender

OLDEST_KERNEL = (5, 13)
KERNEL, PASSED_BY, AGENT, CLOCK, DISK, SIEM = map(
    Group, ("Kernel", "What passes by", "The enforcer here", "Clock", "Disk", "SIEM")
)
_CONNTRACK = Path("/proc/sys/net/netfilter")
_READERS = Path("/proc/net/netfilter/nfnetlink_log")
_NEARLY_FULL = 0.8
_UNSYNCHRONISED = 5  # TIME_ERROR of adjtimex
_TIMEX_BYTES = 512  # more than struct timex has
_RIGHTS = "run it as root with the capability NET_ADMIN, as the enforcer's own pod has it"


def look(settings: EnforcerSettings, environment: Mapping[str, str]) -> list[Finding]:
    """Everything, in the order in which somebody reads it."""
    return [
        *_kernel(),
        *_conntrack(_CONNTRACK),
        *_log_group(settings.nflog.group, _READERS),
        *_passed_by(settings),
        *_agent(settings.state_dir),
        *_clock(),
        *_disk(settings),
        *asyncio.run(_destinations(settings, environment)),
    ]


def _kernel() -> Iterator[Finding]:
    release = os.uname().release
    version = re.match(r"(\d+)\.(\d+)", release)
    if version is not None and (int(version[1]), int(version[2])) < OLDEST_KERNEL:
        yield KERNEL.failed(f"Linux {release} is older than 5.13", "upgrade the node's image")
    try:
        missing = feature_probe.missing_features()
        labels = conntrack_events.has_labels()
    except PrivilegeError as error:
        yield KERNEL.unknown(f"what nftables has can't be tried: {error}", _RIGHTS)
        return
    except KernelError as error:
        yield KERNEL.failed(f"nftables can't be asked: {error}", "load the module nf_tables, or use another node image")
        return
    if missing:
        yield KERNEL.failed(missing, "load the modules that are named, or use a node image that has them")
    else:
        yield KERNEL.ok(f"Linux {release} takes every kind of rule that is needed")
    if not labels:
        yield KERNEL.warning(
            "connections can't have labels (CONFIG_NF_CONNTRACK_LABELS)",
            "ends of connections are then known by their marks alone; use a node image that has it",
        )


def _conntrack(folder: Path) -> Iterator[Finding]:
    try:
        count, most = (int((folder / f"nf_conntrack_{name}").read_text()) for name in ("count", "max"))
    except FileNotFoundError:
        yield KERNEL.failed("there is no connection tracking", "load the module nf_conntrack")
        return
    except (OSError, ValueError) as error:
        yield KERNEL.unknown(f"the connection table can't be looked at: {error}", "look at nf_conntrack_count")
        return
    if most and count > _NEARLY_FULL * most:
        yield KERNEL.warning(
            f"{count} of {most} connections are tracked: new ones are soon dropped, whatever rules say",
            "raise net.netfilter.nf_conntrack_max",
        )
    else:
        yield KERNEL.ok(f"{count} of {most} connections are tracked")
    for name in ("acct", "timestamp"):
        if _reads(folder / f"nf_conntrack_{name}") == "0":
            yield KERNEL.warning(
                f"connections have no {'counters' if name == 'acct' else 'times'} (nf_conntrack_{name}=0)",
                f"set net.netfilter.nf_conntrack_{name}=1; the enforcer does where it may, and else records lack them",
            )


def _log_group(group: int, readers: Path) -> Iterator[Finding]:
    """Each NFLOG group has one reader: a line has the group's number and its reader's port, among others."""
    try:
        lines = [line.split() for line in readers.read_text().splitlines()]
    except OSError as error:
        yield KERNEL.unknown(f"the readers of the kernel's log can't be listed: {error.strerror}", _RIGHTS)
        return
    if any(words and words[0] == str(group) for words in lines):
        yield KERNEL.ok(
            f"NFLOG group {group} has a reader; if the enforcer doesn't run here, choose another nflog.group"
        )
    else:
        yield KERNEL.ok(f"NFLOG group {group} is free")


def _passed_by(settings: EnforcerSettings) -> Iterator[Finding]:
    try:
        links = Uplinks(settings.uplinks)
    except (KernelError, OSError) as error:
        yield PASSED_BY.unknown(f"links and routes can't be listed: {error}", _RIGHTS)
        return
    try:
        uplinks = links.look(Neighbours(pod_networks=AddressSet.of(settings.pod_networks)))
    finally:
        links.close()
    problems = [*bypass.problems(uplinks), *bridge_netfilter.of_this_node()]
    for problem in problems:
        yield PASSED_BY.failed(
            problem, "docs/support.md says which data planes fit; keep this node in observe until then"
        )
    for problem in source_routing.problems(uplinks):
        yield PASSED_BY.failed(problem, "a file in /etc/sysctl.d keeps it so over a restart of the node")
    if programs := bypass.of_uplinks(uplinks):
        yield PASSED_BY.warning(
            f"{', '.join(programs)}: an XDP program; what it sends to pods itself comes to no rule",
            "find out whose it is; one that only drops or counts does no harm",
        )
    if not problems:
        yield PASSED_BY.ok(f"nothing is known to pass by the rules; uplinks: {', '.join(uplinks) or 'none'}")


def _agent(state: Path) -> Iterator[Finding]:
    try:
        status, why = table.read(state / STATUS_FILE)
    except EnforcerError as error:
        yield AGENT.warning(f"{error}", "before the installation that is as it should be")
        return
    if why:
        yield AGENT.failed(why, "zone-enforcer status has all of it")
    else:
        yield AGENT.ok(f"mode {status['mode']}, revision {status['revision']}, all is well")


def _clock() -> Iterator[Finding]:
    timex = ctypes.create_string_buffer(_TIMEX_BYTES)  # zeroes: it only asks
    state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    if state < 0:
        yield CLOCK.warning(f"the kernel doesn't say: {os.strerror(ctypes.get_errno())}", "look at timedatectl there")
    elif state == _UNSYNCHRONISED:
        yield CLOCK.warning(
            "nothing keeps this node's clock (the kernel says that it isn't synchronised)",
            "run chrony or systemd-timesyncd: records bear this time, and schedules in rules follow it",
        )
    else:
        yield CLOCK.ok("the node's clock is synchronised")


def _disk(settings: EnforcerSettings) -> Iterator[Finding]:
    for path in dict.fromkeys((settings.state_dir, settings.spool_dir)):
        existing = next(candidate for candidate in (path, *path.parents) if candidate.exists())
        if not os.access(existing, os.W_OK):
            yield DISK.failed(
                f"{path} can't be written", "the last good rules and records are kept there: mount it read-write"
            )
            return
    free, most = shutil.disk_usage(existing).free, int(settings.spool.max_bytes)
    if free < most:
        yield DISK.warning(
            f"{free >> 20} MiB are free, and the spool may have {most >> 20}", "lower spool.maxBytes, or make room"
        )
    else:
        yield DISK.ok(f"{settings.state_dir} can be written, and has room for the spool")


async def _destinations(settings: EnforcerSettings, environment: Mapping[str, str]) -> Iterable[Finding]:
    if not settings.destinations:
        return [SIEM.warning("no destination is set: what is denied is told to nobody", "docs/siem.md")]
    findings = []
    for destination in settings.destinations:
        receiver = sender(destination, environment)
        try:
            problem = await receiver.probe()
        finally:
            await receiver.close()
        if problem:
            do = "check its address, caFile and token, the node's DNS, and what stands between"
            findings.append(SIEM.failed(f"destination '{destination.name}': {problem}", do))
        else:
            findings.append(SIEM.ok(f"destination '{destination.name}' would take a record"))
    return findings


def _reads(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
