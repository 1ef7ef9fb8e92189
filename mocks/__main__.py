"""`python -m mocks panorama | kubernetes | siem | lab`: the world outside, each part alone."""

from __future__ import annotations

import typer

from mocks import kubernetes, panorama
from mocks.lab import command as lab
from mocks.siem import command as siem

app = typer.Typer(no_args_is_help=True, add_completion=False, help="The world outside, in small.")
app.command("panorama")(panorama.serve)
app.command("kubernetes")(kubernetes.serve)
app.command("siem")(siem.serve)
app.command("lab")(lab.serve)

if __name__ == "__main__":
    app(prog_name="python -m mocks")
