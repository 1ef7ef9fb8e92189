"""`zonebridge evidence backup` and `restore`: SQLite's file, copied and put back."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from bridge.commands.options import SettingsFile
from bridge.settings.file import Purpose, load
from zones.runtime.errors import InputError

app = typer.Typer(no_args_is_help=True, help="Back up the evidence database, and restore it.")
BackupFile = Annotated[Path, typer.Argument(metavar="FILE", show_default=False)]


@app.command()
def backup(file: BackupFile, *, config: SettingsFile = None) -> None:
    """Copy the database to a file while the bridge goes on; prints the copy's SHA-256."""
    from bridge.evidence.backup import back_up  # noqa: PLC0415 - libraries of 20 MB that others need not load

    typer.echo(f"{back_up(_file(config, 'backup', file), file)}  {file}")


@app.command()
def restore(
    file: BackupFile,
    *,
    config: SettingsFile = None,
    replace: Annotated[bool, typer.Option("--replace", help="Yes, the database that exists may go.")] = False,
) -> None:
    """Put a backup back. The bridge must not run; what was recorded since the backup is lost, and shows as a gap."""
    from bridge.evidence.backup import restore as put_back  # noqa: PLC0415 - libraries of 20 MB that others need not load

    put_back(file, _file(config, "restore", file), replace=replace)
    typer.echo(
        "Restored. Start the bridge, and compare with the SIEM's checkpoints: zonebridge verify-evidence --expect"
    )


def _file(config: Path | None, word: str, file: Path) -> Path:
    """Where the database is. Raises InputError where it is none of SQLite's."""
    from bridge.evidence.database import parsed_url  # noqa: PLC0415 - libraries of 20 MB that others need not load

    settings = load(config, os.environ, Purpose.OFFLINE)
    if settings.evidence is None:
        raise InputError("give settings (-c) with evidence.url: there is no database")
    url = parsed_url(settings.evidence.url)
    if url.drivername == "sqlite" and url.database:
        return Path(url.database)
    place = url.set(drivername="postgresql").render_as_string()
    command = f"pg_dump --format=custom --file={shlex.quote(str(file))}"
    if word == "restore":
        command = f"pg_restore --clean --if-exists --single-transaction {shlex.quote(str(file))}"
    raise InputError(f"evidence {word}: a PostgreSQL is for its own programs: {command} --dbname={shlex.quote(place)}")
