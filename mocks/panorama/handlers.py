"""The request types of the XML API: who asks, what for, and the answer. From parameters to a Reply; no HTTP here.

It keeps no state; that is the appliance's. The server calls `answer`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element, SubElement

from mocks.panorama import configuring, groups, jobs, mappings, operations
from mocks.panorama.access import Call
from mocks.panorama.appliance import Panorama
from mocks.panorama.devices import filled
from mocks.panorama.replies import ApiError, Code, Reply, enqueued, envelope, lines, message, raw, refusal, result
from mocks.panorama.tree import ConfigError, XmlError, load_config, parse_xml, serialize


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, already read off the wire."""

    method: str
    params: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    upload: tuple[str, bytes] | None = None

    def __getitem__(self, name: str) -> str:
        return self.params.get(name, "")

    def need(self, name: str) -> str:
        value = self[name]
        if not value:
            raise ApiError(Code.BAD_REQUEST, f'Missing value for parameter "{name}".')
        return value


def answer(panorama: Panorama, ask: Ask) -> Reply:
    """The reply to one request; a refusal is a reply too."""
    try:
        user = "" if ask["type"] == "keygen" else authenticate(panorama, ask)
        note(panorama, ask, user)
        panorama.keys.refuse_type(user, ask["type"])
        return handler_of(panorama, ask)(panorama, ask, user)
    except ApiError as error:
        return refusal(error)


def handler_of(panorama: Panorama, ask: Ask) -> Handler:
    if ask["target"] and ask["target"] != panorama.identity.serial:
        raise ApiError(Code.NOT_FOUND, f"{ask['target']} not connected")
    handler = TYPES.get(ask.need("type"))
    if handler is None:
        raise ApiError(Code.BAD_REQUEST, f'Illegal value for parameter "type" [{ask["type"]}].')
    return handler


def authenticate(panorama: Panorama, ask: Ask) -> str:
    """Whose request it is: by key parameter, X-PAN-KEY header or HTTP Basic."""
    key = ask["key"] or ask.headers.get("X-PAN-KEY", "")
    if key:
        return panorama.keys.owner(key)
    user, password = basic(ask.headers.get("Authorization", ""))
    if not panorama.keys.check(user, password):
        raise ApiError(Code.FORBIDDEN, "Invalid Credential")
    return user


def basic(header: str) -> tuple[str, str]:
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


def note(panorama: Panorama, ask: Ask, user: str) -> None:
    subject = ask["xpath"] or ask["cmd"] or ask["category"] or ask["log-type"]
    call = Call(ask["type"], ask["action"], subject, user or ask["user"], ask.method, panorama.clock())
    panorama.traffic.calls.append(call)


def keygen(panorama: Panorama, ask: Ask, _user: str) -> Reply:
    if not panorama.keys.check(ask["user"], ask["password"]):
        raise ApiError(Code.FORBIDDEN, "Invalid Credential")
    return raw(f"<key>{panorama.keys.generate(ask['user'])}</key>")


def version(panorama: Panorama, _ask: Ask, _user: str) -> Reply:
    identity = panorama.identity
    fields = {"sw-version": identity.sw_version, "multi-vsys": "off", "model": identity.model}
    return result(*filled("version", {**fields, "serial": identity.serial}))


def op(panorama: Panorama, ask: Ask, user: str) -> Reply:
    return operations.run(panorama, ask.need("cmd"), user)


def config(panorama: Panorama, ask: Ask, user: str) -> Reply:
    return configuring.run(panorama, ask.need("action"), ask.params, user)


def commit(panorama: Panorama, ask: Ask, user: str) -> Reply:
    panorama.refuse_write(user)
    root = parse_command(ask.need("cmd"))
    description = (root.findtext("description") or root.findtext(".//description") or "").strip()
    if ask["action"] == "all" or root.tag == "commit-all":
        return push(panorama, root, description, user)
    if root.tag != "commit":
        raise ApiError(Code.INVALID_COMMAND, f" {root.tag}  is unexpected")
    panorama.locks.refuse_commit(user)
    admins = partial_of(root)
    if not panorama.changed_by(admins) and root.find("force") is None:
        return message("There are no changes to commit.", Code.SUCCESS)
    return enqueued(panorama.commit(user, description, admins), "Commit")


def partial_of(root: Element) -> frozenset[str] | None:
    """The administrators whose changes are to be committed; None is everybody. Other parts are not told apart."""
    members = root.findall("partial/admin/member")
    return frozenset((member.text or "").strip() for member in members) if members else None


def push(panorama: Panorama, root: Element, description: str, user: str) -> Reply:
    names = [entry.get("name", "") for entry in root.iterfind("shared-policy/device-group/entry")]
    known = groups.read_groups(panorama.running)
    for name in names:
        if name not in known:
            raise ApiError(Code.INVALID_COMMAND, f" commit-all -> shared-policy -> device-group -> {name} is invalid")
    return enqueued(panorama.push(names or list(known), user, description), "Commit all")


