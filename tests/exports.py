"""Exports of Panoramas that others have published. They are no part of this project, and no test needs them.

ZONEBRIDGE_PUBLIC_CONFIGURATIONS names a folder of them. Where it does, as in CI, it must have some.
"""

import os
from pathlib import Path

import pytest

VARIABLE = "ZONEBRIDGE_PUBLIC_CONFIGURATIONS"


def exports():
    """Their paths; none where the variable isn't set."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return []
    paths = sorted(Path(folder).glob("*.xml"))
    if not paths:
        raise FileNotFoundError(f"{VARIABLE} names {folder}, where there is no *.xml")
    return paths


def each_export():
    """For `parametrize`; where there are none, one test that is skipped and says why."""
    why = pytest.mark.skip(reason=f"{VARIABLE} names no folder of exports")
    return [pytest.param(path, id=path.name) for path in exports()] or [pytest.param(None, id="none", marks=why)]
