"""Who may do what: bindings expanded to their subjects, aggregated ClusterRoles resolved. Pure.

What Kubernetes itself has bound is left out where it is as Kubernetes makes it (`bridge.posture.rbac.bootstrap`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from bridge.posture.objects import ObjectName, PostureViolation, RbacBinding, RbacRole, RbacSubject
from bridge.posture.rbac import bootstrap
from bridge.posture.rbac.powers import OF_A_NAMESPACE, Power, powers_of
from bridge.posture.snapshot import PostureSnapshot

# Everybody, or everybody who has an account: what they have anywhere, nobody in particular was given.
BROAD = frozenset(
    {
        ("Group", "system:authenticated"),
        ("Group", "system:unauthenticated"),
        ("Group", "system:serviceaccounts"),
        ("User", "system:anonymous"),
    }
)
_SHOWN = 5
_ACCOUNTS_OF = "system:serviceaccounts:"


@dataclass(frozen=True, slots=True)
class Grant:
    """By a binding somebody has a power. `violation` names it, with the shortest way from it to them."""

    violation: PostureViolation
    subjects: tuple[RbacSubject, ...]


@dataclass(frozen=True, slots=True)
class Rights:
    """Grants by power, without those of who may do everything anyhow, which are under `Power.EVERYTHING` alone.

    `accounts`: the service accounts that a binding names, as (namespace, name). `groups_of`: namespaces of which a
    binding names all service accounts; `all_accounts`: one names those of all namespaces.
    """

    grants: Mapping[Power, Sequence[Grant]]
    accounts: frozenset[tuple[str, str]]
    groups_of: frozenset[str]
    all_accounts: bool

    def is_bound(self, namespace: str, account: str) -> bool:
        return self.all_accounts or namespace in self.groups_of or (namespace, account) in self.accounts


@dataclass(frozen=True, slots=True)
class _RolePowers:
    """`through`: of an aggregated role, the role that gives a power; itself is left out."""

    parts: tuple[RbacRole, ...]
    powers: frozenset[Power]
    through: Mapping[Power, ObjectName] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _BindingGrants:
    binding: RbacBinding
    role: _RolePowers | None
    grants: tuple[tuple[Power, Grant], ...]
    accounts: tuple[tuple[str, str], ...]
    groups: tuple[str, ...]


class RightsReader:
    """Reads a snapshot's rights; what hasn't changed since the last one is not worked out again.

    Of 10,000 bindings one that changed costs its own roles, and a look at the others.
    """

    def __init__(self) -> None:
        self._roles: dict[ObjectName, _RolePowers] = {}
        self._bindings: dict[ObjectName, _BindingGrants] = {}
        self._last: tuple[PostureSnapshot, Rights] | None = None

    def read(self, snapshot: PostureSnapshot) -> Rights:
        if self._last is not None and self._last[0] is snapshot:
            return self._last[1]
        roles = self._resolved(snapshot)
        bindings: dict[ObjectName, _BindingGrants] = {}
        grants: dict[Power, list[Grant]] = defaultdict(list)
        accounts: set[tuple[str, str]] = set()
        groups: set[str] = set()
        system = snapshot.terms.unjudged
        for listed in (snapshot.cluster_role_bindings.items, snapshot.role_bindings.items):
            for binding in listed:
                role, known = roles.get(binding.role), self._bindings.get(binding.of)
                if known is None or known.binding is not binding or known.role is not role:
                    known = _grants_of(binding, role, system)
                bindings[binding.of] = known
                for power, grant in known.grants:
                    grants[power].append(grant)
                accounts.update(known.accounts)
                groups.update(known.groups)
        self._roles, self._bindings = roles, bindings
        namespaces = frozenset(group.removeprefix(_ACCOUNTS_OF) for group in groups if group.startswith(_ACCOUNTS_OF))
        rights = Rights(grants, frozenset(accounts), namespaces, bool(groups & {"system:serviceaccounts"}))
        self._last = snapshot, rights
        return rights

    def _resolved(self, snapshot: PostureSnapshot) -> dict[ObjectName, _RolePowers]:
        cluster_roles = snapshot.cluster_roles.items
        resolved: dict[ObjectName, _RolePowers] = {}
        for role in (*cluster_roles, *snapshot.roles.items):
            parts = (role, *_aggregated(role, cluster_roles)) if role.aggregates else (role,)
            known = self._roles.get(role.of)
            resolved[role.of] = known if known is not None and _same(known.parts, parts) else _role_powers(parts)
        return resolved


def _same(parts: tuple[RbacRole, ...], others: tuple[RbacRole, ...]) -> bool:
    return len(parts) == len(others) and all(part is other for part, other in zip(parts, others, strict=True))


def _aggregated(role: RbacRole, cluster_roles: Iterable[RbacRole]) -> Iterator[RbacRole]:
    """The controller copies their rules into the role, sooner or later: what it hasn't copied yet counts, too.

    Those that it aggregates may aggregate others: their own rules, then, are the copies of those.
    """
    for other in cluster_roles:
        if other is not role and any(
            all(requirement.holds(other.labels) for requirement in selector) for selector in role.aggregates
        ):
            yield other


def _role_powers(parts: tuple[RbacRole, ...]) -> _RolePowers:
    powers: set[Power] = set()
    through: dict[Power, ObjectName] = {}
    for part in parts[1:]:
        through |= dict.fromkeys(powers_of(part.rules) - through.keys(), part.of)
    for part in parts:
        powers |= powers_of(part.rules)
    return _RolePowers(parts, frozenset(powers), through)


def _grants_of(binding: RbacBinding, role: _RolePowers | None, system: frozenset[str]) -> _BindingGrants:
    accounts = tuple(
        (subject.namespace or binding.of.namespace, subject.name)
        for subject in binding.subjects
        if subject.kind == "ServiceAccount"
    )
    groups = tuple(subject.name for subject in binding.subjects if subject.kind == "Group")
    if role is None or not binding.subjects:
        return _BindingGrants(binding, role, (), accounts, () if role is None else groups)
    is_own = bootstrap.is_as_made(binding, role.parts[0], role.powers)
    listed_groups = () if is_own else groups
    return _BindingGrants(
        binding, role, () if is_own else tuple(_by_power(binding, role, system)), accounts, listed_groups
    )


def _by_power(binding: RbacBinding, role: _RolePowers, system: frozenset[str]) -> Iterator[tuple[Power, Grant]]:
    """Of a RoleBinding only what it can give in a namespace.

    In an application's own namespace such rights are that application's matter; in a system namespace they are the
    cluster's, and given to everybody they are nobody's.
    """
    broad = any((subject.kind, subject.name) in BROAD for subject in binding.subjects)
    powers = role.powers
    if binding.of.kind == "RoleBinding":
        powers &= OF_A_NAMESPACE.keys()
        if binding.of.namespace not in system and not broad:
            powers = frozenset(power for power in powers if OF_A_NAMESPACE[power])
    if Power.EVERYTHING in role.powers:
        powers = frozenset({Power.EVERYTHING}) & powers
    for power in powers:
        violation = PostureViolation(binding.of, _path(binding, role, power), binding.changed)
        yield power, Grant(violation, binding.subjects)


def _path(binding: RbacBinding, role: _RolePowers, power: Power) -> str:
    way = [str(binding.of), str(binding.role)]
    if power in role.through:
        way.append(str(role.through[power]))
    subjects = [str(subject) for subject in binding.subjects]
    more = f" and {len(subjects) - _SHOWN} more" if len(subjects) > _SHOWN else ""
    return " → ".join([*way, ", ".join(subjects[:_SHOWN]) + more])
