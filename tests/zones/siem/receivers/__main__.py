"""`python -m tests.zones.siem.receivers telegraf`: what a receiver written in Go makes of our syslog, both framings.

`opentelemetry` is the other one. Builds the receiver's own reader once (some minutes), sends every record in every
format, and prints one line for each way: how many came, each as one entry with all of its text. Ends with 1 where it
ought to be all of them and isn't.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.apiserver.gobuild import GoBuild, cache_root
from tests.zones.siem.cases import CASES
from zones.siem.destinations import SyslogSettings
from zones.siem.formats.registry import FORMATS, FormatName
from zones.siem.records import encoded
from zones.siem.transports.syslog import SyslogSender

HERE = Path(__file__).parent
# How the receiver is set, our framing, and whether that is meant to work.
WAYS = {
    "opentelemetry": (
        ("tcp", "newline", True),
        ("syslog", "newline", True),
        ("syslog-octets", "octet-counted", True),
        ("tcp", "octet-counted", False),
        ("syslog", "octet-counted", False),
    ),
    "telegraf": (
        ("octet-counting", "octet-counted", True),
        ("non-transparent", "newline", True),
        ("octet-counting", "newline", False),
        ("non-transparent", "octet-counted", False),
    ),
}
SECONDS = 30.0


def main() -> int:
    name = next((each for each in sys.argv[1:] if each in WAYS), None)
    if name is None:
        print(f"which receiver: {' or '.join(WAYS)}?", file=sys.stderr)
        return 2
    folder = cache_root() / name
    GoBuild(HERE / name, (f"zonebridge.io/tests/{name}",)).into(folder)
    failed = 0
    with tempfile.TemporaryDirectory() as made:
        for kind, framing, meant in WAYS[name]:
            sent, arrived = tried(folder / name, Path(made), kind, framing, meant=meant)
            print(json.dumps({"receiver": kind, "framing": framing, "sent": sent, "arrived": arrived}), flush=True)
            failed |= meant and arrived != sent
    return int(failed)


def tried(program: Path, folder: Path, kind: str, framing: str, *, meant: bool) -> tuple[int, int]:
    """Records that were sent, and entries that came of them."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    output = folder / f"{kind}-{framing}"
    with output.open("wb") as log:
        receiver = subprocess.Popen([program, kind, f"127.0.0.1:{port}"], stdout=log)
    try:
        _await_port(port)
        sent = asyncio.run(_send(port, framing))
        deadline = time.monotonic() + (SECONDS if meant else 3)
        while _entries(output) < sent and time.monotonic() < deadline:
            time.sleep(0.1)
        return sent, _entries(output)
    finally:
        receiver.kill()
        receiver.wait()


async def _send(port: int, framing: str) -> int:
    """Every record in every format that has it; how many."""
    sent = 0
    for form in FormatName:
        records = [each for each in CASES.values() if FORMATS[form].alerts or each["kind"] == "flow"]
        kinds = "all" if FORMATS[form].alerts else "flows"
        way = {"address": f"127.0.0.1:{port}", "tls": False, "framing": framing, "format": form, "records": kinds}
        sender = SyslogSender(SyslogSettings.model_validate({"name": "siem", "type": "syslog"} | way))
        await sender.send([encoded(each) for each in records])
        await sender.close()
        sent += len(records)
    return sent


def _await_port(port: int) -> None:
    for _ in range(400):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("the receiver does not listen")


def _entries(output: Path) -> int:
    """Entries that were read as one message each: taken apart, or, where lines are read, one header at a line's start."""
    count = 0
    for line in output.read_text(errors="replace").splitlines():
        entry = json.loads(line)
        body, fields = str(entry.get("body", "")), entry.get("attributes") or {}
        count += "hostname" in fields or (re.match(r"<\d+>1 ", body) is not None and body.count(">1 20") == 1)
    return count


if __name__ == "__main__":
    sys.exit(main())
