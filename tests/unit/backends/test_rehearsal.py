import pytest

from flowllm.backends.rehearsal import Rehearsal, Rehearsed, smallest
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Text, fold
from flowllm.core.request import Chat, Embed, Message, Rerank, Sampling
from flowllm.core.request import Text as Words
from flowllm.core.scope import Scope
from flowllm.text.json_schema import validator

CATALOG = Catalog(
    {
        "far": ProviderCard("far", models={"known": ModelCard("known", output=50)}),
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


async def test_answers_are_what_was_asked_for():
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer", "minimum": 3}}}
    assert (await asked(Chat("far/x", HELLO, choices=("yes", "no"))))[0].text == "yes"
    assert (await asked(Chat("far/x", HELLO, schema=schema)))[0].text == '{"n":3}'
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
