"""Makes the parts of the service from the settings: the only place that knows which door stands behind which seam."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from enforcer.cluster import pod_events as podevents
from enforcer.cluster.event_writer import EventWriter
from enforcer.cluster.kubelet import KubeletConfiguration
from enforcer.cluster.pod_events import PodEvents
from enforcer.cluster.slice_writer import SliceWriter
from enforcer.cluster.view import View, selectors
from enforcer.cluster.watch import Cluster
from enforcer.detection.detection import Detection
from enforcer.detection.hit import Hit
from enforcer.detection.watch import DetectionWatch
from enforcer.enforcement import Enforcement, KernelRules, Pace
from enforcer.flows.connections import Connections
from enforcer.flows.departed_owners import Departed
from enforcer.flows.end_reader import EndReader
from enforcer.flows.flow_table import FlowTable
from enforcer.flows.flows import NamedPacket
from enforcer.flows.log_audit import LogAudit
from enforcer.flows.log_counters import LogCounters
from enforcer.flows.seen_reader import SeenReader
from enforcer.flows.seen_table import SeenTable
from enforcer.kernel import conntrack_events
from enforcer.kernel.conntrack_events import Conntrack
from enforcer.kernel.reconcile import Applied, Reconciler
from enforcer.netlink import sockets
from enforcer.netlink.messages import BRIDGE
from enforcer.netlink.sockets import NflogSocket
from enforcer.nflog_reader import LogReader
from enforcer.node import bridge_netfilter, bypass, source_routing
from enforcer.node.conntrack_capacity import Tracking
from enforcer.reports.alert_table import AlertLimits, AlertTable
from enforcer.reports.reporter import Reporter
from enforcer.rules.chains import bridge_table
from enforcer.rules.connmark import ConnmarkLayout
from enforcer.rules.members.address_delta import AddressDelta
from enforcer.rules.options import Mode
from enforcer.rules.ruleset import TABLE, RulesetOptions
from enforcer.service import STATUS_FILE, AgentService
from enforcer.service_parts import ServiceParts
from enforcer.settings.models import AlertSettings, EnforcerSettings
from enforcer.shipping.delivery import Delivery
from enforcer.shipping.outbox import Outbox
from enforcer.shipping.spool import Spool
from zones.net import AddressSet
from zones.siem.alerts import AlertKind
from zones.siem.configuration import configuration_of
from zones.siem.records import Json, Stamp, first_number
from zones.siem.sender import appetite, sender
from zones.zone import Zoning

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def options(settings: EnforcerSettings) -> RulesetOptions:
    nflog = settings.nflog
    zones = settings.enforcement.zones
    return RulesetOptions(
        settings.mode,
        nflog.group,
        nflog.rate,
        nflog.burst,
        ConnmarkLayout(settings.connection_mark),
        zones=None if zones is None else frozenset(zones),
        services=tuple(map(str, settings.service_networks)),
    )


def kernel(settings: EnforcerSettings) -> Reconciler:
    """Raises an EnforcerError where another agent works on this node."""
    ruleset_options = replace(options(settings), labels=conntrack_events.has_labels())
    by_node, uplinks = settings.enforcement.node_selector is not None, settings.uplinks
    return Reconciler(
        settings.node_name, ruleset_options, settings.failure, settings.state_dir, by_node=by_node, uplinks=uplinks
    )


def _limits(settings: AlertSettings) -> AlertLimits:
    return AlertLimits(
        settings.window_seconds, settings.max_entries, settings.per_source, settings.per_second, settings.burst
    )


def open_outbox(settings: EnforcerSettings) -> Outbox:
    """Raises SpoolUnusableError."""
    spool = Spool.open(
        settings.spool_dir,
        [destination.name for destination in settings.destinations],
        settings.spool.max_bytes,
        settings.spool.segment_bytes,
        settings.spool.drop,
    )
    return Outbox(spool, sync_seconds=settings.spool.sync_seconds)


async def assemble(settings: EnforcerSettings, environment: Mapping[str, str]) -> AgentService:
    """Everything real. Raises an EnforcerError with what must be put right first."""
    rules = kernel(settings)
    try:
        conntrack_events.account()  # before a rule logs an end: a connection that is older has no counters
        restored = rules.restore(known(settings))  # before anything else: what follows may fail or take its time
        outbox = open_outbox(settings)
        cluster = await Cluster.connect(settings.kubeconfig, selectors(settings.node_name, settings.tier))
    except BaseException:
        rules.stop()
        raise
    return service(settings, environment, outbox, cluster, rules, restored=restored)


def _latest_number(status_file: Path) -> int:
    """That no record of the agents before had a higher one; 0 where that isn't known."""
    try:
        number = json.loads(status_file.read_bytes())["sequence"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0
    return number if isinstance(number, int) else 0


def known(settings: EnforcerSettings) -> AddressDelta:
    """Of the cluster, before it is asked."""
    return AddressDelta(pod_networks=AddressSet.of(settings.pod_networks))


def configuration(settings: EnforcerSettings, record: Json, applied: Applied | None) -> Json:
    """What an alert says of the configuration of its moment: of its flow's revision, or else of the applied one."""
    current = applied.revision if applied is not None else None
    tier, revision = str(record.get("tier") or settings.tier), int(record.get("revision") or current or 0)
    shown = configuration_of(settings.cluster, tier, revision, settings.alerts.link)
    return {"tier": tier} | shown if shown else {}


def service(
    settings: EnforcerSettings,
    environment: Mapping[str, str],
    outbox: Outbox,
    cluster: Cluster,
    rules: KernelRules,
    *,
    restored: Applied | None = None,
) -> AgentService:
    view = View(settings.tier, tuple(settings.pod_networks), settings.node_name)
    pod_event_settings = settings.pod_events
    pod_events = PodEvents(
        settings.node_name,
        view.holders.of,
        podevents.PodEventLimits(pod_event_settings.per_minute, pod_event_settings.per_pod, pod_event_settings.rules),
    )
    first = first_number(time.time_ns() // 1000, _latest_number(settings.state_dir / STATUS_FILE))
    stamp = Stamp(settings.cluster, settings.node_name, _BOOT_ID.read_text().strip(), first)
    table = _seen_table(settings, view)
    reporter = Reporter(
        stamp,
        FlowTable(settings.flows.window_seconds, settings.flows.max_entries),
        AlertTable(_limits(settings.alerts)),
        outbox.put,
        pod_events.denied if settings.pod_events.enabled else lambda _: None,
        configuration=lambda record: configuration(settings, record, enforcement.applied),
    )
    detection = detectors(settings, reporter, table)
    refused = ([table.denied] if settings.counts_seen else []) + ([detection.denied] if detection else [])
    if refused:

        def refuse(named: NamedPacket) -> None:
            for hear in refused:
                hear(named)

        reporter.refused = refuse
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
        restored=restored,
        selector=settings.enforcement.node_selector if settings.mode is Mode.ENFORCE else None,
        mode=settings.mode,
        zones=frozenset(settings.enforcement.zones or ()),
        boot=stamp.boot_id,
    )
    marks = ConnmarkLayout(settings.connection_mark)
    connections = Connections(marks, settings.flows.max_connections)
    ends = EndReader(Conntrack(marks), connections, stamp, lambda: enforcement.terminals, reporter.ended)
    tracking = Tracking()
    return AgentService(
        ServiceParts(
            settings=settings,
            view=view,
            enforcement=enforcement,
            cluster=cluster,
            log=_log_reader(settings, reporter, outbox, enforcement),
            reporter=reporter,
            outbox=outbox,
            deliveries=_deliveries(settings, environment, outbox),
            unseen=lambda pods: [
                *bridge_netfilter.problems(pods),
                *bypass.problems(enforcement.uplinks),
                *source_routing.problems(enforcement.uplinks),
                *tracking.problems(),
            ],
            event_writer=EventWriter(pod_events, cluster) if pod_event_settings.enabled else None,
            ends=ends,
            seen=SeenReader(
                Conntrack(marks),
                table,
                stamp,
                lambda: enforcement.last_good.policy if enforcement.last_good else None,
                outbox.put if settings.counts_seen else lambda _: None,
                window=settings.seen.window_seconds,
            )
            if settings.counts_seen or detection is not None
            else None,
            detection=detection_watch(settings, detection, reporter, enforcement),
            slice_writer=_slice_writer(settings, view, cluster, enforcement),
            kubelet=_kubelet(settings, enforcement),
        )
    )


def detectors(settings: EnforcerSettings, reporter: Reporter, table: SeenTable) -> Detection | None:
    """None where a site has no section for it. What they find goes to the reporter."""
    if settings.detection is None:
        return None

    def tell(hit: Hit) -> None:
        reporter.detected(hit.alert(time.time()), f"{hit.detector.value}: {hit.subject}")

    detection = Detection(settings.detection.terms(), tell)
    table.watcher = detection
    return detection


def detection_watch(
    settings: EnforcerSettings, detection: Detection | None, reporter: Reporter, enforcement: Enforcement
) -> DetectionWatch | None:
    """What keeps the detectors at work."""
    if settings.detection is None or detection is None:
        return None

    def limited(count: int) -> None:
        text = "detectors forgot sources before their time: there are more than detection.maxEntries at once"
        reporter.event(AlertKind.DETECTION_LIMITED, "detection", text, time.time(), count)

    return DetectionWatch(
        detection,
        settings.state_dir,
        lambda: enforcement.last_good.policy if enforcement.last_good else None,
        limited,
        settings.detection.indicators,
    )


def _seen_table(settings: EnforcerSettings, view: View) -> SeenTable:
    marks = ConnmarkLayout(settings.connection_mark)
    table = SeenTable(settings.node_name, marks, settings.seen.max_rows, settings.flows.max_connections)
    if settings.counts_seen or settings.detection is not None:
        departed = Departed()
        view.holders.gone, table.former = departed.gone, departed.end
    return table


def _kubelet(settings: EnforcerSettings, enforcement: Enforcement) -> KubeletConfiguration | None:
    asked = settings.kubelet
    if not asked.ask:
        return None
    name = asked.server_name or settings.node_name
    return KubeletConfiguration(
        asked.address, name, asked.token_file, asked.ca_file, asked.interval, enforcement.noted.set
    )


def _slice_writer(settings: EnforcerSettings, view: View, cluster: Cluster, enforcement: Enforcement) -> SliceWriter:
    def labels() -> tuple[str, ...]:
        """The key by which the tier that is in force knows zones, and those that flow records carry."""
        zoning = enforcement.last_good.policy.zoning if enforcement.last_good else Zoning()
        return zoning.label_key, *settings.flows.labels

    return SliceWriter(view, cluster, labels, sockets.LocalAddresses())


def _log_reader(settings: EnforcerSettings, reporter: Reporter, outbox: Outbox, enforcement: Enforcement) -> LogReader:
    return LogReader(
        lambda: NflogSocket(settings.nflog.group, settings.nflog.buffer_bytes),
        LogAudit(LogCounters(TABLE, {BRIDGE: bridge_table.TABLE})),
        reporter,
        outbox,
        enforcement,
    )


def _deliveries(settings: EnforcerSettings, environment: Mapping[str, str], outbox: Outbox) -> tuple[Delivery, ...]:
    return tuple(
        Delivery(
            destination.name,
            outbox,
            sender(destination, environment),
            settings.state_dir / "refused" / f"{destination.name}.jsonl",
            destination.records,
            *appetite(destination),
        )
        for destination in settings.destinations
    )
