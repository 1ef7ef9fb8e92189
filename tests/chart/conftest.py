"""Helm of both majors, and the chart as they render it."""

import os

import pytest

from tests.apiserver.programs import Unavailable
from tests.chart.helm import Helm
from tests.chart.programs import program


def built(name):
    found = program(name, may_build=False)
    if isinstance(found, Unavailable):
        (pytest.fail if os.environ.get("CI") else pytest.skip)(found.reason)
    return found


@pytest.fixture(scope="session", params=["helm3", "helm4"])
def helm(request, tmp_path_factory):
    return Helm(built(request.param), tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def helm3(tmp_path_factory):
    return Helm(built("helm3"), tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def promtool():
    return built("promtool")
