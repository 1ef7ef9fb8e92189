"""The configuration actions (`type=config`): show reads running, get the candidate, the others edit the candidate.

It speaks to the appliance only; edits proper are in `edits`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape, quoteattr

from mocks.panorama import edits
from mocks.panorama.appliance import Change, Panorama
from mocks.panorama.devices import filled
from mocks.panorama.edits import Stamp
from mocks.panorama.jobs import stamp
from mocks.panorama.replies import (
    UNPRINTABLE,
    ApiError,
    Code,
    Reply,
    envelope,
    message,
    no_such_node,
    result,
)
from mocks.panorama.tree import XmlError, parse_xml, serialize, shallow
from mocks.panorama.xpath import Trail

Params = Mapping[str, str]
Transform = Callable[[Element, Params, Stamp], Element]
GROUP_DEPTH = 4  # config, devices, entry, device-group: the group's entry comes next


def run(panorama: Panorama, action: str, params: Params, user: str) -> Reply:
    if action == "show":
        return show(panorama, params.get("xpath", "/config"))
    if action == "get":
        return get(panorama, params.get("xpath", "/config"))
    if action != "multi-config" and action not in EDITS:
        raise ApiError(Code.BAD_REQUEST, f'Illegal value for parameter "action" [{action}].')
    panorama.refuse_write(user)
    panorama.locks.refuse_edit(user)
    if action == "multi-config":
        return multi_config(panorama, params, user)
    xpath = need(params, "xpath")
    if action == "delete" and not edits.find(panorama.candidate, xpath):
        return message("Object doesn't exist", Code.NOT_PRESENT)
    panorama.apply(action, xpath, user, lambda root, marks: EDITS[action](root, params, marks))
    return message("command succeeded")


def need(params: Params, name: str) -> str:
    value = params.get(name, "")
    if not value:
        raise ApiError(Code.BAD_REQUEST, f'Missing value for parameter "{name}".')
    return value


def show(panorama: Panorama, xpath: str) -> Reply:
    trails = edits.find(panorama.running, xpath)
    if len(trails) != 1:
        return no_such_node()
    return result(trails[0][-1])


def get(panorama: Panorama, xpath: str) -> Reply:
    trails = edits.find(panorama.readable, xpath)
    if not trails:
        return Reply(envelope(b"<result/>", code=Code.NOT_PRESENT))
    count = str(len(trails))
    return result(*(located(trail) for trail in trails), code=Code.SUCCESS, total_count=count, count=count)


def located(trail: Trail) -> Element:
    """The node with `loc` on the objects and rules that lie in a device group."""
    node = trail[-1]
    tags = [above.tag for above in trail]
    if "entry" in tags[GROUP_DEPTH + 1 : -1]:
        return node
    if tags[1:GROUP_DEPTH] == ["devices", "entry", "device-group"] and len(trail) > GROUP_DEPTH:
        return with_loc(node, trail[GROUP_DEPTH].get("name", ""), len(trail) - 1 - GROUP_DEPTH)
    if tags[1:] == ["devices", "entry", "device-group"]:
        fresh = shallow(node)
        fresh[:] = [with_loc(group, group.get("name", ""), 0) for group in node]
        return fresh
    return node


def with_loc(node: Element, loc: str, depth: int) -> Element:
    """`depth` counts from the device group's own entry, which carries none."""
    if node.tag == "entry" and depth > 0:
        fresh = shallow(node)
        fresh.set("loc", loc)
        return fresh
    if node.tag == "devices" or not any(len(child) or child.tag == "entry" for child in node):
        return node
    fresh = shallow(node)
    fresh[:] = [with_loc(child, loc, depth + 1) for child in node]
    return fresh


def edit_set(root: Element, params: Params, marks: Stamp) -> Element:
    return edits.set_(root, need(params, "xpath"), need(params, "element"), marks)


def edit_edit(root: Element, params: Params, marks: Stamp) -> Element:
    return edits.edit(root, need(params, "xpath"), need(params, "element"), marks)


def edit_delete(root: Element, params: Params, marks: Stamp) -> Element:
    return edits.delete(root, need(params, "xpath"), marks)


def edit_rename(root: Element, params: Params, marks: Stamp) -> Element:
    return edits.rename(root, need(params, "xpath"), need(params, "newname"), marks)


def edit_move(root: Element, params: Params, marks: Stamp) -> Element:
    return edits.move(root, need(params, "xpath"), need(params, "where"), params.get("dst", ""), marks)


def edit_clone(root: Element, params: Params, marks: Stamp) -> Element:
    return edits.clone(root, need(params, "xpath"), need(params, "from"), need(params, "newname"), marks)


EDITS: dict[str, Transform] = {
    "set": edit_set,
    "edit": edit_edit,
    "delete": edit_delete,
    "rename": edit_rename,
    "move": edit_move,
    "clone": edit_clone,
    "override": edit_edit,
}


def multi_config(panorama: Panorama, params: Params, user: str) -> Reply:
    """Many edits in one request, up to the first fault.

    A fault in a strictly transactional one reverts the whole candidate, what was set before included: pan-python's
    tests against real firewalls say so.
    """
    try:
        root = parse_xml(need(params, "element"))
    except XmlError as error:
        raise ApiError(Code.MALFORMED, f"Malformed element: {error}") from error
    strict = params.get("strict-transactional") == "yes"
    replies: list[str] = []
    failed: list[ApiError] = []

    def edit(before: Element, marks: Stamp) -> Element:
        after = before
        for order in root:
            try:
                after = one_of_many(after, order, marks)
            except ApiError as error:
                failed.append(error)
                replies.append(part(order, "error", error.code, error.message))
                return after
            replies.append(part(order, "success", Code.DONE, "command succeeded"))
        return after

    panorama.apply("multi-config", "/config", user, edit)
    if failed and strict:
        panorama.revert()
    status, code = ("error", failed[0].code) if failed else ("success", Code.DONE)
    return Reply(envelope("".join(replies).encode(), status, code))


def one_of_many(root: Element, order: Element, marks: Stamp) -> Element:
    if order.tag not in EDITS:
        raise ApiError(Code.INVALID_COMMAND, f" multi-config -> {order.tag}  is unexpected")
    inner = b"".join(serialize(child) for child in order).decode()
    return EDITS[order.tag](root, {"element": inner, **order.attrib}, marks)


def part(order: Element, status: str, code: Code, text: str) -> str:
    number = quoteattr(order.get("id", ""))
    words = escape(UNPRINTABLE.sub("?", text))
    return f'<response status="{status}" code="{code.value}" id={number}><msg><line>{words}</line></msg></response>'


def log_entry(change: Change, serial: str) -> Element:
    """A change as the configuration log has it."""
    entry = filled(
        "entry",
        {
            "receive_time": stamp(change.at),
            "serial": serial,
            "seqno": str(change.number),
            "type": "CONFIG",
            "subtype": "0",
            "time_generated": stamp(change.at),
            "host": "127.0.0.1",
            "cmd": change.command,
            "admin": change.admin,
            "client": "API",
            "result": change.result,
            "path": change.xpath[:512],
        },
    )
    entry.set("logid", str(change.number))
    return entry
