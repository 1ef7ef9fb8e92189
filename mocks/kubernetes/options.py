"""What the real server refuses in a request's query: options that are unknown or don't go together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mocks.kubernetes.status import Cause, Target, invalid

_GROUP = "meta.k8s.io"
_VALIDATIONS = ("", "Ignore", "Strict", "Warn")
_MATCHES = ("", "Exact", "NotOlderThan")


def check_write(query: Mapping[str, str], kind: str) -> None:
    """Of a create, update or delete. `kind` is the name of its options: CreateOptions and so on."""
    _refuse(kind, _write_faults(query))


def check_patch(query: Mapping[str, str], *, apply: bool) -> None:
    """Of a patch: an apply must say who applies, and only an apply may be forced."""
    _refuse("PatchOptions", [*_write_faults(query), *_patch_faults(query, apply=apply)])


def check_list(query: Mapping[str, str]) -> None:
    _refuse("ListOptions", _list_faults(query))


def _refuse(kind: str, causes: Iterator[Cause] | list[Cause]) -> None:
    found = list(causes)
    if found:
        raise invalid(Target(kind, _GROUP), found)


def _write_faults(query: Mapping[str, str]) -> Iterator[Cause]:
    if query.get("dryRun", "All") not in {"All", ""}:
        text = f'Unsupported value: ["{query["dryRun"]}"]: supported values: "All"'
        yield Cause("FieldValueNotSupported", text, "dryRun")
    if query.get("fieldValidation", "") not in _VALIDATIONS:
        listed = ", ".join(f'"{value}"' for value in _VALIDATIONS)
        text = f'Unsupported value: "{query["fieldValidation"]}": supported values: {listed}'
        yield Cause("FieldValueNotSupported", text, "fieldValidation")


def _patch_faults(query: Mapping[str, str], *, apply: bool) -> Iterator[Cause]:
    if apply and not query.get("fieldManager"):
        yield Cause("FieldValueRequired", "Required value: is required for apply patch", "fieldManager")
    if not apply and "force" in query:
        yield Cause("FieldValueForbidden", "Forbidden: may not be specified for non-apply patch", "force")


def _list_faults(query: Mapping[str, str]) -> Iterator[Cause]:
    match, version = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    watching = query.get("watch", "").lower() in {"1", "true"}
    if match and not version and not (watching and "sendInitialEvents" in query):
        text = "Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"
        yield Cause("FieldValueForbidden", text, "resourceVersionMatch")
    if match == "Exact" and version == "0":
        text = 'Forbidden: resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
        yield Cause("FieldValueForbidden", text, "resourceVersionMatch")
    if match not in _MATCHES:
        text = f'Unsupported value: "{match}": supported values: "Exact", "NotOlderThan", ""'
        yield Cause("FieldValueNotSupported", text, "resourceVersionMatch")
