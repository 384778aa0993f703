"""The binary event stream of Amazon: any cut gives the same frames, any damage a typed failure."""

import itertools
import struct
import zlib

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.event_stream import EventStream
from flowllm.backends.framing import Frame, Limits, Sniffed
from flowllm.core.errors import ProviderFailure
from tests.wire.amazon import event, events, exception, message

JSON = "application/json"
RAW = "application/octet-stream"
# A header of every type of value that the format has.
EVERY_TYPE = {
    "true": (0, b""), "false": (1, b""), "byte": (2, b"\xff"), "short": (3, b"\0\1"), "int": (4, b"\0\0\0\1"),
    "long": (5, b"\0" * 8), "bytes": (6, b"\0\3abc"), "text": "Hé", "time": (8, b"\1" * 8), "uuid": (9, b"\2" * 16),
    "event_type": "chunk",
}  # fmt: skip


def frames(framing, *chunks):
    return [frame for chunk in chunks for frame in framing.feed(chunk)] + list(framing.finish())


def failure(make, *chunks):
    with pytest.raises(ProviderFailure) as caught:
        frames(make(), *chunks)
    return caught.value


def framed(total, headers, rest=b"", checksum=None):
    """A message with lengths as they are said, true or not."""
    start = struct.pack(">II", total, headers)
    told = start + struct.pack(">I", zlib.crc32(start) if checksum is None else checksum) + rest
    return told + struct.pack(">I", zlib.crc32(told))


@pytest.mark.parametrize("make", [EventStream, Sniffed])
def test_messages_are_the_same_however_they_are_cut(make):
    body = events(("messageStart", {"role": "assistant"}), ("contentBlockDelta", {"delta": {"text": "Hé"}}))
    found = [Frame(b'{"role": "assistant"}', "messageStart"),
             Frame('{"delta": {"text": "Hé"}}'.encode(), "contentBlockDelta")]  # fmt: skip
    for place in range(len(body) + 1):
        assert frames(make(), body[:place], body[place:]) == found
    assert frames(make(), *(body[i : i + 1] for i in range(len(body)))) == found


def test_each_message_is_a_sign_of_life():
    framing = EventStream()
    beats = [framing.feed(piece) and framing.beats for piece in (event("a", {}), event("b", {}))]
    assert beats == [1, 2]


def test_headers_of_every_type_are_read_and_those_not_needed_skipped():
    body = message(b"{}", **EVERY_TYPE)
    assert frames(EventStream(), body) == [Frame(b"{}", "chunk")]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (exception("throttlingException", "slow"), {"type": "throttlingException", "message": "slow"}),
        (message(b"", message_type="error", error_code="InternalFailure", error_message="oh"),
         {"type": "InternalFailure", "message": "oh"}),
        (message(b"no JSON", message_type="exception", exception_type="x"), {"type": "x", "message": "no JSON"}),
        (message(b'{"Message": "oh"}', message_type="exception", exception_type="x"), {"type": "x", "message": "oh"}),
        (message(b"[1]", message_type="exception", exception_type="x"), {"type": "x", "message": ""}),
    ],
)  # fmt: skip
def test_errors_inside_the_stream_have_one_shape(body, told):
    (frame,) = frames(EventStream(), body)
    assert (orjson.loads(frame.data), frame.event) == (told, "error")


def test_raw_payloads_are_pieces_of_a_body_of_its_own():
    text = 'data: {"a": "Hé"}\n\ndata: [DONE]\n\n'.encode()
    parts = [message(bytes([byte]), event_type="PayloadPart", content_type=RAW) for byte in text]
    assert [frame.data for frame in frames(EventStream(), *parts)] == ['{"a": "Hé"}'.encode(), b"[DONE]"]
    whole = [message(piece, event_type="PayloadPart", content_type=RAW) for piece in (b'[{"a"', b": 1}]")]
    assert frames(EventStream(), *whole) == [Frame(b'[{"a": 1}]', whole=True)]


