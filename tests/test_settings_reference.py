"""docs/settings.md: what the programs' own models say, and a meaning for each setting."""

from tools import settingsdocs


def test_it_is_what_the_models_say():
    assert settingsdocs.FILE.read_text() == settingsdocs.text(), "docs/settings.md: run make generate"


def test_every_setting_has_a_meaning_and_every_meaning_a_setting():
    told = settingsdocs.meanings()
    for program in settingsdocs.MODELS:
        paths = {each.path for each in settingsdocs.settings(program)}
        without = {path for path in paths if not settingsdocs.meaning_of(told[program], path)}
        assert without == set(), f"tools/meanings.yaml, {program}: say what these mean"
        known = paths | {settingsdocs.any_type(path) for path in paths}
        assert told[program].keys() - known == set(), f"tools/meanings.yaml, {program}: there are no such settings"


def test_forms_and_defaults_are_those_that_somebody_writes():
    bridge = {each.path: each for each in settingsdocs.settings("bridge")}
    enforcer = {each.path: each for each in settingsdocs.settings("enforcer")}
    assert (bridge["panorama.hosts"].form, bridge["panorama.hosts"].default) == ("a list of text", "required")
    assert (bridge["panorama.pollInterval"].form, bridge["panorama.pollInterval"].default) == ("a duration", "`10s`")
    assert bridge["zones.entitlement"].form == "`strict`, `annotated`"
    assert enforcer["spool.segmentBytes"].default == "`8MiB`"
    assert enforcer["destinations[hec].acknowledge"].default == "`false`"
    assert not [path for path in {*bridge, *enforcer} if path.endswith((".apiKey", ".password"))], (
        "secrets are in files"
    )
