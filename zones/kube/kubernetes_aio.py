"""The asynchronous part of the official Kubernetes client, without what its packages import besides: nearly 9 MB."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec


def _leave_empty(package: str) -> None:
    """As if nothing stood in its `__init__`. Who wants a module of it imports that, as ever."""
    spec = find_spec(package)
    if spec is None or package in sys.modules:
        return
    sys.modules[package] = module = module_from_spec(spec)
    within, _, name = package.rpartition(".")
    if within:
        setattr(sys.modules[within], name, module)


for _each in ("kubernetes", "kubernetes.aio"):
    _leave_empty(_each)

from kubernetes.aio import client, config  # noqa: E402 - after its packages

__all__ = ["client", "config"]
