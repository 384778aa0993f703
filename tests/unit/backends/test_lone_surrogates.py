"""Streams that cut a pair of surrogates in two: joined where the halves are of one text, else U+FFFD."""

import base64
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends import answers, lone_surrogates
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
        (["a" + HIGH, LOW + "b"], ["a", "😀b"]),
        ([HIGH, LOW], ["😀"]),
        (["a" + HIGH, LOW + "b" + HIGH, LOW], ["a", "😀b", "😀"]),
        (["a" + HIGH, "b"], ["a", "\ufffdb"]),
        (["a" + HIGH], ["a", "\ufffd"]),
        (["a", LOW + "b"], ["a", "\ufffdb"]),
        (["a" + HIGH + "b"], ["a\ufffdb"]),
        ([HIGH + HIGH, LOW], ["\ufffd", "😀"]),
        ([HIGH, LOW + LOW], ["😀\ufffd"]),
        (["a" + HIGH, "", LOW], ["a", "😀"]),
        (["\\" + HIGH, LOW + "\\ud83d"], ["\\", "😀\\ud83d"]),
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


def piece(index, text, **named):
    function = {"arguments": text} | ({"name": "f"} if named else {})
    return chunk(tool_calls=[{"index": index, "function": function} | named])


def test_halves_in_thoughts_and_arguments_are_joined():
    reply = fold(decoded(chunk(reasoning_content="hm" + HIGH), chunk(reasoning_content=LOW)))
    assert reply.reasoning == "hm😀"
    calls = decoded(piece(0, '{"a": "' + HIGH, id="c"), piece(0, LOW + '"}'))
    assert fold(calls).tool_calls[0].arguments == '{"a": "😀"}'


def test_halves_of_two_calls_are_not_joined():
    begun = piece(0, "", id="a"), piece(1, '{"y": "', id="b")
    told = fold(decoded(*begun, piece(0, '{"x": "' + HIGH), piece(1, LOW + '"}'), piece(0, '"}'))).tool_calls
    assert [call.arguments for call in told] == ['{"x": "\ufffd"}', '{"y": "\ufffd"}']


def test_pieces_of_two_calls_may_alternate():
    begun = piece(0, '{"x": "' + HIGH, id="a"), piece(1, '{"y": "' + HIGH, id="b")
    told = fold(decoded(*begun, piece(0, LOW + '"}'), piece(1, LOW + '"}'))).tool_calls
    assert [call.arguments for call in told] == ['{"x": "😀"}', '{"y": "😀"}']


def test_arguments_that_wait_for_the_name_of_their_call_keep_their_half():
    told = decoded(piece(0, '{"x": "' + HIGH), piece(0, LOW + '"}'), piece(0, "", id="a"))
    assert fold(told).tool_calls[0].arguments == '{"x": "😀"}'


@pytest.mark.parametrize("end", ["finish", "break"])
def test_text_before_a_half_is_told_at_once(end):
    decoder = CompletionDecoder()
    assert [*decoder.feed(chunk(content="abc" + HIGH))] == [Text("abc")]
    assert decoder.partial_text == "abc\ufffd"
    if end == "break":
        with pytest.raises(ProviderFailure) as caught:
            decoder.finish()
        assert caught.value.facts.partial_text == "abc\ufffd"
    else:
        decoder.feed(Frame(END))
        assert [delta.text for delta in decoder.finish() if isinstance(delta, Text)] == ["\ufffd"]


def test_an_error_after_a_half_has_the_text_before_it():
    decoder = CompletionDecoder()
    decoder.feed(chunk(content="abc" + HIGH))
    with pytest.raises(ProviderFailure, match=r"^boom \ufffd$") as caught:
        decoder.feed(Frame(rb'{"error": {"message": "boom \ude00", "code": 500}}'))
    assert caught.value.facts.partial_text == "abc\ufffd"


@pytest.mark.parametrize(("pieces", "said"), [([HIGH, LOW], "😀"), (["no" + HIGH, "b"], "no\ufffdb")])
def test_a_refusal_in_pieces_is_one_text(pieces, said):
    assert fold(decoded(*(chunk(refusal=text) for text in pieces))).text == said


def test_a_thought_that_is_signed_is_at_its_end():
    decoder = messages()
    pieces = [{"type": "thinking_delta", "thinking": "a" + HIGH}, {"type": "signature_delta", "signature": "S"},
              {"type": "thinking_delta", "thinking": LOW}, {"type": "signature_delta", "signature": "T"}]  # fmt: skip
    reply = fold(delta for one in pieces for delta in decoder.feed(event("content_block_delta", index=0, delta=one)))
    assert [(thought.text, thought.signature) for thought in reply.thoughts] == [("a\ufffd", "S"), ("\ufffd", "T")]


