"""Makes the parts of the service from the settings: the only place that knows which door stands behind which seam."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from enforcer.alerts import AlertKind, AlertTable
from enforcer.delivery import Delivery
from enforcer.enforcement import Enforcement, Kernel, Pace
from enforcer.flows import FlowTable
from enforcer.generations import Marks
from enforcer.netlink import NflogSocket
from enforcer.outbox import Outbox
from enforcer.reconcile import Reconciler
from enforcer.records import Stamp
from enforcer.reporter import Reporter
from enforcer.ruleset import Options
from enforcer.service import Parts, Service
from enforcer.settings import Settings
from enforcer.ship import appetite, sender
from enforcer.spool import Spool
from enforcer.view import View, selectors
from enforcer.watch import Cluster

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def options(settings: Settings) -> Options:
    nflog = settings.nflog
    return Options(settings.mode, nflog.group, nflog.rate, nflog.burst, Marks(settings.connection_mark))


def kernel(settings: Settings) -> Reconciler:
    """Raises an EnforcerError where another agent works on this node."""
    return Reconciler(settings.node_name, options(settings), settings.failure, settings.state_dir)


def open_outbox(settings: Settings) -> Outbox:
    """Raises SpoolUnusableError."""
    spool = Spool.open(
        settings.spool_dir,
        [destination.name for destination in settings.destinations],
        settings.spool.max_bytes,
        settings.spool.segment_bytes,
    )
    return Outbox(spool, sync_seconds=settings.spool.sync_seconds)


async def assemble(settings: Settings, environment: Mapping[str, str]) -> Service:
    """Everything real. Raises an EnforcerError with what must be put right first."""
    outbox = open_outbox(settings)
    cluster = await Cluster.connect(settings.kubeconfig, selectors(settings.node_name, settings.tier))
    return service(settings, environment, outbox, cluster, kernel(settings))


def service(
    settings: Settings, environment: Mapping[str, str], outbox: Outbox, cluster: Cluster, rules: Kernel
) -> Service:
    view = View(settings.tier, tuple(settings.pod_networks), settings.node_name)
    reporter = Reporter(
        Stamp(settings.cluster, settings.node_name, _BOOT_ID.read_text().strip(), time.time_ns() // 1000),
        FlowTable(settings.flows.window_seconds, settings.flows.max_entries),
        AlertTable(settings.alerts.window_seconds, settings.alerts.max_entries),
        outbox.put,
    )
    enforcement = Enforcement(
        view,
        rules,
        settings.tier,
        settings.state_dir,
        Pace(settings.reconcile.min_seconds, settings.reconcile.max_seconds),
        drifted=lambda what: reporter.event(
            AlertKind.KERNEL_TAMPERED,
            "ruleset",
            f"the kernel's rules were changed and put back: {', '.join(what)}",
            time.time(),
        ),
    )
    deliveries = tuple(
        Delivery(
            each.name,
            outbox,
            sender(each, environment),
            settings.state_dir / "refused" / f"{each.name}.jsonl",
            each.records,
            *appetite(each),
        )
        for each in settings.destinations
    )
    return Service(
        Parts(
            settings=settings,
            view=view,
            enforcement=enforcement,
            cluster=cluster,
            packets=lambda: NflogSocket(settings.nflog.group, settings.nflog.buffer_bytes),
            reporter=reporter,
            outbox=outbox,
            deliveries=deliveries,
        )
    )
