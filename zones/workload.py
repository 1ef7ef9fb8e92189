"""The name an App-ID is matched to: a pod's workload, as its owners tell it."""

from __future__ import annotations

import re

# A ReplicaSet's pod-template-hash and a CronJob's minute stamp are what their controllers append.
_TEMPLATE_HASH = re.compile(r"-[a-z0-9]{1,10}$")
_CRON_STAMP = re.compile(r"-\d{8,}$")


def normalise(name: str) -> str:
    """Names compare case-insensitively, with `_` and space read as `-`."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def in_namespace(namespace: str, workload: str) -> str:
    """A workload of one namespace alone, as rules name it. Neither part can hold a slash."""
    return f"{namespace}/{workload}"


def split_namespace(name: str) -> tuple[str, str]:
    """The namespace that a rule's name of a workload is for, "" for any, and the workload."""
    namespace, slash, workload = name.rpartition("/")
    return (namespace, workload) if slash else ("", name)


def covers(wide: str, narrow: str) -> bool:
    """Whether every pod of the second name is one of the first."""
    return wide == narrow or wide == split_namespace(narrow)[1]


def workload_name(pod: str, owner_kind: str | None = None, owner_name: str = "") -> str:
    """The workload of a pod: its controller's name without generated suffixes, or its own name without a controller."""
    if owner_kind is None:
        return normalise(pod)
    if owner_kind == "ReplicaSet":
        return normalise(_TEMPLATE_HASH.sub("", owner_name))
    if owner_kind == "Job":
        return normalise(_CRON_STAMP.sub("", owner_name))
    return normalise(owner_name)