def parse_command(text: str) -> Element:
    try:
        return parse_xml(text)
    except XmlError as error:
        raise ApiError(Code.MALFORMED, f"Malformed command: {error}") from error


def user_id(panorama: Panorama, ask: Ask, user: str) -> Reply:
    panorama.refuse_write(user, passive=True)
    root = parse_command(ask.need("cmd"))
    payload = root.find(".//payload")
    if root.tag != "uid-message" or payload is None:
        raise ApiError(Code.INVALID_COMMAND, " uid-message -> payload is missing")
    with panorama.lock:
        refused = mappings.apply(panorama.mappings, payload)
    response = uid_response(payload, refused)
    if not refused:
        return result(response)
    inner = b"<msg><line>" + serialize(response) + b"</line></msg>"
    return Reply(envelope(inner, "error"))


def uid_response(payload: Element, refused: list[tuple[str, str, str]]) -> Element:
    response = filled("uid-response", {"version": "2.0"})
    holder = SubElement(response, "payload")
    for command in dict.fromkeys(node.tag for node in payload):
        node = SubElement(holder, command)
        for _, ip, why in (entry for entry in refused if entry[0] == command):
            SubElement(node, "entry", {"ip": ip, "message": why})
    return response


def log(panorama: Panorama, ask: Ask, user: str) -> Reply:
    """The configuration log, in two steps: the query makes a job, `action=get` reads what it found."""
    if ask["action"] == "get":
        return read_log(panorama, ask.need("job-id"))
    if ask.need("log-type") != "config":
        raise ApiError(Code.BAD_REQUEST, f'Illegal value for parameter "log-type" [{ask["log-type"]}].')
    wanted = int(ask["nlogs"]) if ask["nlogs"].isdecimal() and len(ask["nlogs"]) < 6 else 20  # noqa: PLR2004
    command = log_filter(ask["query"])
    found = [change for change in reversed(panorama.log) if command in {None, change.command}][:wanted]
    entries = Element("logs", {"count": str(len(found)), "progress": "100"})
    for change in found:
        entries.append(configuring.log_entry(change, panorama.identity.serial))
    job = panorama.jobs.enqueue("log", user, lambda _job: None)
    job.extra = [entries]
    text = f"<msg><line>query job enqueued with jobid {job.id}</line></msg><job>{job.id}</job>"
    return raw(text, Code.SUCCESS)


def log_filter(query: str) -> str | None:
    """The command that `( cmd eq X )` asks for; other filters find everything."""
    words = query.replace("(", " ").replace(")", " ").split()
    return words[2] if words[:2] == ["cmd", "eq"] and len(words) == 3 else None  # noqa: PLR2004 # cmd eq X


def read_log(panorama: Panorama, number: str) -> Reply:
    job = panorama.job(number)
    if job is None or job.kind != "log":
        raise ApiError(Code.NOT_PRESENT, f"job {number} not found")
    when = jobs.clock_time(job.start)
    node = filled("job", {"tenq": when, "tdeq": when, "tlast": when, "status": "FIN", "id": str(job.id)})
    holder = Element("log")
    holder.extend(job.extra)
    return result(node, holder, code=Code.SUCCESS)


def report(_panorama: Panorama, ask: Ask, _user: str) -> Reply:
    raise ApiError(Code.BAD_REQUEST, f'Illegal value for parameter "reportname" [{ask["reportname"]}].')


def export(panorama: Panorama, ask: Ask, _user: str) -> Reply:
    if ask.need("category") != "configuration":
        raise ApiError(Code.BAD_REQUEST, f'Illegal value for parameter "category" [{ask["category"]}].')
    name = ask["from"]
    if name and name not in panorama.saved:
        raise ApiError(Code.NOT_FOUND, f"{name} does not exist")
    return Reply(serialize(panorama.saved[name]) if name else panorama.running_bytes())


def import_(panorama: Panorama, ask: Ask, user: str) -> Reply:
    panorama.refuse_write(user)
    if ask.need("category") != "configuration" or ask.upload is None:
        raise ApiError(Code.BAD_REQUEST, "Only a configuration file can be imported.")
    name, data = ask.upload
    try:
        panorama.saved[name] = load_config(data.decode())
    except (ConfigError, UnicodeDecodeError) as error:
        raise ApiError(Code.INVALID_OBJECT, f"{name} is not a configuration: {error}") from error
    return Reply(envelope(lines([f"{name} saved"]).encode(), code=Code.SUCCESS))


Handler = Callable[[Panorama, Ask, str], Reply]
TYPES: dict[str, Handler] = {
    "keygen": keygen,
    "version": version,
    "op": op,
    "config": config,
    "commit": commit,
    "user-id": user_id,
    "log": log,
    "report": report,
    "export": export,
    "import": import_,
}
