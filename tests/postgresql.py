"""A PostgreSQL of a test run's own: Debian's programs, a cluster in a folder, a socket in it and no port."""

from __future__ import annotations

import os
import pwd
import select
import shutil
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
_QUICK = "-c listen_addresses='' -c fsync=off -c max_connections=20"


class UnavailableError(Exception):
    """Why there can be none here."""


@dataclass(slots=True)
class Postgresql:
    """The cluster runs until `close`. It can be killed, and started again."""

    folder: Path
    user: pwd.struct_passwd
    databases: int = 0

    @classmethod
    def start(cls) -> Postgresql:
        """Raises UnavailableError."""
        if not PROGRAMS:
            raise UnavailableError("PostgreSQL is not installed: apt-get install postgresql")
        try:
            user = pwd.getpwnam("postgres")
        except KeyError as error:
            raise UnavailableError("there is no user postgres") from error
        folder = Path(tempfile.mkdtemp(prefix="zonebridge-postgresql-", dir="/tmp"))
        try:
            os.chown(folder, user.pw_uid, user.pw_gid)
        except OSError as error:
            folder.rmdir()
            raise UnavailableError(
                "PostgreSQL doesn't run as root, and only root may run it as another user"
            ) from error
        made = cls(folder, user)
        made._run("initdb", "-D", str(made.data), "-A", "trust", "-U", "zonebridge", "--no-sync", "-E", "UTF8")
        made.again()
        return made

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def again(self) -> None:
        """Start it where it isn't running."""
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-l", log, "-w", "-o", f"-k {self.folder} {_QUICK}", "start")

    def kill(self) -> None:
        """All of its processes at once, as a power cut would."""
        main = int((self.data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{main}/task/{main}/children").read_text().split()
        os.kill(main, signal.SIGSTOP)  # it starts no others
        for each in (*map(int, children), main):
            process = os.pidfd_open(each)
            os.kill(each, signal.SIGKILL)
            select.select([process], [], [])
            os.close(process)
        # Where nobody has waited for the process, it counts as running: as after a power cut, its locks are nobody's.
        for lock in (self.data / "postmaster.pid", *self.folder.glob(".s.PGSQL.*.lock")):
            lock.unlink()

    def url(self) -> str:
        """A new, empty database."""
        self.databases += 1
        name = f"test{self.databases}"
        self._run("psql", "-q", "-h", str(self.folder), "-U", "zonebridge", "postgres", "-c", f"CREATE DATABASE {name}")
        return f"postgresql://zonebridge@/{name}?host={self.folder}"

    def close(self) -> None:
        self._run("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(PROGRAMS[-1].with_name(program)), *arguments]
        as_it = {"user": self.user.pw_uid, "group": self.user.pw_gid, "cwd": self.folder}
        with tempfile.TemporaryFile() as output:  # a pipe would stay open as long as the server runs
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False, **as_it)
            output.seek(0)
            if done.returncode:
                raise RuntimeError(f"{program}: {output.read().decode()}")
