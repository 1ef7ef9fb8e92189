"""The Splunk app: what of it is made from columns and panels, and the package. Reproducible.

`config/splunk/zonebridge` has it all; `make generate` writes `transforms.conf` and the dashboards there.
"""

from __future__ import annotations

import gzip
import io
import itertools
import sys
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tools import splunkviews
from tools.version import ROOT, version
from zones.siem.formats import panos_columns
from zones.siem.formats.panos_columns import Reader

NAME = "zonebridge"
APP = ROOT / "config" / "splunk" / NAME
VIEWS = APP / "default" / "data" / "ui" / "views"
TRANSFORMS = APP / "default" / "transforms.conf"

# A value: in quotes where a comma is in it, and never with a quote of its own.
_VALUE = r'(?<=")[^"]*|[^,"]*'
_SKIPPED = r'"[^"]*"|[^,"]*'
_NO_ZERO = r"(?:(?:0|0\.0\.0\.0|::)(?=,)|(?<{name}>" + _VALUE + "))"
_BOTH = r"(?=(?<{name}_ip>[^,]*))(?<{name}>[^,]*)"
# Only lines of our own serials: a firewall's have digits there.
_HEAD = r"^[^,]*,[^,]*,(?<serial_number>zonebridge-[^,]+),{log},{subtype},[^,]*,[^,]*"

TRAFFIC = {
    "src": _BOTH.format(name="src"),
    "dst": _BOTH.format(name="dest"),
    "natsrc": _NO_ZERO.format(name="src_translated_ip"),
    "natdst": _NO_ZERO.format(name="dest_translated_ip"),
    "rule": "rule",
    "app": "app",
    "from": "src_zone",
    "to": "dest_zone",
    "sessionid": "session_id",
    "sport": _NO_ZERO.format(name="src_port"),
    "dport": _NO_ZERO.format(name="dest_port"),
    "natsport": _NO_ZERO.format(name="src_translated_port"),
    "natdport": _NO_ZERO.format(name="dest_translated_port"),
    "proto": r'(?<transport>icmp(?=6,)|[^,"]*)6?',
    "action": "vendor_action",
    "bytes": "bytes",
    "bytes_sent": "bytes_out",
    "bytes_received": "bytes_in",
    "packets": "packets",
    "elapsed": "duration",
    "seqno": "sequence",
    "pkts_sent": "packets_out",
    "pkts_received": "packets_in",
    "session_end_reason": "reason",
    "vsys_name": "cluster",
    "device_name": "dvc",
    "rule_uuid": "rule_id",
    "src_category": "src_namespace",
    "src_profile": "src_workload",
    "src_host": "src_pod",
    "dst_category": "dest_namespace",
    "dst_profile": "dest_workload",
    "dst_host": "dest_pod",
    "src_edl": "src_blocklist",
    "dst_edl": "dest_blocklist",
}
SYSTEM = {
    "eventid": r"(?=(?<signature_id>[^,]*))(?<signature>[^,]*)",
    "object": "subject",
    "severity": "severity",
    "opaque": "description",
    "seqno": "sequence",
    "vsys_name": "cluster",
    # The alert's own address is in the text alone: the node stands for it.
    "device_name": r"(?=(?<dvc>[^,]*))(?=(?<src>[^,]*))(?<dest>[^,]*)",
}
# Up to the path all readers' columns are the same, up to the cluster those of `panos` and `panos-splunk`.
CONFIG = {
    "host": r"(?=(?<dvc>[^,]*))(?=(?<src>[^,]*))(?<dest>[^,]*)",
    "cmd": "command",
    "admin": "user",
    "client": "user_agent",
    "result": "result",
    "path": r'"?(?=(?<object_id>' + _VALUE + r"))(?<object>" + _VALUE + r')"?',
    "seqno": "sequence",
    "vsys_name": "cluster",
}
_OF_CONFIG = panos_columns.CONFIG[Reader.SPLUNK]
_CHANGE = "action::modified change_type::policy object_attrs::rules vendor_product::zonebridge"
# How a message ends, which may be in quotes and have commas then.
_ENDS_WITH = r',(")?(?(1)[^"]*|[^,"]*){ending}(?(1)"|(?=,))'


