"""The operational commands (`type=op`): what each shows, by the path of its XML elements.

They read the appliance, or ask it to revert, load or move a device group; a command that is not here is refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement

from mocks.panorama import groups, jobs, locks
from mocks.panorama.appliance import Panorama
from mocks.panorama.devices import filled, render, yes
from mocks.panorama.mappings import render_entry
from mocks.panorama.replies import ApiError, Code, Reply, enqueued, envelope, message, raw, result
from mocks.panorama.tree import XmlError, parse_xml

Operation = Callable[[Panorama, Element, str], Reply]
OPERATIONS: dict[tuple[str, ...], Operation] = {}
PAGE = 500
EDITS = {("revert", "config"), ("load", "config"), ("request", "move-dg")}
WRITES = {*EDITS, ("delete", "config", "saved"), ("request", "commit-lock"), ("request", "config-lock")}


def operation(path: str) -> Callable[[Operation], Operation]:
    def register(handler: Operation) -> Operation:
        OPERATIONS[tuple(path.split())] = handler
        return handler

    return register


def run(panorama: Panorama, cmd: str, user: str) -> Reply:
    """Do the command; the deepest path that is known wins, the element there is its argument."""
    path, node = find(cmd)
    if path in WRITES:
        panorama.refuse_write(user)
    if path in EDITS:
        panorama.locks.refuse_edit(user)
    return OPERATIONS[path](panorama, node, user)


def find(cmd: str) -> tuple[tuple[str, ...], Element]:
    try:
        node = parse_xml(cmd)
    except XmlError as error:
        raise ApiError(Code.MALFORMED, f"Malformed command: {error}") from error
    path: tuple[str, ...] = (node.tag,)
    while path not in OPERATIONS:
        below = [child for child in node if any(known[: len(path) + 1] == (*path, child.tag) for known in OPERATIONS)]
        if not below:
            raise ApiError(Code.INVALID_COMMAND, unexpected(path, node))
        node = below[0]
        path = (*path, node.tag)
    return path, node


def unexpected(path: tuple[str, ...], node: Element) -> str:
    if len(node):
        return f" {' -> '.join((*path, node[0].tag))}  is unexpected"
    return f" {' -> '.join(path)}  is unexpected" if len(path) == 1 else f" {' -> '.join(path)}  is incomplete"


# the appliance itself


@operation("show system info")
def show_system_info(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(filled("system", system_facts(panorama)))


def system_facts(panorama: Panorama) -> dict[str, str]:
    identity = panorama.identity
    now = panorama.clock()
    minutes, seconds = divmod(int(now - panorama.started), 60)
    hours, minutes = divmod(minutes, 60)
    return {
        "hostname": identity.hostname,
        "ip-address": "127.0.0.1",
        "public-ip-address": "unknown",
        "netmask": "255.0.0.0",
        "default-gateway": "127.0.0.1",
        "ipv6-address": "unknown",
        "mac-address": "00:00:5e:00:53:01",
        "time": time.strftime("%a %b %e %H:%M:%S %Y\n", time.localtime(now)),
        "uptime": f"{hours // 24} days, {hours % 24}:{minutes:02}:{seconds:02}",
        "devicename": identity.hostname,
        "family": "pc",
        "model": identity.model,
        "serial": identity.serial,
        "sw-version": identity.sw_version,
        "app-version": identity.app_version,
        "av-version": "0",
        "wildfire-version": "0",
        "url-db": "paloaltonetworks",
        "logdb-version": "11.1.2",
        "platform-family": "pc",
        "system-mode": "panorama",
        "operational-mode": "normal",
        "multi-vsys": "off",
    }


@operation("show high-availability state")
def show_ha_state(panorama: Panorama, _node: Element, _user: str) -> Reply:
    if panorama.ha == "disabled":
        return result(text("enabled", "no"), filled("local-info", {"encrypt-imported": "no"}))
    local, peer = ha_roles(panorama.ha)
    release = panorama.identity.sw_version
    shown = [
        ("local-info", {"build-rel": release, "priority": local[0], "state": "-".join(local), "preemptive": "no"}),
        ("peer-info", {"build-rel": release, "priority": peer[0], "state": "-".join(peer), "conn-status": "up"}),
        ("path-monitoring", {"enabled": "yes", "failure-condition": "any", "groups": ""}),
    ]
    nodes = [filled(tag, fields) for tag, fields in shown]
    return result(
        text("enabled", "yes"), *nodes, text("running-sync", "synchronized"), text("running-sync-enabled", "yes")
    )


def ha_roles(state: str) -> tuple[tuple[str, str], tuple[str, str]]:
    """Priority and state of this peer and of the other one."""
    priority, _, role = state.partition("-")
    if not role:
        return ("primary", state), ("secondary", state)
    other = "secondary" if priority == "primary" else "primary"
    return (priority, role), (other, "passive" if role == "active" else "active")


@operation("show interface")
def show_interface(_panorama: Panorama, node: Element, _user: str) -> Reply:
    if (node.text or "").strip() != "management":
        raise ApiError(Code.NOT_FOUND, f"{(node.text or '').strip()} is not an interface")
    info = filled("info", {"name": "Management Interface", "ip": "127.0.0.1", "state": "up"})
    return result(info, filled("counters", {"rx-packets": "1", "tx-packets": "1"}))


# configurations


@operation("show config running")
def show_config_running(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return Reply(envelope(b"<result>" + panorama.running_bytes() + b"</result>"))


@operation("show config candidate")
def show_config_candidate(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(panorama.candidate)


@operation("show config list changes")
def show_config_changes(panorama: Panorama, _node: Element, _user: str) -> Reply:
    with panorama.lock:
        panorama.jobs.advance()
        changes = list(panorama.journal)
    journal = Element("journal")
    for change in changes:
        fields = {"xpath": change.xpath, "owner": change.admin, "action": change.command.upper()}
        journal.append(filled("entry", {**fields, "admin-history": change.admin}))
    return result(journal)


@operation("show config audit info")
def show_config_audit(panorama: Panorama, _node: Element, _user: str) -> Reply:
    panorama.job(0)
    nodes = []
    for version in reversed(panorama.versions):
        fields = {"name": str(version.number), "last-updated": jobs.stamp(version.at), "admin": version.admin}
        nodes.append(filled("entry", {**fields, "description": version.description}))
    return result(*nodes)


@operation("check pending-changes")
def check_pending(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return raw(yes(panorama.pending))


@operation("revert config")
def revert(panorama: Panorama, node: Element, _user: str) -> Reply:
    """Everything, or with `partial` what these administrators edited."""
    admins = {(member.text or "").strip() for member in node.iterfind("partial/admin/member")}
    if node.find("partial") is not None and not admins:
        raise ApiError(Code.INVALID_COMMAND, " revert -> config -> partial  is incomplete")
    panorama.revert(admins or None)
    return message("Configuration successfully reverted", Code.SUCCESS)


@operation("load config")
def load(panorama: Panorama, node: Element, user: str) -> Reply:
    name = (node.findtext("from") or "").strip()
    if name == "running-config.xml":
        root = panorama.running
    elif name in panorama.saved:
        root = panorama.saved[name]
    else:
        raise ApiError(Code.NOT_FOUND, f"{name} does not exist")
    panorama.replace_candidate(root, user, "load")
    return message(f"Config loaded from {name}", Code.SUCCESS)


@operation("delete config saved")
def delete_saved(panorama: Panorama, node: Element, _user: str) -> Reply:
    name = (node.text or "").strip()
    if panorama.saved.pop(name, None) is None:
        raise ApiError(Code.NOT_FOUND, f"{name} does not exist")
    return message(f"{name} deleted", Code.SUCCESS)


# locks


@operation("show commit-locks")
def show_commit_locks(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(locks.render("commit", panorama.locks.commit))


@operation("show config-locks")
def show_config_locks(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(locks.render("config", panorama.locks.config))


@operation("request commit-lock")
def commit_lock(panorama: Panorama, node: Element, user: str) -> Reply:
    return lock(panorama, "commit", node, user)


@operation("request config-lock")
def config_lock(panorama: Panorama, node: Element, user: str) -> Reply:
    return lock(panorama, "config", node, user)


def lock(panorama: Panorama, kind: str, node: Element, user: str) -> Reply:
    """`add`, or `remove`, which may name another administrator whose lock is broken."""
    if node.find("add") is not None:
        panorama.locks.add(kind, user, (node.findtext("add/comment") or "").strip())
    elif node.find("remove") is not None:
        panorama.locks.remove(kind, (node.findtext("remove/admin") or user).strip())
    else:
        raise ApiError(Code.INVALID_COMMAND, f" request -> {kind}-lock  is incomplete")
    return message(f"Successfully changed the {kind} lock", Code.SUCCESS)


# device groups, devices, templates


@operation("show dg-hierarchy")
def show_hierarchy(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(groups.hierarchy(groups.read_groups(panorama.running)))


@operation("show devicegroups")
def show_device_groups(panorama: Panorama, node: Element, _user: str) -> Reply:
    root = panorama.running
    known = groups.read_groups(root)
    wanted = node.findtext("name")
    if wanted is not None and wanted not in known:
        raise ApiError(Code.NOT_FOUND, f"{wanted} is not a device group")
    top = Element("devicegroups")
    for name in [wanted] if wanted is not None else list(known):
        policy = panorama.sums.merged(root, known, name)
        entry = filled("entry", {"shared-policy-md5sum": policy})
        entry.set("name", name)
        if known[name].serials:
            holder = SubElement(entry, "devices")
            holder.extend(render(panorama.devices.get(serial), policy) for serial in known[name].serials)
        top.append(entry)
    return result(top)


@operation("show devices all")
def show_devices(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return devices_reply(panorama, only_connected=False)


@operation("show devices connected")
def show_connected(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return devices_reply(panorama, only_connected=True)


def devices_reply(panorama: Panorama, *, only_connected: bool) -> Reply:
    top = Element("devices")
    managed = panorama.devices.managed(panorama.running)
    top.extend(render(device) for device in managed if device.connected or not only_connected)
    return result(top)


@operation("show templates")
def show_templates(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(template_list(panorama, "template", "templates"))


@operation("show template-stack")
def show_template_stacks(panorama: Panorama, _node: Element, _user: str) -> Reply:
    return result(template_list(panorama, "template-stack", "template-stack"))


def template_list(panorama: Panorama, tag: str, top_tag: str) -> Element:
    """Templates with their sum, stacks with their templates; both with their devices."""
    top = Element(top_tag)
    for template in panorama.running.findall(f"{groups.LOCALHOST}/{tag}/entry"):
        config = template.find("config")
        entry = Element("entry", {"name": template.get("name", "")})
        top.append(entry)
        if config is not None:
            SubElement(entry, "template-md5sum").text = panorama.sums.of(config).hex()
        entry.extend(node for node in template if node.tag == "templates")
        holder = SubElement(entry, "devices")
        serials = [node.get("name", "") for node in template.findall("devices/entry")]
        holder.extend(render(panorama.devices.get(serial)) for serial in serials)
    return top


@operation("request move-dg")
def move_group(panorama: Panorama, node: Element, user: str) -> Reply:
    entry = node.find("entry")
    name = entry.get("name", "") if entry is not None else ""
    parent = entry.findtext("new-parent-dg") if entry is not None else None
    known = groups.read_groups(panorama.candidate)
    for group in [name, *([parent] if parent else [])]:
        if group not in known:
            raise ApiError(Code.NOT_FOUND, f"{group} is not a device group")
    if parent and name in {above.name for above in groups.upwards(known, parent)}:
        raise ApiError(Code.NOT_POSSIBLE, f"{parent} is below {name}")
    return enqueued(panorama.reparent(name, parent or None, user), "Device group move")


# jobs, tags, users


@operation("show jobs all")
def show_jobs(panorama: Panorama, _node: Element, _user: str) -> Reply:
    panorama.job(0)
    return result(*(jobs.render(job, panorama.jobs) for job in reversed(panorama.jobs.all)))


@operation("show jobs id")
def show_job(panorama: Panorama, node: Element, _user: str) -> Reply:
    number = (node.text or "").strip()
    job = panorama.job(number)
    if job is None:
        raise ApiError(Code.NOT_PRESENT, f"job {number} not found")
    return result(jobs.render(job, panorama.jobs))


@operation("show object registered-ip")
def show_registered(panorama: Panorama, node: Element, _user: str) -> Reply:
    """A page of addresses: `limit` at most 500, `start-point` counts from 1."""
    tag = node.find("tag/entry")
    ip = (node.findtext("ip") or "").strip() or None
    found = panorama.mappings.registered(ip, tag.get("name") if tag is not None else None)
    limit = min(positive(node, "limit", PAGE), PAGE)
    start = positive(node, "start-point", 1) - 1
    page = found[start : start + limit]
    return result(*(render_entry(*entry) for entry in page), text("count", str(len(page))))


def positive(node: Element, tag: str, default: int) -> int:
    """A number below `node` or in its option <all>."""
    written = (node.findtext(tag) or node.findtext(f"all/{tag}") or "").strip()
    if not written:
        return default
    if not written.isdecimal() or len(written) > 9 or int(written) < 1:  # noqa: PLR2004 # digits of a sane count
        raise ApiError(Code.INVALID_COMMAND, f" show -> object -> registered-ip -> {tag} is invalid")
    return int(written)


@operation("show user ip-user-mapping-mp")
def show_users(panorama: Panorama, node: Element, _user: str) -> Reply:
    ip = (node.findtext("ip") or "").strip()
    panorama.mappings.forget()
    found = [(held, user) for held, (user, _until) in panorama.mappings.users.items() if ip in {"", held}]
    return result(*(filled("entry", {"ip": held, "user": user, "type": "XMLAPI"}) for held, user in found))


def text(tag: str, content: str) -> Element:
    node = Element(tag)
    node.text = content
    return node
