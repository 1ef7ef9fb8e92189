"""Secrets as the settings give them: a value from the environment, or a file that is read anew each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from bridge.errors import ManagerRefusedError, SecretError


def secret(given: SecretStr | None, file: Path | None) -> Callable[[], str] | None:
    """How to get a secret of the manager: read anew each time, as files are rotated."""
    if given is not None:
        return given.get_secret_value
    return None if file is None else lambda: _of_the_manager(file)


def read_secret(file: Path) -> str:
    """Raises SecretError: whose secret it is, the caller knows."""
    try:
        found = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise SecretError(f"reading the secret in {file}: {why}; put the secret there") from error
    if not found:
        raise SecretError(f"reading the secret in {file}: it is empty; put the secret there")
    return found


def _of_the_manager(file: Path) -> str:
    """Raises ManagerRefusedError."""
    try:
        return read_secret(file)
    except SecretError as error:
        raise ManagerRefusedError(str(error)) from error
