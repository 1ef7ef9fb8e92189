"""Secrets as the settings give them: a value from the environment, or a file that is read anew each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from bridge.errors import ManagerRefusedError


def secret(given: SecretStr | None, file: Path | None) -> Callable[[], str] | None:
    """How to get a secret: read anew each time, as files are rotated."""
    if given is not None:
        return given.get_secret_value
    return None if file is None else lambda: read_secret(file)


def read_secret(file: Path) -> str:
    found = file.read_text(encoding="utf-8").strip()
    if not found:
        raise ManagerRefusedError(f"reading the secret in {file}: it is empty; put the secret there")
    return found
