"""PAN-OS log lines, so that dashboards made for Palo Alto Networks firewalls work as they are. Pure.

TRAFFIC for flows, CONFIG for changes of what is enforced, SYSTEM for other alerts; `panos_columns` has the columns.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC
from itertools import chain
from typing import Any
from zlib import crc32

from zones.siem.formats import panos_columns
from zones.siem.formats.panos_columns import Reader
from zones.siem.values import CONFIGURATION, duration, end, is_v6, moment, passes, severity, traffic, visible, workload

Json = Mapping[str, Any]
TRAFFIC, SYSTEM, CONFIG = "traffic", "system", "config"
# The shape of PAN-OS 10.1's and later lines, which is in the sixth column.
_SHAPE = "2561"
_TIME, _NO_FLAGS = "%Y/%m/%d %H:%M:%S", "0x0"
_LIMIT, _NAME_LIMIT = 2000, 255
_UNFIT = re.compile(r"[^A-Za-z0-9._-]")

_ZERO = frozenset(
    "natsport natdport sport dport padding padding2 fmt id dg_hier_level_1 dg_hier_level_2 dg_hier_level_3 "
    "dg_hier_level_4 tunnelid parent_session_id assoc_id chunks chunks_sent chunks_received http2_connection "
    "link_change_count policy_id link_switches bytes bytes_sent bytes_received packets pkts_sent pkts_received "
    "elapsed offloaded repeatcnt".split()
)
_ACTIONS = {"allow": "allow", "deny": "deny", "reset": "reset-both"}
_COMMANDS = {"tier-refused": ("commit", "Failed"), "tier-tampered": ("edit", "Unauthorized")}


def kind(record: Json) -> str:
    """Which of the logs a record belongs to."""
    if record["kind"] == "flow":
        return TRAFFIC
    return CONFIG if record.get("alert") in CONFIGURATION else SYSTEM


def render(record: Json, reader: Reader = Reader.DEFAULT) -> str:
    """A line as this reader's CONFIG columns are."""
    log = kind(record)
    names, values = {
        TRAFFIC: (panos_columns.TRAFFIC, _traffic),
        SYSTEM: (panos_columns.SYSTEM, _system),
        CONFIG: (panos_columns.CONFIG[reader], _config),
    }[log]
    filled = values(record) | _everywhere(record)
    head = ("1", _time(record), _serial(record), log.upper(), _subtype(record, log), _SHAPE, _time(record))
    rest = (filled.get(name, "0" if name in _ZERO else "") for name in names)
    return ",".join(_quoted(value) for value in chain(head, rest))


def _subtype(record: Json, log: str) -> str:
    if log == TRAFFIC:
        return str(record.get("moment", "start")) if passes(record) else "deny"
    return "general" if log == SYSTEM else "0"


def _everywhere(record: Json) -> dict[str, Any]:
    at = moment(record)
    return {
        "vsys": "vsys1",
        "vsys_name": record["cluster"],
        "device_name": record["node"],
        "seqno": record["sequence"],
        "actionflags": _NO_FLAGS,
        "high_res_timestamp": "" if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds"),
    }


def _traffic(record: Json) -> dict[str, Any]:
    seconds, counts = duration(record), traffic(record)
    return {
        "rule": record.get("rule", {}).get("name", ""),
        "rule_uuid": record.get("rule", {}).get("uuid", ""),
        "app": _application(record),
        "logset": record.get("logProfile", ""),
        "time_logged": _time(record),
        "sessionid": _session(record),
        "repeatcnt": 1,
        "flags": _NO_FLAGS,
        "proto": record.get("protocol", ""),
        "action": _ACTIONS["allow" if passes(record) else record["verdict"]],
        "bytes": counts.get("bytes", 0),
        "bytes_sent": counts.get("bytesOut", 0),
        "bytes_received": counts.get("bytesIn", 0),
        "packets": counts.get("packets", 0),
        "pkts_sent": counts.get("packetsOut", 0),
        "pkts_received": counts.get("packetsIn", 0),
        "start": _time(record),
        "elapsed": 0 if seconds is None else int(seconds),
        "category": "any",
        "session_end_reason": _reason(record),
        "action_source": "from-policy",
        "monitortag": "" if record.get("enforced", True) else "observe",
        "tunnel": "N/A",
        "xff_ip": end(record, "client").get("address", ""),
        "src_edl": _list(record, "sources"),
        "dst_edl": _list(record, "destinations"),
    } | _ends(record)