def line(log: str, columns: Sequence[str], wanted: Mapping[str, str], subtype: str = "[^,]*") -> str:
    """The expression for a line up to the last wanted column: each as its field's name, or an expression of its own."""
    last = max(columns.index(name) for name in wanted)
    parts = [_HEAD.format(log=log, subtype=subtype)]
    for skipped, run in itertools.groupby(columns[: last + 1], lambda name: name not in wanted):
        if skipped:
            parts.append(f"(?:,(?:{_SKIPPED})){{{len(list(run))}}}")
        else:
            parts.extend("," + _captured(wanted[name]) for name in run)
    return "".join(parts)


def _captured(pattern: str) -> str:
    return f'"?(?<{pattern}>{_VALUE})"?' if pattern.isidentifier() else pattern


def transforms() -> str:
    """`transforms.conf`."""
    mine = _HEAD.format
    at_proto = line("TRAFFIC", panos_columns.TRAFFIC, {"proto": "{proto}"})
    at_tag = line("TRAFFIC", panos_columns.TRAFFIC, {"monitortag": "observe,"})
    command = line("CONFIG", _OF_CONFIG, {"client": "nftables,"})
    failed = line("CONFIG", _OF_CONFIG, {"result": "Succeeded,"})
    told = line("SYSTEM", panos_columns.SYSTEM, {"severity": "[a-z]*"}).replace("(?<serial_number>", "(?:")
    stanzas: dict[str, tuple[str, str]] = {
        "pan_traffic": (line("TRAFFIC", panos_columns.TRAFFIC, TRAFFIC), ""),
        "pan_traffic_blocked": (mine(log="TRAFFIC", subtype="deny"), "action::blocked vendor_product::zonebridge"),
        "pan_traffic_allowed": (
            mine(log="TRAFFIC", subtype="(?:start|end)"),
            "action::allowed vendor_product::zonebridge",
        ),
        "pan_traffic_observed": (at_tag, "observed::true"),
        "pan_traffic_icmp": (at_proto.replace("{proto}", "icmp"), "protocol::icmp"),
        "pan_traffic_ip": (at_proto.replace("{proto}", "(?!icmp|arp|0x)"), "protocol::ip"),
        "pan_system": (line("SYSTEM", panos_columns.SYSTEM, SYSTEM), ""),
        "pan_system_state": (
            told + _ENDS_WITH.format(ending=r" \((?<state>resolved|counted)(?:, \d+ times)?\)"),
            "",
        ),
        "pan_system_count": (told + _ENDS_WITH.format(ending=r"[ (](?<count>\d+) times\)"), ""),
        "pan_system_constants": (
            mine(log="SYSTEM", subtype="general"),
            "state::raised count::1 app::zonebridge type::alert user::unknown vendor_product::zonebridge",
        ),
        "pan_config": (line("CONFIG", _OF_CONFIG, CONFIG), ""),
        "pan_config_resolved": (failed, "status::success"),
        "pan_config_kernel": (command, "object_category::kernel"),
        "pan_config_constants": (
            mine(log="CONFIG", subtype="[^,]*"),
            f"status::failure object_category::tier {_CHANGE}",
        ),
    }
    text = ["# Made by `make generate` from the columns of PAN-OS lines: tools/splunk.py.\n"]
    for name, (pattern, constants) in stanzas.items():
        expression = pattern
        if constants:
            expression = f"{expression.replace('(?<serial_number>', '(?:')}\nFORMAT = {constants}"
        # Many columns are many steps: the usual limit is 1,000.
        text.append(f"\n[{NAME}_{name}]\nREGEX = {expression}\nDEPTH_LIMIT = 20000\n")
    return "".join(text)


def package(epoch: int) -> bytes:
    """What `Install app from file` takes: one folder, no compiled or local files."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        folders = [APP, *(path for path in APP.rglob("*") if path.is_dir())]
        for path in sorted([*folders, *_files()]):
            entry = tarfile.TarInfo((NAME / path.relative_to(APP)).as_posix())
            entry.mtime = epoch
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
                continue
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return gzip.compress(packed.getvalue(), mtime=epoch)


def _files() -> list[Path]:
    """Without `local`, which is a site's, and editors' hidden files."""
    inside = (path for path in APP.rglob("*") if path.is_file())
    return [
        path
        for path in inside
        if not any(part.startswith(".") or part == "local" for part in path.relative_to(APP).parts)
    ]


def package_name() -> str:
    return f"{NAME}-splunk-{version()}.spl"


def main() -> int:
    TRANSFORMS.write_text(transforms())
    VIEWS.mkdir(parents=True, exist_ok=True)
    for name in splunkviews.VIEWS:
        (VIEWS / f"{name}.xml").write_text(splunkviews.text(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
