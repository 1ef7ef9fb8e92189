"""The door to the evidence database: an address, a connection, the schema of this version. It keeps no rows itself.

SQLite's file is written by one process; what it confirms is on the disk. PostgreSQL is for several bridges.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from sqlite3 import SQLITE_BUSY, OperationalError
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from bridge.errors import BridgeError

_MIGRATIONS = Path(__file__).parent / "migrations"
_BUSY_SECONDS, _CONNECT_SECONDS, _STATEMENT_MS = 30, 10, 60_000
_LOCK = 0x7A6F6E65  # any number that is ours: only one process changes the schema at a time
DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}


class EvidenceError(BridgeError):
    """The evidence database can't be used; nothing of what was being written is kept."""


def parsed_url(url: str) -> URL:
    """`sqlite:////var/lib/…` or `postgresql://USER@HOST/DATABASE`, for the drivers that we have. Raises ValueError.

    A PostgreSQL that is elsewhere is asked for a certificate that holds, unless the address says another `sslmode`.
    """
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ValueError("is no address of a database; write sqlite:////FILE or postgresql://USER@HOST/NAME") from error
    if parsed.drivername not in DRIVERS:
        raise ValueError("must begin with sqlite:/// or postgresql://")
    if parsed.password is not None:
        raise ValueError("a secret must not stand in an address; put it in a file and name that as passwordFile")
    if parsed.drivername == "sqlite" and (not parsed.database or parsed.database == ":memory:"):
        raise ValueError("must name a file: sqlite:////var/lib/zonebridge/evidence.db")
    elsewhere = parsed.drivername == "postgresql" and not str(parsed.query.get("host", parsed.host or "/")).startswith(
        "/"
    )
    if elsewhere and "sslmode" not in parsed.query:
        parsed = parsed.update_query_dict({"sslmode": "verify-full"})
        if "sslrootcert" not in parsed.query:
            parsed = parsed.update_query_dict({"sslrootcert": "system"})
    return parsed.set(drivername=DRIVERS[parsed.drivername])


class Database:
    """One database. Nothing is connected until it is asked for."""

    def __init__(self, url: str, password: str | None = None) -> None:
        """Raises EvidenceError where there is no driver, ValueError where the address is none."""
        parsed = parsed_url(url)
        self.where = parsed.render_as_string()
        self.sqlite = parsed.drivername == "sqlite"
        try:
            self._engine = _sqlite(parsed) if self.sqlite else _postgresql(parsed.set(password=password))
        except (NoSuchModuleError, ImportError) as error:
            raise EvidenceError(
                f"evidence database {self.where}: there is no driver for PostgreSQL; install zonebridge[postgresql]"
            ) from error

    def migrate(self) -> None:
        """Bring the schema to this version's. Raises EvidenceError."""
        config = Config()
        config.set_main_option("script_location", str(_MIGRATIONS))
        with self.writing("bringing its schema up to date") as connection:
            if not self.sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})
            config.attributes["connection"] = connection
            try:
                command.upgrade(config, "head")
            except CommandError as error:
                raise EvidenceError(
                    f"evidence database {self.where}: its schema isn't known to this version; a newer one has written "
                    f"it, so run that: {error}"
                ) from error

    @contextmanager
    def writing(self, what: str) -> Iterator[Connection]:
        """A transaction, kept at its end. Raises EvidenceError, and then nothing of it is kept."""
        with self._told(what), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self, what: str) -> Iterator[Connection]:
        """A transaction that only reads, all of it at one instant. Raises EvidenceError."""
        options: dict[str, Any] = {"reading": True} if self.sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._told(what), self._engine.connect() as connection:
            yield connection.execution_options(**options)

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            why = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
            raise EvidenceError(f"evidence database {self.where}: {what}: {why}") from error

    def close(self) -> None:
        self._engine.dispose()


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's
        connection.isolation_level = None  # SQLAlchemy says when a transaction begins
        # Of several that change a new file's journal at once, SQLite refuses all but one, however long each would wait.
        for attempt in Retrying(
            retry=retry_if_exception(_is_busy),
            stop=stop_after_delay(_BUSY_SECONDS),
            wait=wait_random(0.01, 0.1),
            reraise=True,
        ):
            with attempt:
                connection.execute("PRAGMA journal_mode=WAL")
        for pragma in ("synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        reads = connection.get_execution_options().get("reading", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _is_busy(error: BaseException) -> bool:
    """Not a file that can't be written, which stays so."""
    return isinstance(error, OperationalError) and error.sqlite_errorcode & 0xFF == SQLITE_BUSY


def _postgresql(url: URL) -> Engine:
    limits = f"-c statement_timeout={_STATEMENT_MS} -c idle_in_transaction_session_timeout={_STATEMENT_MS}"
    arguments = {"connect_timeout": _CONNECT_SECONDS, "options": limits, "application_name": "zonebridge"}
    return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=2, connect_args=arguments)