def _list(record: Json, side: str) -> str:
    """The list that holds the address, where that is certain."""
    blocklists = record.get("blocklists", {})
    names = blocklists.get(side, ())
    return str(names[0]) if len(names) == 1 and not blocklists.get("mixed") else ""


def _ends(record: Json) -> dict[str, Any]:
    """Before and after translation, as a firewall has them: `dst` is what was dialled."""
    source, destination = end(record, "source"), end(record, "destination")
    translated = "natAddress" in destination
    pod = destination if "pod" in destination else source
    return {
        "src": source.get("address", ""),
        "sport": source.get("port", 0),
        "natsrc": source.get("natAddress") or _none(source),
        "natsport": source.get("natPort", 0),
        "dst": destination.get("natAddress" if translated else "address", ""),
        "dport": destination.get("natPort" if translated else "port", 0),
        "natdst": destination.get("address", "") if translated else _none(destination),
        "natdport": destination.get("port", 0) if translated else 0,
        "from": source.get("zone", ""),
        "to": destination.get("zone", ""),
        "src_category": source.get("namespace", ""),
        "src_profile": workload(source),
        "src_host": source.get("pod", source.get("node", "")),
        "dst_category": destination.get("namespace", ""),
        "dst_profile": workload(destination),
        "dst_host": destination.get("pod", destination.get("node", "")),
        "pod_namespace": pod.get("namespace", ""),
        "pod_name": pod.get("pod", ""),
    }


def _none(side: Json) -> str:
    """How PAN-OS writes that an address isn't translated."""
    return "::" if is_v6(side.get("address", "")) else "0.0.0.0"  # noqa: S104 - a value in a log


def _application(record: Json) -> str:
    """A workload is a custom App-ID of the server's side; else what PAN-OS says where it has seen no payload."""
    named: str = end(record, "destination").get("workload", "")
    protocol = record.get("protocol", "")
    if named or protocol in {"icmp", "icmp6"}:
        return named or protocol
    return f"unknown-{protocol}" if protocol in {"tcp", "udp"} else "not-applicable"


def _session(record: Json) -> int:
    """The same for all records of one connection; PAN-OS counts sessions, this node's kernel doesn't number them."""
    source, destination = end(record, "source"), end(record, "destination")
    parts = (source.get("address"), source.get("port"), destination.get("address"), destination.get("port"))
    return crc32("/".join(map(str, (*parts, record.get("protocol")))).encode()) or 1


def _reason(record: Json) -> str:
    if not passes(record):
        return "policy-deny"
    if record.get("moment") != "end":
        return "n/a"
    ended: str = record.get("reason", "unknown")
    return "unknown" if ended == "tcp-rst" else ended  # PAN-OS only knows resets by either side


def _system(record: Json) -> dict[str, Any]:
    return {
        "eventid": record.get("alert", record["kind"]),
        "object": record.get("subject") or record.get("rule", {}).get("name", ""),
        "module": "general",
        "severity": severity(record),
        "opaque": _told(record),
    }


def _config(record: Json) -> dict[str, Any]:
    command, result = _COMMANDS.get(record["alert"], ("set", "Unauthorized"))
    return {
        "host": record["node"],
        "cmd": command,
        "admin": record.get("actor", "unknown"),
        "client": "Kubernetes" if record["alert"] != "kernel-tampered" else "nftables",
        "result": "Succeeded" if record.get("state") == "resolved" else result,
        "path": record.get("subject", ""),
        "dg_name": record.get("rule", {}).get("deviceGroup", ""),
        "comment": f"{record['severity']}: {_told(record)}",
    }


def _told(record: Json) -> str:
    """The message, and what the log has no column for."""
    state, count = record.get("state", "raised"), record.get("count", 1)
    more = [state] if state != "raised" else []
    more += [f"{count} times"] if count != 1 else []
    return str(record["message"]) + (f" ({', '.join(more)})" if more else "")


def _time(record: Json) -> str:
    """In UTC; the line has no zone."""
    at = moment(record)
    return "" if at is None else at.astimezone(UTC).strftime(_TIME)


def _serial(record: Json) -> str:
    """Each node is a device of its own, and can't be taken for a real one. Readers look for it between commas."""
    return _UNFIT.sub("_", f"zonebridge-{record['cluster']}-{record['node']}")[:_NAME_LIMIT]


def _quoted(value: object) -> str:
    """In quotes where a comma is in it. Quotes within become apostrophes: doubled ones, most readers don't undo."""
    if not isinstance(value, str):
        return str(value)
    text = visible(value, _LIMIT).replace('"', "'")
    return f'"{text}"' if "," in text else text
