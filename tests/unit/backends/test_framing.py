import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.framing import BOM, Frame, Limits, Lines, Sniffed, Sse, Whole
from flowllm.backends.items import Items
from flowllm.core.errors import ProviderFailure


def frames(framing, *chunks):
    return [frame for chunk in chunks for frame in framing.feed(chunk)] + list(framing.finish())


def data(framing, *chunks):
    return [frame.data for frame in frames(framing, *chunks)]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\ndata\ndata: b\n\n", [b"a\n\nb"]),
        (b"data: a\r\n\r\ndata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\ndata: b\n\r\n", [b"a\nb"]),
        (b": comment\n\n:\n\ndata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\ndata: b\n\n", [b"a", b"b"]),
        (BOM + b"data: a\n\n", [b"a"]),
        (BOM, []),
        (b"data\n\ndata:\n\ndata: \n\n", []),
        (b"data\ndata:\n\n", [b"\n"]),
        (b"nonsense: x\nretry: 5\ndata: a\n\n", [b"a"]),
        (b"data: a\xe2\x80\xa8b\xc2\x85c\x0bd\n\n", [b"a\xe2\x80\xa8b\xc2\x85c\x0bd"]),
        (b"data: a\n\ndata: cut", [b"a"]),
        (b"data: a\n\ndata: line\n", [b"a", b"line"]),
        (b"data: a\n\ndata: [DONE]", [b"a", b"[DONE]"]),
        (b'data: a\n\ndata: {"b": 1}', [b"a", b'{"b": 1}']),
        (b"data: a\n\nevent: e\r\ndata:[2] ", [b"a", b"[2] "]),
        (b"data: a\n\ndata: b\n: comm", [b"a", b"b"]),
        (b"hello", [b"hello"]),
        (b"hello\nworld\n", [b"hello\nworld"]),
        (b"hello\n\nworld\n\n", [b"hello"]),
        (b"hello\n\ndata: a\n\n", [b"a"]),
        (b"", []),
    ],
)
def test_events_are_the_same_however_they_are_cut(body, found):
    assert data(Sse(), body) == found
    for place in range(len(body) + 1):
        assert data(Sse(), body[:place], body[place:]) == found
    assert data(Sse(), *(body[i : i + 1] for i in range(len(body)))) == found


@pytest.mark.parametrize(
    ("framing", "body", "cut"),
    [
        (Sse, b"data: a\n\n", False),
        (Sse, b"data: a\n", False),
        (Sse, b'data: {"a": 1}', False),
        (Sse, b'data: {"a": 1}\n: comm', False),
        (Sse, b"data: [DONE]", False),
        (Sse, b"hello", False),
        (Sse, b"", False),
        (Sse, b'data: {"a', True),
        (Sse, b'data: {"a": "\xc3', True),
        (Sse, b"data: a\n\nda", True),
        (Sse, b"data: a\n\nevent: b\n", True),
        (Sse, b"data: a\n\nevent: b", True),
        (Lines, b'{"a": 1}\n{"a": 2}', False),
        (Lines, b'{"a": 1}\n \n', False),
        (Lines, b'{"a": 1}\n{"a": "\xc3', True),
        (Items, b'[{"a": 1}]', False),
        (Items, b'[{"a": 1}, {"a', True),
        (Sniffed, b'data: {"a', True),
        (Sniffed, b"data: {}\n\n", False),
        (Sniffed, b"", False),
    ],
)
def test_a_body_that_ends_inside_of_a_frame_is_said_to_be_cut(framing, body, cut):
    for place in range(len(body) + 1):
        cutter = framing()
        assert not any(b"\xc3" in frame.data for frame in frames(cutter, body[:place], body[place:]))
        assert cutter.cut == cut


def test_names_and_ids_of_events():
    body = b"event: error\nid: 7\ndata: a\n\ndata: b\n\nid: 8\n\ndata: c\n\nid: x\0\ndata: d\n\n"
    assert frames(Sse(), body) == [
        Frame(b"a", "error", "7"),
        Frame(b"b", "", "7"),
        Frame(b"c", "", "8"),
        Frame(b"d", "", "8"),
    ]