def test_a_stream_inside_a_stream_is_not_followed():
    inner = b"{}"
    for _ in range(2000):
        inner = message(inner, event_type="PayloadPart", content_type=RAW)
    assert frames(EventStream(), inner) == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (framed(0xFFFFFFFF, 0), "event_too_large"),
        (framed(0x7FFFFFFF, 0xFFFF), "event_too_large"),
        (framed(64, 0xFFFFFFFF), "invalid_response"),
        (framed(64, 49), "invalid_response"),
        (framed(300_000, 200_000), "invalid_response"),
        (framed(15, 0), "invalid_response"),
        (framed(0, 0), "invalid_response"),
        (framed(16, 0, checksum=1), "invalid_response"),
        (framed(17, 1, b"\x05"), "invalid_response"),
        (framed(20, 4, b"\x01a\x0a\x00"), "invalid_response"),
        (framed(22, 6, b"\x01a\x07\xff\xffb"), "invalid_response"),
        (framed(22, 6, b"\x01a\x07\x00\x01\xff"), "invalid_response"),
        (framed(19, 3, b"\x01\xffA"), "invalid_response"),
        (message(b"\xff", event_type="x"), "decode_error"),
        (b"\0" * 64, "invalid_response"),
    ],
)  # fmt: skip
def test_planted_lengths_and_headers_are_typed_failures(body, code):
    assert failure(EventStream, body).code == code
    assert failure(EventStream, *(body[i : i + 1] for i in range(len(body)))).code == code


def test_a_length_is_refused_before_its_message_comes():
    framing = EventStream(Limits(event=1000))
    assert framing.feed(framed(1000, 0)[:12]) == []
    with pytest.raises(ProviderFailure, match="larger than 1000 bytes"):
        EventStream(Limits(event=1000)).feed(framed(1001, 0)[:12])


def test_what_came_before_the_damage_comes_however_it_is_cut():
    body = event("a", {}) + event("b", {})[:-1] + b"\0" + event("c", {})
    for place in range(len(body) + 1):
        framing, found, codes = EventStream(), [], []
        for chunk in (body[:place], body[place:], None):
            try:
                found += framing.finish() if chunk is None else framing.feed(chunk)
            except ProviderFailure as failure:
                codes.append(failure.code)
        assert ([frame.event for frame in found], set(codes)) == (["a"], {"invalid_response"})


def test_a_message_without_a_payload_is_no_news():
    assert frames(EventStream(), message(b"", event_type="initial-response")) == []


def test_a_message_that_broke_off_is_left_out():
    body = event("a", {}) + event("b", {})
    for place in range(len(body) // 2, len(body)):
        assert [frame.event for frame in frames(EventStream(), body[:place])] == ["a"]


TEXTS = st.text(st.characters(blacklist_categories=["Cs"]), max_size=20)


@given(
    st.lists(st.tuples(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=3)), max_size=6),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_what_is_encoded_is_decoded_at_any_cut(told, cuts):
    body = events(*told)
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    found = frames(EventStream(), *(body[a:b] for a, b in itertools.pairwise(places)))
    assert [(frame.event, orjson.loads(frame.data)) for frame in found] == told


@given(st.data())
def test_any_changed_byte_is_a_typed_failure(data):
    body = bytearray(event("contentBlockDelta", {"delta": {"text": "Hé"}}) * 2)
    place = data.draw(st.integers(0, len(body) - 1))
    body[place] ^= data.draw(st.integers(1, 255))
    assert failure(EventStream, bytes(body)).code in {"invalid_response", "event_too_large"}


@given(st.lists(st.binary(max_size=40), max_size=8), st.booleans())
def test_any_bytes_give_frames_or_a_typed_failure(pieces, started):
    chunks = [event("a", {}), *pieces] if started else pieces
    try:
        whole = frames(EventStream(), b"".join(chunks))
    except ProviderFailure as found:
        assert found.code == "invalid_response"  # noqa: PT017
        return
    assert frames(EventStream(), *chunks) == whole
