"""One request in the API's own words: which resource, object and subresource, with what options. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mocks.kubernetes.catalog import Catalog
from mocks.kubernetes.eventforms import stored_paths
from mocks.kubernetes.managed import Manager, Scope
from mocks.kubernetes.resources import Resource
from mocks.kubernetes.selectors import Predicate, both, everything, field_selector, label_selector
from mocks.kubernetes.status import bad_request, no_such_path, no_such_resource

_MANAGER_LENGTH = 128
_SUBRESOURCES = {"status", "binding"}


@dataclass(frozen=True, slots=True)
class Call:
    """A request that has found its resource."""

    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    agent: str = ""
    patching: bool = False

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"

    @property
    def watching(self) -> bool:
        return self.query.get("watch", "").lower() in {"1", "true"}

    def number(self, name: str) -> int:
        text = self.query.get(name) or "0"
        if not text.removeprefix("-").isdigit():
            raise bad_request(f'{name}: Invalid value: "{text}": parsing "{text}": invalid syntax')
        return max(int(text), 0)

    def selects(self) -> Predicate:
        labels, fields = self.query.get("labelSelector", ""), self.query.get("fieldSelector", "")
        chosen = label_selector(labels) if labels else everything
        if fields:
            chosen = both(chosen, field_selector(fields, self._known_fields()))
        if self.name:
            chosen = both(chosen, lambda item: item["metadata"]["name"] == self.name)
        return chosen

    def _known_fields(self) -> dict[str, str]:
        names = ["metadata.name", *(["metadata.namespace"] if self.resource.namespaced else [])]
        return {name: name for name in names} | stored_paths(self.resource)

    def updater(self) -> Manager:
        name = self.query.get("fieldManager") or self.agent.split("/")[0] or "unknown"
        return Manager(name[:_MANAGER_LENGTH], "Update", self.resource.api_version, self.subresource)

    def applier(self) -> Manager:
        return Manager(self.query.get("fieldManager", ""), "Apply", self.resource.api_version, self.subresource)

    def scope(self) -> Scope:
        """Which fields this endpoint owns."""
        if self.subresource == "status":
            only = {"status"} if self.resource.custom else {"status", "metadata"}
            return Scope(self.resource.topology, only=frozenset(only))
        reset = frozenset({"status"}) if self.resource.status else frozenset()
        return Scope(self.resource.topology, reset)


def parse_path(catalog: Catalog, path: str, query: Mapping[str, str], agent: str) -> Call:
    """The call behind /api/v1/… or /apis/group/version/…. Raises the 404 of a path that serves nothing."""
    parts = path.strip("/").split("/")
    if parts[0] == "api":
        group, version, rest = "", parts[1], parts[2:]
    else:
        group, version, rest = parts[1], parts[2], parts[3:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in {"status", "finalize"}:  # noqa: PLR2004 - /namespaces/NAME/…
        namespace, rest = rest[1], rest[2:]
    resource = catalog.find(group, version, rest[0])
    if resource is None or (namespace and not resource.namespaced):
        raise no_such_resource() if catalog.is_built_in(group) else no_such_path()
    name, subresource = (*rest[1:3], "", "")[:2]
    if name and resource.namespaced and not namespace:
        raise no_such_resource() if catalog.is_built_in(group) else no_such_path()
    if subresource and not _has(resource, subresource):
        raise no_such_resource()
    return Call(resource, namespace, name, subresource, query, agent)


def _has(resource: Resource, subresource: str) -> bool:
    if subresource == "status":
        return resource.status
    return subresource in _SUBRESOURCES and resource.kind == "Pod"
