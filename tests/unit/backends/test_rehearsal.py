import base64
from decimal import Decimal

import pytest

from flowllm.backends.rehearsal import Rehearsal, Rehearsed, smallest
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Text, Token, fold
from flowllm.core.prices import Prices, Rate
from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Sampling, Tool, message_to_data
from flowllm.core.request import Text as Words
from flowllm.core.scope import Scope
from flowllm.text.json_schema import validator
from flowllm.text.tokens import count_tokens

PER_QUERY = ModelCard("per_query", prices=Prices((Rate("queries", Decimal(1)),)), tasks=frozenset({"rerank"}))
CATALOG = Catalog(
    {
        "far": ProviderCard("far", models={"known": ModelCard("known", output=50), "per_query": PER_QUERY}),
        "here": ProviderCard("here", local=True),
    }
)
HELLO = (Message("user", (Words("one two three"),)),)


async def asked(request, local=None):
    rehearsal = Rehearsal(CATALOG, local)
    reply = fold([delta async for delta in rehearsal(request, Scope(address="ask"))])
    return reply, rehearsal.requests


@pytest.mark.parametrize(
    ("request_", "bound"),
    [
        (Chat("far/known", HELLO), 50),
        (Chat("far/known", HELLO, Sampling(max_output_tokens=7)), 7),
        (Chat("far/unknown", HELLO), None),
        (Embed("far/known", ("a", "b")), 0),
    ],
)
async def test_a_request_is_counted_with_the_longest_answer(request_, bound):
    reply, requests = await asked(request_)
    assert requests == [Rehearsed("ask", request_.model, reply.usage.input, bound)]
    assert reply.usage.input > 0
    assert (reply.usage.output, reply.usage.estimated) == (bound, True)


PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (2000).to_bytes(4) * 2).decode()
SEEN = (Message("user", (Words("what?"), Image(media_type="image/png", data=PICTURE, prompt_cache="1h"))),)
LOOK = Tool(
    "look", "Look closer at a part of the picture.", {"type": "object", "properties": {"x": {"type": "integer"}}}
)


async def test_pictures_tools_and_shapes_are_counted_as_the_model_reads_them():
    schema = {"type": "object", "properties": {"answer": {"type": "string"}}}
    plain, seen, offered, shaped = [
        (await asked(request))[0].usage
        for request in (
            Chat("far/claude-opus-4-8", (Message("user", (Words("what?"),)),)),
            Chat("far/claude-opus-4-8", SEEN),
            Chat("far/claude-opus-4-8", SEEN, tools=(LOOK,)),
            Chat("far/claude-opus-4-8", SEEN, tools=(LOOK,), schema=schema),
        )
    ]
    told = [message_to_data(message) for message in SEEN]
    assert seen.input == count_tokens(told, "far/claude-opus-4-8").n > plain.input + 4_000
    assert shaped.input > offered.input > seen.input + 400
    assert (plain.written, seen.written) == ({}, {"1h": 0})


@pytest.mark.parametrize(
    ("model", "documents", "units"),
    [
        ("per_query", ("a",), {"queries": 1}),
        ("per_query", ("a",) * 100, {"queries": 1}),
        ("per_query", ("a",) * 101, {"queries": 2}),
        ("per_query", ("a " * 2_000,) * 40, {"queries": 2}),
        ("known", ("a",) * 101, {}),
    ],
)
async def test_a_ranking_is_billed_by_queries(model, documents, units):
    reply, _ = await asked(Rerank(f"far/{model}", "q", documents))
    assert reply.usage.units == units


async def test_answers_are_what_was_asked_for():
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}}
    assert (await asked(Chat("far/x", HELLO, choices=("yes", "no"))))[0].text == "yes"
    assert (await asked(Chat("far/x", HELLO, schema=schema)))[0].text == '{"n":3}'
    likely = (await asked(Chat("far/x", HELLO, Sampling(logprobs=3), choices=("yes", "no"))))[0]
    assert (likely.text, likely.logprobs) == ("yes", (Token("yes", 0.0),))
    assert (await asked(Chat("far/x", HELLO)))[0].logprobs is None
    assert len((await asked(Embed("far/x", ("a", "b", "c"))))[0].vectors) == 3
    assert (await asked(Rerank("far/x", "q", ("a", "b", "c"), k=2)))[0].scores.indexes == [0, 1]


async def test_providers_of_this_process_answer_for_themselves():
    async def local(request, scope):
        yield Text("mine")

    reply, requests = await asked(Chat("here/x", HELLO), local)
    assert (reply.text, requests) == ("mine", [])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"enum": ["b", "a"]},
        {"const": {"a": 1}},
        {"type": ["integer", "null"]},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2},
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "array"}, "b": {"type": "string"}}},
        {"properties": {"a": {"type": "number", "minimum": 1.5}}, "required": ["a"]},
    ],
)
def test_the_smallest_value_meets_its_schema(schema):
    assert validator(schema)(smallest(schema)) == []
