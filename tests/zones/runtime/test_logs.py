"""One set of log words for both programs, and a console that prints a traceback once."""

import ast
from pathlib import Path

import pytest
import structlog

from zones.runtime.logs import LogFormat, configure

ROOT = Path(__file__).parents[3]
LOGGED = {f"_log.{level}" for level in ("debug", "info", "warning", "error", "exception", "critical")}
OTHER_WORDS = {"why", "problem", "exc", "err", "cause"}


def logged():
    """Each keyword of each log line, with where it stands."""
    for package in ("bridge", "enforcer", "zones"):
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in LOGGED:
                    yield from ((f"{path.relative_to(ROOT)}:{node.lineno}", word.arg) for word in node.keywords)


def test_what_went_wrong_is_an_error_everywhere():
    words = list(logged())
    assert sum(word == "error" for _, word in words) > 30
    assert [place for place, word in words if word in OTHER_WORDS] == []


@pytest.fixture
def _configured_anew():
    yield
    structlog.reset_defaults()


def divide(secret, by):
    return 1 / by


@pytest.mark.usefixtures("_configured_anew")
@pytest.mark.parametrize("form", LogFormat)
def test_a_traceback_is_in_the_line_once_and_without_the_values_of_variables(form, capsys):
    configure("info", form)
    log = structlog.get_logger()
    log.debug("not told")
    try:
        divide(hex(3735928559), 0)
    except ZeroDivisionError:
        log.exception("task failed", task="watch pods")
    text = capsys.readouterr().err
    assert "not told" not in text
    assert "watch pods" in text
    assert text.count("division by zero") == 1
    assert "deadbeef" not in text
