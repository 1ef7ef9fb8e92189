"""Octet counting and newlines, however the stream is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mocks.siem.framing import Framer, FramingError


def counted(frame: bytes) -> bytes:
    return b"%d %s" % (len(frame), frame)


def read(framer: Framer, *parts: bytes) -> list[bytes]:
    return [frame for part in parts for frame in framer.feed(part)]


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.integers(1, 7))
def test_counted_frames_survive_any_cut(frames: list[bytes], step: int) -> None:
    stream = b"".join(counted(frame) for frame in frames)
    framer = Framer()
    assert read(framer, *(stream[i : i + step] for i in range(0, len(stream), step))) == frames
    assert framer.framing == "octet"
    framer.finish()


def test_lines_survive_any_cut() -> None:
    stream = b"<1>one\n<2>two\n"
    for step in range(1, len(stream)):
        framer = Framer()
        parts = [stream[i : i + step] for i in range(0, len(stream), step)]
        assert read(framer, *parts) == [b"<1>one", b"<2>two"]
        assert framer.framing == "newline"


def test_a_counted_frame_may_hold_newlines() -> None:
    assert read(Framer(), counted(b"a\nb")) == [b"a\nb"]


@pytest.mark.parametrize(
    ("stream", "why"),
    [
        (b"hello", "begins with a length or with <"),
        (b"0 ", "begins with a length or with <"),
        (b" 3 abc", "begins with a length or with <"),
        (b"3abc", "isn't a number"),
        (b"3 abc\n3 abc", "isn't a number"),
        (b"3 abc03 abc", "isn't a number"),
        (b"101 ", "above 100"),
        (b"9999999999", "above 100"),
        (b"<" + b"x" * 101, "above 100"),
    ],
)
def test_what_breaks_a_stream(stream: bytes, why: str) -> None:
    with pytest.raises(FramingError, match=why):
        read(Framer(longest=100), stream)


def test_frames_before_the_break_are_given() -> None:
    framer, frames = Framer(), []
    with pytest.raises(FramingError):
        frames.extend(framer.feed(b"3 abc3 defghi"))  # extend keeps what came before the error
    assert frames == [b"abc", b"def"]


@pytest.mark.parametrize("stream", [b"5 abc", b"5", b"<1>no newline"])
def test_an_unfinished_frame_is_an_error_at_the_end(stream: bytes) -> None:
    framer = Framer()
    assert read(framer, stream) == []
    with pytest.raises(FramingError, match="inside a frame"):
        framer.finish()


def test_a_framing_can_be_required() -> None:
    with pytest.raises(FramingError):
        read(Framer("octet"), b"<1>line\n")
