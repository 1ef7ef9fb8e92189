"""Which resources are served now: the built-in ones and those that CustomResourceDefinitions brought."""

from __future__ import annotations

from collections.abc import Iterable

from mocks.kubernetes import definitions
from mocks.kubernetes.resources import BUILT_IN, Resource
from mocks.kubernetes.status import Json

DEFINITIONS = "apiextensions.k8s.io/customresourcedefinitions"


class Catalog:
    """Looks resources up by group, version and plural."""

    def __init__(self) -> None:
        self._built_in = {_key(resource): resource for resource in BUILT_IN}
        self._custom: dict[tuple[str, str, str], Resource] = {}

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        key = (group, version, plural)
        return self._built_in.get(key) or self._custom.get(key)

    def is_built_in(self, group: str) -> bool:
        return any(key[0] == group for key in self._built_in)

    def by_kind(self, api_version: str, kind: str) -> Resource | None:
        found = (each for each in self.all() if each.api_version == api_version and each.kind == kind)
        return next(found, None)

    def all(self) -> list[Resource]:
        return [*self._built_in.values(), *self._custom.values()]

    def groups(self) -> dict[str, list[str]]:
        """The named groups, each with its versions, the preferred one first."""
        found: dict[str, list[str]] = {}
        for resource in self.all():
            versions = found.setdefault(resource.group, [])
            if resource.version not in versions:
                versions.append(resource.version)
        found.pop("", None)
        return {group: sorted(versions, key=_preference) for group, versions in found.items()}

    def of(self, group: str, version: str) -> list[Resource]:
        return [each for each in self.all() if (each.group, each.version) == (group, version)]

    def learn(self, custom: Iterable[Json]) -> None:
        """Serve exactly these definitions."""
        served = (resource for definition in custom for resource in definitions.resources(definition))
        self._custom = {_key(resource): resource for resource in served}


def _key(resource: Resource) -> tuple[str, str, str]:
    return resource.group, resource.version, resource.plural


def _preference(version: str) -> tuple[int, str]:
    """v2 before v1, stable before beta before alpha."""
    stability = 2 if "alpha" in version else 1 if "beta" in version else 0
    return stability, "".join(chr(255 - ord(letter)) for letter in version)
