"""The Splunk app's dashboards (Simple XML), from the panels below: a title, a search, how it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape, quoteattr


@dataclass(frozen=True, slots=True)
class Panel:
    """`options`: Splunk's of the element."""

    title: str
    search: str
    kind: str = "table"
    options: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Each of the rows has its panels side by side."""

    label: str
    description: str
    rows: tuple[tuple[Panel, ...], ...]


LINES = {"charting.chart": "line"}
COLUMNS = {"charting.chart": "column", "charting.chart.stackMode": "stacked"}
FLOWS = '`zonebridge_flows` cluster="$cluster$" src_zone="$source_zone$" dest_zone="$destination_zone$"'
DENIED = f"{FLOWS} (action=blocked OR observed=true)"
ALERTS = '`zonebridge_alerts` | search cluster="$cluster$"'
OPEN = f"{ALERTS} subject=* | sort 0 - _time | dedup cluster dvc signature_id subject | search state!=resolved"

DENIALS = View(
    "Denials",
    "What rules denied, or would deny where a cluster only observes.",
    (
        (
            Panel("Denied", f"{DENIED} action=blocked | stats count", "single"),
            Panel("Would be denied (observe)", f"{DENIED} observed=true | stats count", "single"),
            Panel("Workloads that were denied", f"{DENIED} | stats dc(src_workload) AS workloads", "single"),
        ),
        (Panel("By rule", f"{DENIED} | timechart count BY rule", "chart", COLUMNS),),
        (
            Panel("Rules", f"{DENIED} | stats count dc(src_ip) AS sources dc(dest_ip) AS destinations latest(_time) AS last BY cluster rule rule_id | convert ctime(last) | sort - count"),
            Panel("External lists", f"{DENIED} (src_blocklist=* OR dest_blocklist=*) | fillnull value=- src_blocklist dest_blocklist src_workload | stats count BY src_blocklist dest_blocklist src_workload src_ip dest_ip | sort - count"),
        ),
        (Panel("Who was denied to what", f"{DENIED} | fillnull value=- src_workload dest_workload dest_port | stats count latest(_time) AS last BY src_zone src_workload dest_zone dest_workload transport dest_port rule | convert ctime(last) | sort - count"),),
        (Panel("Latest", f"{DENIED} | sort - _time | head 100 | table _time cluster dvc action src_zone src_pod src_ip dest_zone dest_pod dest_ip transport dest_port rule packets"),),
    ),
)  # fmt: skip
ZONES = View(
    "Zones",
    "Which zones talk to which. Allowed connections are seen where their rules log them.",
    (
        (
            Panel("Allowed, from each zone to each", f"{FLOWS} action=allowed NOT observed=true | chart count OVER src_zone BY dest_zone"),
            Panel("Denied, from each zone to each", f"{DENIED} | chart count OVER src_zone BY dest_zone"),
        ),
        (Panel("Bytes by destination zone", f"{FLOWS} | timechart sum(bytes) AS bytes BY dest_zone", "chart", LINES),),
        (Panel("Pairs of workloads", f"{FLOWS} | fillnull value=- src_workload dest_workload | stats count sum(bytes_out) AS sent sum(bytes_in) AS received BY src_zone src_workload dest_zone dest_workload app action | sort - count"),),
        (
            Panel("From outside", f"{FLOWS} direction=inbound | stats count BY src_zone src_ip dest_zone dest_workload action | sort - count"),
            Panel("To outside", f"{FLOWS} direction=outbound | stats count sum(bytes_out) AS sent BY src_zone src_workload dest_zone dest_ip action | sort - count"),
        ),
        (Panel("How connections ended", f"{FLOWS} reason=* | stats count avg(duration) AS seconds BY reason dest_zone | sort - count"),),
    ),
)  # fmt: skip
ALERT = View(
    "Alerts",
    "What happened, who did it, and what still holds.",
    (
        (Panel("By severity", f"{ALERTS} | timechart sum(count) AS times BY severity", "chart", COLUMNS),),
        (
            Panel("By kind", f"{ALERTS} | stats sum(count) AS times dc(dvc) AS nodes latest(_time) AS last BY cluster signature_id severity | convert ctime(last) | sort - times"),
            Panel("Changes of what is enforced", '`zonebridge_changes` | search cluster="$cluster$" | stats count latest(_time) AS last BY cluster dvc object_category object command user status | sort - last | convert ctime(last)'),
        ),
        (Panel("Still holds", f"{OPEN} | table _time cluster dvc signature_id severity subject description"),),
        (Panel("In quarantine", f'{OPEN} | search signature_id IN ("quarantined", "quarantine-held") | table _time cluster dvc signature_id subject description'),),
        (Panel("Latest", f"{ALERTS} state=raised | sort - _time | head 100 | table _time cluster dvc signature_id severity user src dest subject description"),),
    ),
)  # fmt: skip
POSTURE = View(
    "Posture",
    "What of each cluster's own configuration is open or not known. The bridge tells what lasts once a day; results in full: zonebridge posture.",
    (
        (
            Panel("Checks that fail or are unknown", f"{OPEN} | search signature_id=configuration-drift | stats dc(subject) AS checks BY cluster severity | sort cluster", "table"),
            Panel("Told by day", f"{ALERTS} signature_id=configuration-drift state=raised | timechart span=1d dc(subject) BY severity", "chart", COLUMNS),
        ),
        (Panel("Still holds", f"{OPEN} | search signature_id=configuration-drift | table _time cluster severity subject description | sort - _time"),),
        (Panel("Latest changes", f"{ALERTS} signature_id=configuration-drift | sort - _time | head 100 | table _time cluster state severity subject description"),),
    ),
)  # fmt: skip
HEALTH = View(
    "Health",
    "Whether every node enforces what is committed, and whether the records arrive.",
    (
        (
            Panel("Revision in force", '`zonebridge_checkpoints` | search cluster="$cluster$" | stats latest(revision) AS revision latest(_time) AS since BY cluster tier | convert ctime(since)'),
            Panel("Nodes or clusters that are not well", f'{OPEN} | search signature_id IN ("sync-stale", "node-out-of-sync", "node-problem", "tier-refused", "tier-damaged", "revision-refused", "node-overruled", "manager-refused", "cluster-unreachable", "network-disputed", "address-disputed") | stats latest(_time) AS last values(description) AS what BY cluster dvc signature_id severity | convert ctime(last)'),
        ),
        (
            Panel("Records that were lost", f"{ALERTS} signature_id=log-loss | stats sum(count) AS lost latest(_time) AS last BY cluster dvc subject | convert ctime(last)"),
            Panel("Packets beyond a rule's limit of logs", f"{ALERTS} signature_id=log-limited | stats sum(count) AS packets BY cluster dvc subject"),
            Panel("Destinations in trouble", f"{OPEN} | search signature_id=destination-trouble | table _time cluster dvc subject description"),
        ),
        (Panel("Records by node", '`zonebridge_index` (eventtype=zonebridge_flow OR eventtype=zonebridge_alert OR eventtype=zonebridge_pan_flow OR eventtype=zonebridge_pan_alert) cluster="$cluster$" | timechart count BY dvc', "chart", LINES),),
        (Panel("When each node was heard last", '`zonebridge_index` (eventtype=zonebridge_flow OR eventtype=zonebridge_alert OR eventtype=zonebridge_pan_flow OR eventtype=zonebridge_pan_alert) cluster="$cluster$" | stats count latest(_time) AS last BY cluster dvc | eval silent_minutes = round((now() - last) / 60, 0) | convert ctime(last) | sort - silent_minutes'),),
        (Panel("History, as told", '`zonebridge_checkpoints` | search cluster="$cluster$" | sort - _time | head 50 | table _time cluster tier revision position chain digest kept first'),),
    ),
)  # fmt: skip
VIEWS = {
    "zonebridge_denials": DENIALS,
    "zonebridge_zones": ZONES,
    "zonebridge_alerts": ALERT,
    "zonebridge_posture": POSTURE,
    "zonebridge_health": HEALTH,
}


def text(name: str) -> str:
    view = VIEWS[name]
    searches = " ".join(panel.search for row in view.rows for panel in row)
    inputs = [(token, label) for token, label in _INPUTS.items() if f"${token}$" in searches]
    lines = [
        '<form version="1.1" theme="light">',
        "  <!-- Made by `make generate` from tools/splunkviews.py. -->",
        f"  <label>{escape(view.label)}</label>",
        f"  <description>{escape(view.description)}</description>",
        '  <fieldset submitButton="false" autoRun="true">',
        '    <input type="time" token="period">',
        "      <label>Time</label>",
        "      <default><earliest>-24h@h</earliest><latest>now</latest></default>",
        "    </input>",
    ]
    for token, label in inputs:
        lines += [f'    <input type="text" token="{token}">', f"      <label>{label}</label>"]
        lines += ["      <default>*</default>", "    </input>"]
    lines.append("  </fieldset>")
    for row in view.rows:
        lines.append("  <row>")
        for panel in row:
            lines += _panel(panel)
        lines.append("  </row>")
    return "\n".join([*lines, "</form>"]) + "\n"


_INPUTS = {"cluster": "Cluster", "source_zone": "From zone", "destination_zone": "To zone"}


def _panel(panel: Panel) -> list[str]:
    options = {"refresh.display": "progressbar", **(panel.options or {})}
    return [
        "    <panel>",
        f"      <{panel.kind}>",
        f"        <title>{escape(panel.title)}</title>",
        "        <search>",
        f"          <query>{escape(panel.search)}</query>",
        "          <earliest>$period.earliest$</earliest>",
        "          <latest>$period.latest$</latest>",
        "        </search>",
        *(f"        <option name={quoteattr(name)}>{escape(value)}</option>" for name, value in options.items()),
        f"      </{panel.kind}>",
        "    </panel>",
    ]
