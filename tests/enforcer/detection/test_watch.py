"""What keeps detectors at work: feeds that change or break, what was learnt on disk, settings."""

import asyncio
import os
from dataclasses import replace

import pytest

from enforcer.detection.detection import Detection
from enforcer.detection.terms import DetectionTerms
from enforcer.detection.watch import FILE, DetectionWatch
from enforcer.settings.detection import DetectionSettings
from tests.enforcer.detection.facts import accepted


def watch(directory, *feeds):
    settings = DetectionSettings.model_validate({"indicators": list(feeds)})
    return DetectionWatch(Detection(settings.terms()), directory, lambda: None, lambda _: None, settings.indicators)


def look(watching):
    asyncio.run(watching.look())
    return len(watching.detection.indicators)


def test_a_feed_is_read_again_when_it_changes_and_stays_when_it_breaks(tmp_path):
    file = tmp_path / "feed.txt"
    watching = watch(tmp_path, {"name": "drop", "file": str(file)})
    assert look(watching) == 0
    assert "No such file" in next(watching.problems)
    file.write_text("192.0.2.1\nexample.com\n")
    assert (look(watching), watching.unusable, list(watching.problems)) == (1, {"drop": 1}, [])
    file.write_text("192.0.2.1\n192.0.2.2\n")
    assert look(watching) == 2
    file.write_text("<html>503</html>")
    assert look(watching) == 2
    assert "none of its 1 entries" in next(watching.problems)
    file.unlink()
    os.mkfifo(file)
    assert look(watching) == 2
    assert "it is no file" in next(watching.problems)


def test_indicators_that_are_less_certain_are_left_out(tmp_path):
    file = tmp_path / "feed.csv"
    file.write_text("ip,score\n192.0.2.1,40\n192.0.2.2,60\n192.0.2.3,\n")
    fields = {"format": "csv", "confidence": "score", "leastConfidence": 50}
    assert look(watch(tmp_path, {"name": "f", "file": str(file)} | fields)) == 2


def test_what_was_learnt_is_saved_and_read_once_it_was_loaded(tmp_path):
    first = watch(tmp_path)
    first.detection.accepted(accepted())
    first.save(first.detection.content())
    assert not (tmp_path / FILE).exists(), "an agent that has not read it must not overwrite it"
    first._loaded = True
    first.save(first.detection.content())
    second = watch(tmp_path)
    second.load()
    assert len(second.detection.contacts) == 1
    (tmp_path / FILE).write_bytes(b"{")
    third = watch(tmp_path)
    third.load()
    assert len(third.detection.contacts) == 0


@pytest.mark.parametrize(
    ("exception", "says"),
    [
        ({}, "reason"),
        ({"reason": "r", "owner": "o", "until": "2027-01-01"}, "it expects everything"),
        ({"reason": "r", "owner": "o", "until": "never", "port": 1}, "until"),
        ({"reason": "r", "owner": "o", "until": "2027-01-01", "port": 1, "detectors": ["dga"]}, "detectors"),
    ],
)
def test_an_exception_without_end_owner_or_place_is_a_fault(exception, says):
    with pytest.raises(ValueError, match=says):
        DetectionSettings.model_validate({"exceptions": [exception]})


def test_every_default_of_the_settings_is_that_of_the_detectors():
    assert replace(DetectionSettings().terms(), exceptions=()) == DetectionTerms()
