"""Secrets as the settings name them: a file, which is read anew each time, or an environment variable."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pydantic import SecretStr

from bridge.errors import ManagerRefusedError, SecretError


def secret(value: SecretStr | None, file: Path | None, variable: str | None = None) -> Callable[[], str] | None:
    """How to get a secret of the manager: read anew each time, as files are rotated."""
    if value is not None:
        return value.get_secret_value
    return None if file is None and variable is None else lambda: _of_the_manager(file, variable)


def read_token(file: Path | None, variable: str | None) -> str:
    """Of the two one is named. Raises SecretError."""
    if file is not None:
        return read_secret(file)
    value = os.environ.get(variable or "", "").strip()
    if not value:
        raise SecretError(f"reading the secret in the environment variable {variable}: it is empty; set it")
    return value


def read_secret(file: Path) -> str:
    """Raises SecretError: whose secret it is, the caller knows."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise SecretError(f"reading the secret in {file}: {why}; put the secret there") from error
    if not text:
        raise SecretError(f"reading the secret in {file}: it is empty; put the secret there")
    return text


def _of_the_manager(file: Path | None, variable: str | None) -> str:
    """Raises ManagerRefusedError."""
    try:
        return read_token(file, variable)
    except SecretError as error:
        raise ManagerRefusedError(str(error)) from error
