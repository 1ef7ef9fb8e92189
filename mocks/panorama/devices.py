"""The firewalls that a Panorama manages, as its show commands list them: serials of the configuration, and their state.

No firewall exists; a push only notes what one would then hold.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

from mocks.panorama.groups import read_groups
from mocks.panorama.jobs import Job, clock_time, stamp


@dataclass(slots=True)
class Device:
    """One firewall; tests may change what it says of itself."""

    serial: str
    hostname: str = ""
    address: str = "192.0.2.1"
    connected: bool = True
    model: str = "PA-VM"
    sw_version: str = "11.1.6"
    vsys: tuple[str, ...] = ("vsys1",)
    policy: str = ""
    version: int = 0
    pushed_at: float | None = None


@dataclass(slots=True)
class Inventory:
    """What is known of each serial; one that was never heard of is a connected PA-VM."""

    known: dict[str, Device] = field(default_factory=dict)

    def get(self, serial: str) -> Device:
        if serial not in self.known:
            self.known[serial] = Device(serial, hostname=f"fw-{serial}")
        return self.known[serial]

    def managed(self, root: Element) -> list[Device]:
        """The devices of the configuration: those under mgt-config, then those only in a device group."""
        serials = [entry.get("name", "") for entry in root.findall("mgt-config/devices/entry")]
        serials += [serial for group in read_groups(root).values() for serial in group.serials]
        return [self.get(serial) for serial in dict.fromkeys(serials)]

    def pushed(self, serials: list[str], policy: str, at: float) -> None:
        for serial in serials:
            device = self.get(serial)
            device.policy, device.pushed_at = policy, at
            device.version += 1

    def push_report(self, serials: list[str], names: str, job: Job) -> list[Element]:
        """What a CommitAll job adds to `show jobs`."""
        kind, group, devices = Element("push_type"), Element("dgname"), Element("devices")
        kind.text, group.text = "shared-policy", names
        for serial in serials:
            devices.append(push_entry(self.get(serial), job))
        return [kind, group, devices]


def push_entry(device: Device, job: Job) -> Element:
    fields = {
        "serial-no": device.serial,
        "devicename": device.hostname,
        "multi-vsys": "no",
        "vsys": "",
        "status": "commit succeeded" if device.connected else "not connected",
        "result": "OK" if device.connected else "FAIL",
        "tstart": clock_time(job.start),
        "tfin": clock_time(job.end),
        "details": "",
    }
    return filled("entry", fields)


def render(device: Device, policy: str | None = None) -> Element:
    """One device of `show devices`; with the policy of its group, as `show devicegroups` has it."""
    node = filled("entry", {"serial": device.serial, "connected": yes(device.connected)})
    node.set("name", device.serial)
    pushed = stamp(device.pushed_at) if device.pushed_at is not None else "none"
    if policy is not None:
        node.extend(
            filled(
                "group",
                {
                    "last-commit-all-state-sp": "commit succeeded" if device.pushed_at is not None else "none",
                    "last-commit-all-upd-sp": pushed,
                    "shared-policy-status": "In Sync" if device.policy == policy else "Out of Sync",
                    "shared-policy-md5sum": device.policy,
                    "shared-policy-version": str(device.version or ""),
                },
            )
        )
    node.extend(filled("facts", facts(device)))
    vsys = SubElement(node, "vsys")
    if policy is None:
        vsys.extend(render_vsys(device, name) for name in device.vsys)
    return node


def facts(device: Device) -> dict[str, str]:
    return {
        "unsupported-version": "no",
        "deactivated": "no",
        "hostname": device.hostname,
        "ip-address": device.address,
        "ipv6-address": "unknown",
        "uptime": "1 days, 0:00:00",
        "family": "vm",
        "model": device.model,
        "sw-version": device.sw_version,
        "operational-mode": "normal",
        "multi-vsys": yes(len(device.vsys) > 1),
    }


def render_vsys(device: Device, name: str) -> Element:
    node = filled(
        "entry",
        {
            "display-name": name,
            "shared-policy-status": "",
            "shared-policy-md5sum": device.policy,
            "shared-policy-version": str(device.version or ""),
        },
    )
    node.set("name", name)
    return node


def filled(tag: str, fields: dict[str, str]) -> Element:
    node = Element(tag)
    for name, text in fields.items():
        SubElement(node, name).text = text
    return node


def yes(truth: bool) -> str:  # noqa: FBT001 # one argument only
    return "yes" if truth else "no"
