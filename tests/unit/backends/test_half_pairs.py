"""Streams that cut a pair of surrogates in two: joined where the halves follow each other, else U+FFFD."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends import answers
from flowllm.backends.chat_completions import CompletionDecoder
from flowllm.backends.framing import Frame
from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Text, fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message
from flowllm.core.request import Text as Said

HIGH, LOW = "\ud83d", "\ude00"
END = b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def chunk(more="", **delta):
    return Frame(json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + more.encode())


def decoded(*frames, decoder=None):
    decoder = decoder or CompletionDecoder()
    deltas = [delta for frame in (*frames, Frame(END)) for delta in decoder.feed(frame)]
    return [*deltas, *decoder.finish()]


def told(*texts):
    return [delta.text for delta in decoded(*(chunk(content=text) for text in texts)) if isinstance(delta, Text)]


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["a" + HIGH, LOW + "b"], ["a😀", "b"]),
        ([HIGH, LOW], ["😀"]),
        (["a" + HIGH, LOW + "b" + HIGH, LOW], ["a😀", "b😀"]),
        (["a" + HIGH, "b"], ["a\ufffd", "b"]),
        (["a" + HIGH], ["a\ufffd"]),
        (["a", LOW + "b"], ["a", "\ufffdb"]),
        (["a" + HIGH + "b"], ["a\ufffdb"]),
        ([HIGH + HIGH, LOW], ["\ufffd😀"]),
        ([HIGH, LOW + LOW], ["😀", "\ufffd"]),
        (["a" + HIGH, "", LOW], ["a\ufffd", "\ufffd"]),
        (["😀", "b"], ["😀", "b"]),
    ],
)
def test_halves_of_texts(texts, said):
    assert told(*texts) == said


@given(st.text(alphabet=st.sampled_from("aé€😀𝄞\ud83d\ude00"), max_size=12), st.data())
def test_no_text_is_lost_wherever_it_is_cut(text, data):
    units = text.encode("utf-16-le", "surrogatepass")
    cuts = sorted(data.draw(st.sets(st.integers(1, max(1, len(units) // 2 - 1)), max_size=5)))
    places = [0, *(2 * cut for cut in cuts), len(units)]
    pieces = [units[a:b].decode("utf-16-le", "surrogatepass") for a, b in pairwise(places) if a < b]
    assert "".join(told(*pieces)) == units.decode("utf-16-le", "replace")


def test_halves_of_different_texts_are_not_joined():
    reply = fold(decoded(chunk(reasoning_content="hm" + HIGH), chunk(content=LOW + "a")))
    assert (reply.reasoning, reply.text) == ("hm\ufffd", "\ufffda")


def test_halves_in_thoughts_and_arguments_are_joined():
    reply = fold(decoded(chunk(reasoning_content="hm" + HIGH), chunk(reasoning_content=LOW)))
    assert reply.reasoning == "hm😀"
    calls = [
        [{"index": 0, "id": "c", "function": {"name": "f", "arguments": text}}]
        for text in ('{"a": "' + HIGH, LOW + '"}')
    ]
    assert fold(decoded(*(chunk(tool_calls=call) for call in calls))).tool_calls[0].arguments == '{"a": "😀"}'


def test_the_end_mark_may_follow_a_half():
    decoder = CompletionDecoder()
    frames = [Frame(END[:-1].replace(b'"delta":{}', b'"delta":{"content":"a\\ud83d"}') + b"}"), Frame(b"[DONE]")]
    deltas = [delta for frame in frames for delta in decoder.feed(frame)]
    assert fold([*deltas, *decoder.finish()]).text == "a\ufffd"


def test_a_body_with_halves_is_read():
    decoder = CompletionDecoder()
    body = {"choices": [{"message": {"content": "a" + HIGH}, "finish_reason": "stop"}]}
    deltas = decoder.feed(Frame(json.dumps(body).encode(), whole=True))
    assert fold([*deltas, *decoder.finish()]).text == "a\ufffd"


@pytest.mark.parametrize(
    ("wire", "frame"),
    [
        (
            "anthropic_messages",
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": ...}},
        ),
        ("gemini_generate", {"candidates": [{"content": {"parts": [{"text": ...}]}}]}),
        ("ollama_native", {"message": {"content": ...}, "done": False}),
        ("cohere_v2", {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": ...}}}}),
        ("openai_responses", {"type": "response.output_text.delta", "delta": ...}),
    ],
)
def test_every_wire_joins_halves(wire, frame):
    decoder = find_wire(wire, ProviderCard("acme", "https://a.example", {"chat": wire})).decoder(
        Chat("acme/m", (Message("user", (Said("hi"),)),), stream=True)
    )
    frames = [json.dumps(frame, default=lambda _, text=text: text).encode() for text in ("a" + HIGH, LOW + "b")]
    deltas = [delta for data in frames for delta in decoder.feed(Frame(data, event=frame.get("type", "")))]
    assert "".join(delta.text for delta in deltas if isinstance(delta, Text)) == "a😀b"


@pytest.mark.parametrize(
    "data", [rb'{"a": "\ud83d"', rb'{"a": "\u12"}', rb'{"\ud83d": 1}', rb'{"a": "\ud83d", "b": NaN}']
)
def test_what_is_no_json_stays_refused(data):
    with pytest.raises(ProviderFailure, match="is no JSON") as caught:
        CompletionDecoder().feed(Frame(data))
    assert caught.value.code == "invalid_response"


def test_what_a_strict_parser_takes_is_looked_at_no_further(monkeypatch):
    monkeypatch.setattr(answers, "with_halves", None)
    frames = [chunk(content="a\ud83d\ude00 \\ud83d"), chunk(content="b")]
    assert fold(decoded(*frames)).text == "a😀 \\ud83db"
