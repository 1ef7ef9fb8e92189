"""Which revision holds: complete, undamaged, never older; the last good one stays through everything else."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enforcer.cluster import last_good
from enforcer.cluster.tier import TierStanding, judge
from enforcer.errors import StateError
from tests.enforcer import smallcluster as world
from zones.tiers import native


def objects(revision, *ports, uid="uid-1"):
    rendered = world.tier(revision, *ports)
    pointer = copy.deepcopy(rendered.tier)
    pointer["metadata"]["uid"] = uid
    return pointer, {part["metadata"]["name"]: part for part in rendered.parts}


def held(revision, *ports, uid="uid-1"):
    return judge(None, *objects(revision, *ports, uid=uid)).revision


def test_a_whole_revision_is_applied():
    judged = judge(None, *objects(1, 5432))
    assert judged.standing is TierStanding.CURRENT
    assert judged.revision.policy == world.policy(5432)
    assert judged.why == ""


def test_none_is_none():
    assert judge(None, None, {}).standing is TierStanding.NONE


@pytest.mark.parametrize("before", [None, 1])
def test_missing_parts_are_waited_for(before):
    last = held(before) if before else None
    pointer, _ = objects(2, 80)
    judged = judge(last, pointer, {})
    assert (judged.standing, judged.revision) == (TierStanding.WAITING, last)


def test_parts_of_the_applied_revision_that_vanish_were_deleted_by_somebody():
    pointer, _ = objects(1)
    judged = judge(held(1), pointer, {})
    assert (judged.standing, judged.revision) == (TierStanding.TAMPERED, held(1))


def test_a_deleted_tier_stays_in_force():
    judged = judge(held(3), None, {})
    assert (judged.standing, judged.revision) == (TierStanding.TAMPERED, held(3))
    assert "revision 3 stays" in judged.why


def test_a_step_back_is_refused():
    judged = judge(held(5), *objects(4, 80))
    assert (judged.standing, judged.revision) == (TierStanding.TAMPERED, held(5))


def test_another_content_under_the_same_number_is_refused():
    judged = judge(held(5), *objects(5, 80))
    assert (judged.standing, judged.revision) == (TierStanding.TAMPERED, held(5))


def test_a_tier_made_anew_counts_from_its_own_beginning_and_is_told():
    judged = judge(held(5), *objects(1, 80, uid="uid-2"))
    assert judged.standing is TierStanding.CURRENT
    assert judged.revision.number == 1
    assert "made anew" in judged.why


def test_what_this_enforcer_cannot_read_is_refused_not_called_tampering():
    pointer, parts = objects(2)
    spec = {name: value for name, value in pointer["spec"].items() if name not in {"revision", "digest", "source"}}
    spec["zoning"] = {"labels": "of another version"}
    pointer["spec"] |= spec | {"digest": native.digest(spec)}
    judged = judge(held(1), pointer, parts)
    assert (judged.standing, judged.revision) == (TierStanding.REFUSED, held(1))


@given(st.data())
def test_no_changed_letter_of_a_tier_is_ever_applied(data):
    pointer, parts = objects(2, 80, 443)
    name, part = data.draw(st.sampled_from([("", pointer), *parts.items()]))
    text = json.dumps(part["spec"])
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from("0123456789abcdef")) + text[at + 1 :]
    try:
        spec = json.loads(changed)
    except ValueError:
        return
    damaged = part | {"spec": spec}
    judged = judge(held(1), damaged if not name else pointer, parts | ({name: damaged} if name else {}))
    if judged.standing is TierStanding.CURRENT:
        assert judged.revision.policy == world.policy(80, 443)


def test_the_last_good_revision_survives_a_restart(tmp_path):
    pointer, parts = objects(7, 80)
    last_good.save(tmp_path, pointer, parts | {"another": {}})
    assert last_good.load(tmp_path, world.TIER) == held(7, 80)
    assert last_good.load(tmp_path, "another") is None


def test_a_last_good_file_is_one_object_however_it_is_laid_out(tmp_path):
    last_good.save(tmp_path, *objects(7, 80))
    (file,) = tmp_path.iterdir()
    whole = json.loads(file.read_bytes())
    assert (whole["tier"], whole["parts"]) == objects(7, 80)
    file.write_text(json.dumps(whole))
    assert last_good.load(tmp_path, world.TIER) == held(7, 80)


def test_a_last_good_file_that_is_cut_off_is_never_another_revision(tmp_path):
    last_good.save(tmp_path, *objects(7, 80))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for end in range(0, len(content), 7):
        file.write_bytes(content[:end])
        assert last_good.load(tmp_path, world.TIER) in {None, held(7, 80)}
    file.write_bytes(content[: len(content) // 2])
    assert last_good.load(tmp_path, world.TIER) is None


def test_the_same_revision_again_is_the_object_that_is_held():
    before = judge(None, *objects(7, 80)).revision
    assert judge(before, *objects(7, 80)).revision is before


def test_a_last_good_file_that_others_may_write_is_refused(tmp_path):
    last_good.save(tmp_path, *objects(7, 80))
    (file,) = tmp_path.iterdir()
    file.chmod(0o606)
    with pytest.raises(StateError, match="others than its owner may write it"):
        last_good.load(tmp_path, world.TIER)


def test_a_damaged_last_good_file_is_no_revision(tmp_path):
    pointer, parts = objects(7, 80)
    last_good.save(tmp_path, pointer, parts)
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text().replace("allow-web", "allow-all"))
    assert last_good.load(tmp_path, world.TIER) is None
    file.write_text("{")
    assert last_good.load(tmp_path, world.TIER) is None
    assert last_good.load(tmp_path / "none", world.TIER) is None
