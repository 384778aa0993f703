"""The kinds that ask models for numbers: embed, rerank."""

import numpy as np
import pytest

from flowllm.core.delta import Meta, Scores, Text, Vectors
from flowllm.core.errors import NodeFailure, ProviderFailure
from flowllm.core.scope import Scope
from flowllm.nodes.embed import Embed
from flowllm.nodes.rerank import Rerank


class Embedder:
    """The vector of a text is (its length, 1)."""

    def __init__(self, change=lambda rows: rows, model=None):
        self.requests = []
        self.change = change
        self.model = model

    async def __call__(self, request, scope):
        self.requests.append(request)
        yield Meta(model=self.model)
        yield Vectors(self.change([[float(len(text)), 1.0] for text in request.texts]))


async def embed(text, params=None, embedder=None):
    embedder = embedder or Embedder()
    return await Embed.model_validate(params or {}).run(scope=Scope(call=embedder), text=text, model="m"), embedder


async def test_one_text_has_one_vector():
    ports, _ = await embed("abc")
    assert set(ports) == {"vector", "model"}
    assert (ports["vector"].tolist(), ports["vector"].dtype, ports["model"]) == ([3.0, 1.0], np.float32, "m")


async def test_many_texts_have_rows_in_order():
    texts = ["x" * n for n in (5, 2, 9, 1, 4)]
    ports, embedder = await embed(texts, {"batch": 2, "dimensions": 2}, Embedder(model="m-large"))
    assert ports["vectors"][:, 0].tolist() == [5, 2, 9, 1, 4]
    assert ports["model"] == "m"
    assert [(r.texts, r.dimensions) for r in embedder.requests] == [
        (("x" * 5, "x" * 2), 2),
        (("x" * 9, "x"), 2),
        (("x" * 4,), 2),
    ]


async def test_no_texts_ask_nobody():
    ports, embedder = await embed([])
    assert (ports["vectors"].shape, embedder.requests) == ((0, 0), [])


@pytest.mark.parametrize("at_once", [1, 3])
async def test_requests_together_are_limited(at_once):
    import asyncio

    working, most = 0, 0

    async def call(request, scope):
        nonlocal working, most
        working += 1
        most = max(most, working)
        await asyncio.sleep(0)
        working -= 1
        yield Vectors([[1.0]] * len(request.texts))

    await Embed(batch=1, at_once=at_once).run(scope=Scope(call=call), text=["a"] * 10, model="m")
    assert most == at_once


@pytest.mark.parametrize("batch", [1, 10])
@pytest.mark.parametrize("change", [lambda rows: rows[1:], lambda rows: None])
async def test_missing_rows_are_an_invalid_response(batch, change):
    with pytest.raises(ProviderFailure, match="came back") as caught:
        await embed(["a", "b"], {"batch": batch}, Embedder(change))
    assert caught.value.code == "invalid_response"


async def test_rows_of_unlike_length_are_an_invalid_response():
    with pytest.raises(ProviderFailure, match="not of one length"):
        await embed(["a", "b"], None, Embedder(lambda rows: [rows[0], rows[1][:1]]))


async def test_only_texts_are_embedded():
    with pytest.raises(NodeFailure, match="item 1 to embed is no text but dict"):
        await embed(["a", {"text": "b"}])


@pytest.mark.parametrize(
    ("known", "names"),
    [
        ({"type": "string"}, {"vector", "model"}),
        ({"type": "array"}, {"vectors", "model"}),
        ({}, {"vector", "vectors", "model"}),
    ],
)
def test_ports_of_embed(known, names):
    assert set(Embed().output_ports({"text": known}, {})) == names
    assert set(Embed.input_ports()) == {"text"}


def ranking(*pairs):
    async def call(request, scope):
        call.request = request
        yield Scores([i for i, _ in pairs], [s for _, s in pairs])

    return call


ITEMS = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("params", "items", "text", "expected"),
    [
        ({}, ITEMS, None, (["c", "a"], [0.9, 0.5], [2, 0])),
        ({"k": 1}, ITEMS, None, (["c"], [0.9], [2])),
        ({}, [{"t": 1}, {"t": 2}, {"t": 3}], ITEMS, ([{"t": 3}, {"t": 1}], [0.9, 0.5], [2, 0])),
    ],
)
async def test_rerank(params, items, text, expected):
    call = ranking((2, 0.9), (0, 0.5))
    ports = await Rerank.model_validate(params).run(
        scope=Scope(call=call), query="q", items=items, text=text, model="m"
    )
    assert (ports["items"], ports["scores"], ports["indexes"]) == expected
    assert (call.request.query, call.request.documents, call.request.k) == ("q", ("a", "b", "c"), params.get("k"))


async def test_nothing_to_rank_asks_nobody():
    assert await Rerank().run(scope=Scope(), query="q", items=[], model="m") == {
        "items": [],
        "scores": [],
        "indexes": [],
    }


@pytest.mark.parametrize(
    ("items", "text", "words"),
    [([{"a": 1}], None, "say which text"), (ITEMS, ["a"], "3 items and 1 texts"), (ITEMS, ["a", "b", None], "is text")],
)
async def test_rerank_needs_texts(items, text, words):
    with pytest.raises(NodeFailure, match=words):
        await Rerank().run(scope=Scope(), query="q", items=items, text=text, model="m")


@pytest.mark.parametrize("found", [[(3, 0.1)], [(-1, 0.1)]])
async def test_a_ranking_of_other_documents_is_an_invalid_response(found):
    with pytest.raises(ProviderFailure, match="does not belong"):
        await Rerank().run(scope=Scope(call=ranking(*found)), query="q", items=ITEMS, model="m")


async def test_no_ranking_is_an_invalid_response():
    async def call(request, scope):
        yield Text("no")

    with pytest.raises(ProviderFailure, match="does not belong"):
        await Rerank().run(scope=Scope(call=call), query="q", items=ITEMS, model="m")


def test_ports_of_rerank():
    known = {"items": {"type": "array", "items": {"type": "object"}}}
    assert Rerank().output_ports(known, {})["items"] == {"type": "array", "items": {"type": "object"}}
    assert set(Rerank.input_ports()) == {"query", "items", "text"}
