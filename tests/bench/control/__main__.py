"""`make bench-control`: from an administrator's change to the kernel, as JSON lines {"name", "value", "unit"}.

Each module in MODULES has `figures()`, a generator of `Figure`; name some modules to run only these.
Needs root, or `unshare -Urnm`.
"""

from __future__ import annotations

import sys

from tests.bench.figures import run

MODULES = ("revisions", "edits", "scene", "commits", "remote")

if __name__ == "__main__":
    run("control", sys.argv[1:] or MODULES)