def test_halves_of_two_thoughts_are_not_joined():
    decoder = messages("openai_responses")
    pieces = [event("response.reasoning_text.delta", output_index=place, item_id=name, delta=text)
              for place, name, text in ((0, "r1", "a" + HIGH), (1, "r2", LOW + "b"))]  # fmt: skip
    reply = fold(delta for frame in pieces for delta in decoder.feed(frame))
    assert [(thought.id, thought.text) for thought in reply.thoughts] == [("r1", "a\ufffd"), ("r2", "\ufffdb")]


def messages(wire="anthropic_messages", model="acme/m"):
    found = find_wire(wire, ProviderCard("acme", "https://a.example", {"chat": wire}))
    return found.decoder(Chat(model, (Message("user", (Said("hi"),)),), stream=True))


def event(kind, **data):
    return Frame(json.dumps({"type": kind, **data}).encode(), event=kind)


def test_a_sign_of_life_may_come_between_two_halves():
    decoder = messages()
    texts = [{"type": "text_delta", "text": text} for text in ("a" + HIGH, LOW + "b")]
    first, second = (event("content_block_delta", index=0, delta=text) for text in texts)
    deltas = [delta for frame in (first, event("ping"), second) for delta in decoder.feed(frame)]
    assert deltas == [Text("a"), Text("😀b")]


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("acme/meta.llama3", {"generation": ...}),
        ("acme/mistral.x", {"outputs": [{"text": ...}]}),
        ("acme/anthropic.claude-v2", {"completion": ...}),
        ("acme/anthropic.claude-3", {"type": "content_block_delta", "delta": {"type": "text_delta", "text": ...}}),
    ],
)
def test_families_behind_one_host_join_halves(model, body):
    decoder, deltas = messages("bedrock_invoke", model), []
    for text in ("a" + HIGH, LOW + "b"):
        inner = base64.b64encode(json.dumps(body, default=lambda _, text=text: text).encode()).decode()
        deltas += decoder.feed(Frame(json.dumps({"bytes": inner}).encode(), event="chunk"))
    assert [delta for delta in deltas if isinstance(delta, Text)] == [Text("a"), Text("😀b")]


DEEP = 900


@pytest.mark.parametrize(
    "data",
    [
        b"[" * DEEP + rb'"\ud83d",' * 9_000 + b"1" + b"]" * DEEP,
        rb'"\ud83d",' * 30_000,
        b'{"a": "' + rb"\\" * 500_000 + rb'\ud83d"}',
        b'{"a": "' + rb"\ud83d" * 400_000 + b'"}',
        b'{"a": "' + b"a" * lone_surrogates.LONGEST + rb'\ud83d"}',
    ],
    ids=["deep", "many", "backslashes", "run", "long"],
)
def test_work_on_what_a_stranger_sends_is_bounded(data, monkeypatch):
    runs, run = [], lone_surrogates._marked_run
    monkeypatch.setattr(lone_surrogates, "_marked_run", lambda escapes: runs.append(escapes) or run(escapes))
    with pytest.raises(ProviderFailure) as caught:
        CompletionDecoder().feed(Frame(data))
    assert caught.value.code == "invalid_response"
    assert sum(map(len, runs)) <= 2 * len(rb"\udbf6\udc00") * lone_surrogates.MOST


def test_the_end_mark_may_follow_a_half():
    decoder = CompletionDecoder()
    frames = [Frame(END[:-1].replace(b'"delta":{}', b'"delta":{"content":"a\\ud83d"}') + b"}"), Frame(b"[DONE]")]
    deltas = [delta for frame in frames for delta in decoder.feed(frame)]
    assert fold([*deltas, *decoder.finish()]).text == "a\ufffd"


def test_a_body_with_halves_is_read():
    decoder = CompletionDecoder()
    body = {"choices": [{"message": {"content": "a" + HIGH}, "finish_reason": "stop"}]}
    deltas = [*decoder.feed(Frame(json.dumps(body).encode(), whole=True)), *decoder.finish()]
    assert [delta for delta in deltas if isinstance(delta, Text)] == [Text("a\ufffd")]


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
    "data",
    [
        rb'"\ud83d"' * (lone_surrogates.MOST + 1),
        rb"\ud83d" * (lone_surrogates.MOST + 1),
        rb'"\ud83d"' + b"a" * lone_surrogates.LONGEST,
    ],
    ids=["many", "run", "long"],
)
def test_more_than_an_answer_has_is_not_marked(data):
    assert lone_surrogates.marked(data) is None
    assert lone_surrogates.marked(data[:60]) is not None


@pytest.mark.parametrize("data", [rb'{"a": "\ud83d"', rb'{"a": "\u12"}', rb'{"a": "\ud83d", "b": NaN}'])
def test_what_is_no_json_stays_refused(data):
    with pytest.raises(ProviderFailure, match="is no JSON") as caught:
        CompletionDecoder().feed(Frame(data))
    assert caught.value.code == "invalid_response"


def test_what_a_strict_parser_takes_is_looked_at_no_further(monkeypatch):
    monkeypatch.setattr(answers, "marked", None)
    frames = [chunk(content="a\ud83d\ude00 \\ud83d"), chunk(content="b")]
    assert fold(decoded(*frames)).text == "a😀 \\ud83db"
