"""What both settings files have in common: which files they name, and where a fault is."""

from pathlib import Path

import pytest

from bridge.settings.file import Purpose, load
from zones.runtime.errors import SettingsError
from zones.runtime.settings_file import UnreadableSettingsError, files, of_environment, place
from zones.runtime.types import Section


class Receiver(Section):
    token_file: Path
    ca_file: Path | None = None


class Everything(Section):
    state_dir: Path | None = None
    receivers: tuple[Receiver, ...] = ()
    first: Receiver | None = None


def test_every_file_that_is_named_is_found_by_its_type():
    written = {"receivers": [{"tokenFile": "/a"}, {"tokenFile": "/b", "caFile": "/c"}], "first": {"tokenFile": "/d"}}
    assert dict(files(Everything.model_validate(written))) == {
        "receivers[0].tokenFile": Path("/a"),
        "receivers[1].tokenFile": Path("/b"),
        "receivers[1].caFile": Path("/c"),
        "first.tokenFile": Path("/d"),
    }


def test_a_union_s_own_word_is_no_part_of_a_place():
    assert place(("siem", "destinations", 0, "hec", "url")) == "siem.destinations[0].url"
    assert place(("destinations", "file", "path")) == "destinations.file.path"


def test_a_variable_that_is_no_yaml_is_a_fault_of_either_program():
    environment = {"ZONEBRIDGE_CLUSTERS": "[{"}
    with pytest.raises(UnreadableSettingsError, match="ZONEBRIDGE_CLUSTERS: is not YAML"):
        of_environment(environment, {"clusters"})
    with pytest.raises(SettingsError, match="ZONEBRIDGE_CLUSTERS: is not YAML"):
        load(None, environment, Purpose.OFFLINE)
