"""`make bench-enforcer`: what enforcement costs on this machine, as JSON lines {"name", "value", "unit"}.

Each module in MODULES has `figures()`, a generator of `Figure`; name some modules to run only these.
Needs root, or `unshare -Urnm`. Every module brings its own network namespaces and removes them.
"""

from __future__ import annotations

import sys

from tests.bench.figures import run

MODULES = ("control", "agent", "revocation", "packets", "bridged")

if __name__ == "__main__":
    run("enforcer", sys.argv[1:] or MODULES)
