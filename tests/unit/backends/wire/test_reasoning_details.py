"""Thoughts that a gateway tells as rows and wants back unchanged."""

import orjson
import pytest

from flowllm.backends.framing import Frame
from flowllm.backends.reasoning_details import Rows
from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message, Text, Thought

USER = Message("user", (Text("hi"),))
QUIRKS = {"reasoning_field": "reasoning", "thoughts": "details"}
SUMMARY = {"type": "reasoning.summary", "summary": "hm", "format": "openai-responses-v1", "index": 0}
SEALED = {"type": "reasoning.encrypted", "data": "gAAA", "id": "rs_1", "format": "openai-responses-v1", "index": 1}
SIGNED = {"type": "reasoning.text", "text": "I think.", "format": "anthropic-claude-v1", "index": 0, "signature": "S"}


def wire(**quirks):
    return find_wire("openai_chat", ProviderCard("acme", "https://a.example", {"chat": "openai_chat"}, quirks=quirks))


def answer(*messages, whole=False, **quirks):
    found, deltas = wire(**(quirks or QUIRKS)).decoder(Chat("acme/m", (USER,), stream=not whole)), []
    for message in messages:
        choice = {"index": 0, "message" if whole else "delta": message, "finish_reason": "stop"}
        deltas += found.feed(Frame(orjson.dumps({"choices": [choice]}), whole=whole))
    return fold([*deltas, *found.finish()])


def sent_back(given, **quirks):
    turn = Message("assistant", (Text("so"),), thoughts=given)
    body = wire(**(quirks or QUIRKS)).encode(Chat("acme/m", (USER, turn, USER))).body
    return orjson.loads(body)["messages"][1]


@pytest.mark.parametrize(
    ("rows", "thought"),
    [([SUMMARY, SEALED], "hm"), ([SIGNED], "I think."), ([SEALED], None), ([SIGNED, SEALED], "I think.")],
)
@pytest.mark.parametrize("own", [{}, {"end_mark": "none"}], ids=["same", "own"])
def test_rows_of_an_answer_go_back_as_they_came(rows, thought, own):
    message = {"role": "assistant", "content": "so", "reasoning_details": rows} | (
        {"reasoning": thought} if thought else {}
    )
    reply = answer(message, whole=True, **QUIRKS, **own)
    assert (reply.text, reply.reasoning) == ("so", thought)
    assert sent_back(reply.thoughts, **QUIRKS, **own) == {
        "role": "assistant",
        "content": "so",
        "reasoning_details": rows,
    }


@pytest.mark.parametrize(
    ("pieces", "rows"),
    [
        ([SUMMARY | {"summary": "h"}, SUMMARY | {"summary": "m"}, SEALED], [SUMMARY, SEALED]),
        ([SIGNED | {"text": "I th", "signature": None}, SIGNED | {"text": "ink.", "signature": None},
          {"type": "reasoning.text", "signature": "S", "index": 0, "format": None}], [SIGNED]),
        ([SIGNED, SIGNED], [SIGNED, SIGNED]),
        ([SUMMARY, SUMMARY | {"index": 1}], [SUMMARY, SUMMARY | {"index": 1}]),
        ([SUMMARY | {"id": "a"}, SUMMARY | {"id": "b"}], [SUMMARY | {"id": "a"}, SUMMARY | {"id": "b"}]),
        ([SEALED, SEALED | {"id": "rs_2"}], [SEALED, SEALED | {"id": "rs_2"}]),
        ([SUMMARY | {"summary": "h"}, SIGNED, SUMMARY], [SUMMARY | {"summary": "h"}, SIGNED, SUMMARY]),
        ([{"type": "reasoning.new", "x": 1}] * 2, [{"type": "reasoning.new", "x": 1}] * 2),
    ],
)  # fmt: skip
def test_pieces_of_a_row_are_put_together(pieces, rows):
    reply = answer(*({"content": "", "reasoning_details": [piece]} for piece in pieces), {"content": "so"})
    assert sent_back(reply.thoughts)["reasoning_details"] == rows


ALIKE = [SUMMARY | {"summary": text} for text in ("one", "two")]


def test_rows_of_a_whole_answer_are_rows_of_their_own():
    reply = answer({"content": "so", "reasoning_details": ALIKE}, whole=True)
    assert sent_back(reply.thoughts)["reasoning_details"] == ALIKE


def test_rows_of_one_event_are_rows_of_their_own():
    events = [{"content": "", "reasoning_details": rows} for rows in ([SUMMARY | {"summary": "h"}], ALIKE)]
    reply = answer(*events, {"content": "so"})
    assert sent_back(reply.thoughts)["reasoning_details"] == [SUMMARY | {"summary": "hone"}, ALIKE[1]]


def test_a_text_grows_without_being_copied():
    class Piece(str):
        """A text that may not be put together with another."""

        __slots__ = ()

        def __add__(self, other):
            raise AssertionError(other)

        def __format__(self, spec):
            raise AssertionError(spec)

    rows = Rows()
    for _ in range(3):
        rows.add([SUMMARY | {"summary": Piece("a")}])
    (seal,) = rows.sealed()
    assert orjson.loads(seal.signature) == [SUMMARY | {"summary": "aaa"}]


@pytest.mark.parametrize(
    "thought", [Thought("open"), Thought("", "S", sealed=True, format="anthropic_messages"), Thought("hm", "S")]
)
def test_thoughts_of_others_stay_here(thought):
    assert sent_back((thought,)) == {"role": "assistant", "content": "so"}


@pytest.mark.parametrize("own", [{}, {"end_mark": "none"}], ids=["same", "own"])
@pytest.mark.parametrize("quirks", [{"thoughts": "all"}, {"thoughts": "none"}])
def test_rows_go_to_no_provider_that_wants_none(quirks, own):
    reply = answer({"content": "so", "reasoning_details": [SIGNED]}, whole=True)
    assert "reasoning_details" not in sent_back(reply.thoughts, **quirks)
    assert answer({"content": "so", "reasoning_details": [SIGNED]}, whole=True, **quirks, **own).thoughts == (
        Thought("I think."),
    )


@pytest.mark.parametrize("seal", ["no rows", "7"])
def test_a_seal_that_was_changed_is_told(seal):
    with pytest.raises(ProviderFailure, match="was changed") as caught:
        sent_back((Thought("", seal, sealed=True, format="reasoning_details"),))
    assert caught.value.code == "bad_request"
