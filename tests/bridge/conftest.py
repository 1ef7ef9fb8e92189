"""Fixtures of the bridge's tests."""

import sys

import pytest
import structlog

from bridge.cli import main


@pytest.fixture(autouse=True)
def fresh_logging():
    """A command configures logging for its process; here it must not outlive the test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def run(monkeypatch, capsys):
    """Run a command; its exit code, standard output and standard error."""

    def go(*arguments):
        monkeypatch.setattr(sys, "argv", ["zonebridge", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return go
