"""Installs the product into a folder, as images hold it: `python3 install.py TARGET WHEEL`. It needs pip alone.

What runs has a read-only root, where Python can't keep what it compiles: everything is compiled here. The Kubernetes
client is half of it all: of that only the asynchronous half stays, which needs nothing of the other. Of all packages
only what is compiled stays, without documentation: the client's 75 MB become 20, SQLAlchemy's 29 become 15. The
commands in `bin` start the image's own interpreter, whatever ran this.
"""

from __future__ import annotations

import compileall
import shutil
import subprocess
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

HERE = Path(__file__).parent
INTERPRETER = "/usr/bin/python3"
ASYNCHRONOUS = "aio"  # of the Kubernetes client
LEXERS = {"__init__.py", "_mapping.py", "python.py"}  # of the 250 languages that Pygments can colour, for tracebacks
NOT_NEEDED = (
    "certifi/tests",
    "websocket/tests",
    "bin",
    "alembic/testing",
    "sqlalchemy/testing",
    *(f"sqlalchemy/dialects/{each}" for each in ("mssql", "mysql", "oracle")),
)


def install(target: Path, wheel: Path) -> None:
    """The same bytes for the same wheel, pins and Python."""
    install_requirements(target)
    install_product(target, wheel)


def install_requirements(target: Path) -> None:
    """What requirements.lock pins: the part that changes seldom, which may be a layer of its own."""
    _pip(target, "--require-hashes", "-r", str(HERE / "requirements.lock"))
    for path in NOT_NEEDED:
        shutil.rmtree(target / path, ignore_errors=True)
    _keep_asynchronous(target / "kubernetes")
    for path in (target / "pygments" / "lexers").iterdir():
        if path.name not in LEXERS:
            path.unlink()
    for package in target.iterdir():
        if (package / "__init__.py").exists():
            _shrink(package)
    _compile(target)


def install_product(target: Path, wheel: Path) -> None:
    _pip(target, str(wheel))
    for script in (target / "bin").iterdir():
        _, _, body = script.read_text().partition("\n")
        script.write_text(f"#!{INTERPRETER}\n{body}")
    _compile(target)


def _pip(target: Path, *arguments: str) -> None:
    options = ["--quiet", "--disable-pip-version-check", "--no-compile", "--no-deps", "--upgrade", "--no-cache-dir"]
    options += ["--root-user-action=ignore", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *arguments], check=True)  # noqa: S603 - our pip


def _compile(target: Path) -> None:
    compileall.compile_dir(target, quiet=2, invalidation_mode=PycInvalidationMode.UNCHECKED_HASH, stripdir=target)


def _keep_asynchronous(client: Path) -> None:
    for path in client.iterdir():
        if path.is_dir() and path.name != ASYNCHRONOUS:
            shutil.rmtree(path)
    (client / "__init__.py").write_text("")  # it imported all of them


def _shrink(package: Path) -> None:
    """`api.py` becomes `api.pyc` beside it, which Python imports in its place."""
    compileall.compile_dir(
        package,
        quiet=2,
        legacy=True,
        optimize=2,
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=package.parent,
    )
    for source in package.rglob("*.py"):
        if source.with_suffix(".pyc").exists():
            source.unlink()


if __name__ == "__main__":
    install(Path(sys.argv[1]), Path(sys.argv[2]))
