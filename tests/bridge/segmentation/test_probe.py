"""The program of probe pods on real sockets, and its answers as text."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.segmentation import probe
from bridge.segmentation.probe import Outcome, answers_text, outcomes_of, targets_of, targets_text, try_all

LOOPBACK = "127.0.0.1"


def own(_, family):
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setblocking(False)
    return made


def test_what_listens_is_allowed_and_what_resets_is_refused_and_what_is_silent_times_out():
    with socket.create_server((LOOPBACK, 0)) as server, socket.socket() as free, socket.socket() as full:
        free.bind((LOOPBACK, 0))  # bound and not listening: a reset
        full.bind((LOOPBACK, 0))
        full.listen(0)
        with socket.create_connection(full.getsockname()), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(full.getsockname())  # whoever comes now is not answered
            targets = [(LOOPBACK, each.getsockname()[1]) for each in (server, free, full)]
            assert try_all(targets, own, 0.3) == [Outcome.ALLOWED, Outcome.REFUSED, Outcome.TIMEOUT]


def test_what_no_route_leads_to_is_unreachable():
    assert try_all([("240.0.0.1", 80)], own, 0.3)[0] in {Outcome.UNREACHABLE, Outcome.TIMEOUT}
    assert try_all([("ff02::1", 80)], own, 0.3) == [Outcome.UNREACHABLE]


def test_more_targets_than_are_tried_at_once_keep_their_order(monkeypatch):
    monkeypatch.setattr(probe, "AT_ONCE", 3)
    places = []

    def noted(place, family):
        places.append(place)
        return own(place, family)

    with socket.create_server((LOOPBACK, 0)) as server, socket.socket() as free:
        free.bind((LOOPBACK, 0))
        ports = [each.getsockname()[1] for each in (server, free)]
        outcomes = try_all([(LOOPBACK, ports[n % 2]) for n in range(8)], noted, 1.0)
    assert outcomes == [Outcome.ALLOWED, Outcome.REFUSED] * 4
    assert places == list(range(8))


def test_a_listener_as_a_program_answers_on_both_stacks_and_ends_when_told(until):
    with socket.socket() as free:
        free.bind((LOOPBACK, 0))
        port = free.getsockname()[1]
    listener = subprocess.Popen([sys.executable, "-m", "bridge.segmentation.probe", "listen", str(port)])
    try:
        until(lambda: try_all([(LOOPBACK, probe.READY)], own, 0.1) == [Outcome.ALLOWED], 30)
        ips = [LOOPBACK, "::1"] if socket.has_dualstack_ipv6() else [LOOPBACK]
        assert set(try_all([(ip, port) for ip in ips], own, 1.0)) == {Outcome.ALLOWED}
    finally:
        listener.terminate()
    assert listener.wait(10) == 0


def test_a_caller_as_a_program_writes_its_answers_as_its_message(tmp_path, capsys):
    with socket.create_server((LOOPBACK, 0)) as server:
        text = f"{LOOPBACK}={server.getsockname()[1]}"
        assert probe.main(["try", "0", "1", text], tmp_path / "message") == 0
    assert (
        (tmp_path / "message").read_text() == capsys.readouterr().out.strip() == answers_text(text, [Outcome.ALLOWED])
    )


@pytest.mark.parametrize("words", [[], ["listen"], ["try", "0", "1", "x=y"], ["try", "0", "1", "1.2.3.4=a"], ["sh"]])
def test_what_it_is_not_asked_for_properly_is_refused(words, tmp_path, capsys):
    assert probe.main(words, tmp_path / "message") == 2
    assert "usage" in capsys.readouterr().err
    assert not (tmp_path / "message").exists()


TARGETS = st.lists(st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"]), st.integers(1, 65535)), max_size=40)


@given(TARGETS, st.data())
def test_targets_and_answers_come_back_as_they_were(targets, data):
    text = targets_text(targets)
    assert targets_of(text) == targets
    outcomes = [data.draw(st.sampled_from(Outcome)) for _ in targets]
    assert outcomes_of(answers_text(text, outcomes), text) == outcomes


def test_answers_for_other_targets_or_cut_short_are_refused():
    text = targets_text([("10.0.0.1", 80), ("10.0.0.1", 81)])
    answers = answers_text(text, [Outcome.ALLOWED, Outcome.TIMEOUT])
    for wrong in (
        answers[:-1],
        answers + "a",
        "",
        answers[:-1] + "x",
        answers_text("10.0.0.2=80,81", [Outcome.ALLOWED] * 2),
    ):
        with pytest.raises(ValueError, match=r"answers|outcome"):
            outcomes_of(wrong, text)


def test_more_targets_than_a_message_holds_are_refused_before_any_is_tried():
    text = targets_text([("10.0.0.1", 80)] * (probe.MOST_TARGETS + 1))
    with pytest.raises(ValueError, match="more than"):
        targets_of(text)
    assert len(answers_text("x", [Outcome.ALLOWED] * probe.MOST_TARGETS)) <= 4096