@given(
    st.lists(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\n"), min_size=1)),
    st.sampled_from([b"\n", b"\r\n", b"\r"]),
    st.lists(st.integers(0, 400), max_size=20),
)
def test_any_text_survives_any_line_end_and_any_cut(texts, end, cuts):
    body = b"".join(b"data: " + text.encode() + end + end for text in texts)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [body[a:b] for a, b in itertools.pairwise(places)]
    assert data(Sse(), *chunks) == [text.encode() for text in texts]


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_any_bytes_give_frames_or_a_typed_failure(chunks):
    for make in (Sse, Lines, Whole, Items, Sniffed):
        try:
            whole = data(make(), b"".join(chunks))
        except ProviderFailure as failure:
            # What begins with a zero is taken for the binary stream of Amazon.
            assert failure.code in {"decode_error", "invalid_response"}  # noqa: PT017
            continue
        assert data(make(), *chunks) == whole


LIMITS = Limits(line=50, event=120, body=400)


@pytest.mark.parametrize(
    ("framing", "body", "code"),
    [
        (Sse, b"data: " + b"x" * 60 + b"\n\n", "event_too_large"),
        (Sse, b"data: " + b"x" * 60, "event_too_large"),
        (Sse, (b"data: " + b"x" * 30 + b"\n") * 5 + b"\n", "event_too_large"),
        (Sse, (b"data: " + b"x" * 30 + b"\n") * 5, "event_too_large"),
        (Sse, b"data: xxxxxxxxxx\n\n" * 40, "body_too_large"),
        (Lines, b"x" * 130, "event_too_large"),
        (Lines, b"x" * 130 + b"\n", "event_too_large"),
        (Lines, b"12345678\n" * 60, "body_too_large"),
        (Whole, b"x" * 401, "body_too_large"),
        (Sniffed, b"{" + b"x" * 401, "body_too_large"),
        (Sniffed, b" " * 401, "body_too_large"),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_what_is_too_large_is_refused(framing, body, code, size):
    with pytest.raises(ProviderFailure) as caught:
        frames(framing(LIMITS), *(body[i : i + size] for i in range(0, len(body), size)))
    assert caught.value.code == code


@pytest.mark.parametrize("framing", [Sse, Lines, Whole])
def test_what_is_not_too_large_is_taken(framing):
    body = b"data: " + b"x" * 44 + b"\n\n"
    assert len(frames(framing(LIMITS), body)) == 1


@pytest.mark.parametrize("framing", [Sse, Lines, Whole])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf0\x9f\xa7"])
def test_what_is_no_utf8_is_a_typed_failure(framing, bad):
    with pytest.raises(ProviderFailure) as caught:
        frames(framing(), b"data: a" + bad + b"\n\n")
    assert caught.value.code == "decode_error"


@pytest.mark.parametrize("body", [b'[{"a": "\xff"}, {}]', b'["\xff"]', b"\xff"])
def test_items_that_are_no_utf8_are_a_typed_failure(body):
    with pytest.raises(ProviderFailure) as caught:
        frames(Items(), body)
    assert caught.value.code == "decode_error"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a":1}\n\n{"b":2}\r\n', [b'{"a":1}', b'{"b":2}']),
        (b'{"a":1}\n{"b":2}', [b'{"a":1}', b'{"b":2}']),
        (b"\n \n", []),
    ],
)
def test_lines_need_no_last_line_feed(body, found):
    for place in range(len(body) + 1):
        assert data(Lines(), body[:place], body[place:]) == found


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"a":\n\n1}', [b'{"a":\n\n1}']),
        (b"\n  [1]", [b"[1]"]),
        (BOM + b"{}", [b"{}"]),
        (b"<html>\n\n</html>", [b"<html>\n\n</html>"]),
        (b"data: {}\n\n", [b"{}"]),
        (BOM + b"\n: hi\n\ndata: {}\n\n", [b"{}"]),
        (b"event: x\ndata: 1\n\n", [b"1"]),
        (b"", []),
        (b"  ", []),
    ],
)
def test_the_first_byte_tells_events_from_a_body(body, found):
    for place in range(len(body) + 1):
        assert data(Sniffed(), body[:place], body[place:]) == found


def test_comments_and_events_are_signs_of_life_and_single_bytes_are_not():
    framing = Sse()
    beats = [(framing.feed(chunk), framing.beats)[1] for chunk in (b"data", b": x", b"\n\n", b": alive\n\n", b"dat")]
    assert beats == [0, 0, 1, 2, 2]


@pytest.mark.parametrize("start", [b"\n\n", b"\n\n: ", b"\r\n\r\ndata", b"\xef\xbb\xbf\n\nid"])
def test_an_answer_that_begins_with_a_blank_event_lives(start):
    framing = Sse()
    assert (list(framing.feed(start)), framing.beats) == ([], 1)


ITEMS = [b'{"a": "}\\"{"}', b'{"b": [{"c": 1}, []]}', b"{\n}"]


@pytest.mark.parametrize("between", [b",", b"\r\n,\r\n", b"\n"])
def test_items_of_an_array_come_as_soon_as_they_are_complete(between):
    body = b"[" + between.join(ITEMS) + b"\n]\n"
    for place in range(len(body) + 1):
        assert data(Items(), body[:place], body[place:]) == ITEMS
    assert data(Items(), *(body[i : i + 1] for i in range(len(body)))) == ITEMS
    early = Items()
    assert [frame.data for frame in early.feed(body[: body.index(ITEMS[1])])] == ITEMS[:1]


def test_a_long_string_is_not_read_again_with_each_piece_of_it():
    """Three mebibytes in pieces of 64 bytes, each time from the string's beginning, would take half an hour."""
    item = b'{"a":"' + b"\\u00e4 }" * (3 * 2**20 // 8) + b'"}'
    body = b"[" + item + b"]"
    assert data(Items(), *(body[i : i + 64] for i in range(0, len(body), 64))) == [item]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b"[]", []),
        (b'[{"a":1},{"b"', [b'{"a":1}']),
        (b'{"a":1}', [b'{"a":1}']),
        (b"[1, 2]", [b"1, 2"]),
        (b'["a"]', [b'"a"']),
    ],
)
def test_what_is_no_array_of_objects(body, found):
    assert data(Items(), body) == found


@pytest.mark.parametrize(
    ("form", "found"),
    [("whole", [b'{"a":1}\n{"b":2}']), ("lines", [b'{"a":1}', b'{"b":2}']), ("items", [b'{"a":1}', b'{"b":2}'])],
)
def test_json_is_taken_for_what_the_wire_says(form, found):
    assert data(Sniffed(json=form), b'{"a":1}\n{"b":2}') == found
    assert data(Sniffed(json=form), b"data: x\n\n") == [b"x"]
    assert data(Sniffed(json=form), b"<html>") == [b"<html>"]
