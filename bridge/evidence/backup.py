"""Copies SQLite's file while a bridge writes it, and puts a copy back. PostgreSQL has its own programs for that."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from bridge.evidence.database import EvidenceError

_BUSY_SECONDS, _OCTETS = 2.0, 2**20
_PRIVATE = 0o600


def back_up(source: Path, target: Path) -> str:
    """The SHA-256 of the copy, which is of one instant and complete. Raises EvidenceError."""
    if not source.exists():
        raise EvidenceError(f"evidence database {source}: there is no such file")
    if target.exists():
        raise EvidenceError(f"backup {target}: the file exists; give another name")
    _copy(source, target, f"evidence database {source}: backing up to {target}")
    return digest_of_file(target)


def restore(source: Path, target: Path, *, replace: bool) -> None:
    """Put a backup where the database is, whole or not at all. Raises EvidenceError; so where a bridge has it open."""
    what = f"evidence database {target}: restoring {source}"
    if not source.exists():
        raise EvidenceError(f"{what}: there is no such backup")
    if target.exists():
        if not replace:
            raise EvidenceError(f"{what}: the database exists; say --replace if it may go")
        _require_unused(target, what)
    beside = target.with_name(f"{target.name}.restoring")
    beside.unlink(missing_ok=True)
    _copy(source, beside, what)
    try:
        beside.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise EvidenceError(f"{what}: {error.strerror}") from error


def digest_of_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_OCTETS):
            digest.update(piece)
    return digest.hexdigest()


def _copy(source: Path, target: Path, what: str) -> None:
    """A failed copy is taken away. It is checked before it counts."""
    try:
        with _failures(what):
            target.touch(_PRIVATE)
            with closing(_opened(source, "ro")) as reading, closing(_opened(target, "rw")) as writing:
                reading.backup(writing)
                writing.execute("PRAGMA journal_mode=DELETE")  # a file that needs no others beside it
            _check(target, what)
            _flush(target)
    except BaseException:
        with suppress(OSError):
            target.unlink()
        raise


def _check(path: Path, what: str) -> None:
    with closing(_opened(path, "ro")) as reading:
        problem = reading.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if problem != "ok":
            raise EvidenceError(f"{what}: the file is damaged: {problem}")
        if not reading.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
            raise EvidenceError(f"{what}: it is no evidence database")


def _require_unused(path: Path, what: str) -> None:
    """SQLite gives up its write-ahead log only to the last one who has the file open."""
    with closing(_opened(path, "rw")) as existing:
        try:
            existing.execute("PRAGMA journal_mode=DELETE")
        except sqlite3.OperationalError as error:
            raise EvidenceError(f"{what}: a bridge has it open ({error}); stop that first") from error
        except sqlite3.DatabaseError:
            return  # it is damaged: just what a backup is for


def _opened(path: Path, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=_BUSY_SECONDS)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _failures(what: str) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise EvidenceError(f"{what}: {error}") from error
