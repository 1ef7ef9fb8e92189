"""A text that is known in part is what the whole of it is; what is no XML as a whole is none in part."""

from random import Random
from xml.etree.ElementTree import ParseError, fromstring, tostring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.managers.panorama.rulebase.indexed_text import IndexedText, Window
from tests.panorama_xml import entry, members, rule, rulebase, section

EDITS = 6
# What an editor's hand may put anywhere, and what changes what stands around it.
PIECES = (
    b"<entry>", b"<entry name='x'>", b"</entry>", b"<entry/>", b'<entry name="a>b"/>', b"<entry name='\"' />", b"<address>", b"</address>",
    b"<x>", b"</x>", b"<x/>", b"<entry-of-x/>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?x ", b"?>", b"'", b'"', b">", b"<", b"&amp;", b"&", b" ", b"x",
    b"\xc3\xa9", b"\xc3", b"<y xmlns='z'/>", b"<z:y/>", b"</result>", b"<result>", b"</response>", b"<!DOCTYPE x>", b"xmlns",
)  # fmt: skip


def answer(level):
    return f'<response status="success"><result>{level}</result></response>'.encode()


def group(body):
    return answer(entry("dg", body))


OBJECTS = section(
    "address", entry("a"), entry("b", "<ip-netmask>10.0.0.1</ip-netmask>"), entry("c", section("n", entry("in")))
)
BODY = (
    OBJECTS
    + section("service", entry("s"))
    + rulebase("pre", rule("one"), rule("two"))
    + "<tag/>"
    + section("tag", entry("t"))
)


def whole(text):
    """As it is made from all of a text; None where that is no XML, or none that is read in part."""
    try:
        root = fromstring(text)
    except ParseError:
        return None
    return IndexedText.of(text, root)


def edited(text, rng):
    at = rng.randrange(len(text) + 1)
    until = at if rng.random() < 0.5 else min(len(text), at + rng.choice((1, 8, 60)))
    piece = rng.choice((b"", rng.choice(PIECES), rng.choice(PIECES) + rng.choice(PIECES), text[at:until] * 2))
    return text[:at] + piece + text[until:]


def entries(index):
    return [(path, index.said(at)) for at, path in enumerate(index.paths)]


@given(seed=st.integers(0, 2**32), shared=st.booleans())
def test_a_text_known_in_part_is_what_the_whole_of_it_is(seed, shared):
    rng = Random(seed)
    text = answer(f"<shared>{BODY}</shared>") if shared else group(BODY)
    known = whole(text)
    for _ in range(EDITS):
        after = edited(text, rng)
        part, every = known.after(after), whole(after)
        if part is not None:
            assert part == every
        if every is None:
            continue
        window = every.differing(known)
        assert entries(known)[: window.before.start] == entries(every)[: window.now.start]
        assert entries(known)[window.before.stop :] == entries(every)[window.now.stop :]
        text, known = after, part or every


@given(seed=st.integers(0, 2**32))
def test_each_entry_by_itself_says_what_it_says_in_the_whole(seed):
    rng = Random(seed)
    text = group(BODY)
    for _ in range(EDITS):
        after = edited(text, rng)
        text = after if whole(after) is not None else text
    index, level = whole(text), fromstring(text)[0][0]
    addresses = [child for part in level.findall("address") for child in part.findall("entry")]
    for element, at in zip(addresses, index.at_path.get(("address",), ()), strict=True):
        element.tail = None
        assert tostring(element) == tostring(index.element(at))
        assert index.names[at] == (element.get("name") or "")


@pytest.mark.parametrize(
    ("before", "after", "window"),
    [
        ("<ip-netmask>10.0.0.1", "<ip-netmask>10.0.0.2", ("b", "b")),
        ('<entry name="s"></entry>', '<entry name="s"></entry><entry name="new"/>', ("", "new")),
        ('<entry name="t"></entry>', '<entry name="t">last</entry>', ("t", "t")),
        ('<entry name="c">', '<!-- <entry> --><entry name="c">', ("c", "c")),
        ('<entry name="b">', '<entry name="b"><![CDATA[</entry>]]>', ("b", "b")),
    ],
)
def test_what_differs_is_told_by_entries(before, after, window):
    known = whole(group(BODY))
    text = group(BODY.replace(before, after))
    part = known.after(text)
    assert part == whole(text) != known
    differing = part.differing(known)
    assert tuple(" ".join(index.names[at] for at in places) for index, places in zip((known, part), differing, strict=True)) == window  # fmt: skip


@pytest.mark.parametrize(
    "text", [b"", b"<response", b"<!DOCTYPE x>" + group(BODY), group(BODY)[:-3], group(BODY) + b"x"]
)
def test_what_is_no_answer_is_none_in_part(text):
    assert whole(group(BODY)).after(text) is None


def test_the_same_text_is_the_same_object():
    known = whole(group(BODY))
    assert known.after(group(BODY)) is known
    assert known.differing(known) == Window(range(0), range(0))


def test_a_level_that_is_nested_without_end_is_not_read_in_part():
    deep = "<x>" * 5_000 + "</x>" * 5_000
    assert whole(group(deep)) is None
    assert whole(group(BODY)).after(group(BODY.replace("<tag/>", deep))) is None


def test_an_encoding_that_is_no_utf_8_is_not_read_in_part():
    text = b'<?xml version="1.0" encoding="latin-1"?>' + group(BODY.replace('"one"', '"\xe9"')).decode().encode(
        "latin-1"
    )
    assert whole(text) is None
    assert whole(b'<?xml version="1.0" encoding="utf-8"?>' + group(BODY)) is not None


def test_members_of_entries_are_no_entries_of_the_level():
    text = group(section("address-group", entry("g", members("static", "a"))))
    assert whole(text).names == ["g"]
