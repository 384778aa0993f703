"""Texts that a model takes one a request: Vertex's own file, where one model takes them alone and others together."""

from decimal import Decimal

import orjson
import pytest
import yaml

from flowllm.backends.framing import Frame
from flowllm.backends.wire import find_wire
from flowllm.catalog import load_catalog, packaged_providers
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Meta, Usage, Vectors, fold, summed
from flowllm.core.request import Embed


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def row(instance, tokens):
    counted = {} if tokens is None else {"statistics": {"token_count": tokens}}
    return {"embeddings": {"values": [ord(instance["content"]), 0], **counted}}


@pytest.mark.parametrize(
    ("model", "texts", "counts", "sent", "tokens"),
    [
        ("gemini-embedding-001", "abc", [3, 4, 5], ["a", "b", "c"], 12),
        ("gemini-embedding-001", "abc", [3, None, 5], ["a", "b", "c"], None),
        ("gemini-embedding-001", "a", [3], ["a"], 3),
        ("text-embedding-005", "abc", [3, 4, 5], ["abc"], 12),
    ],
)
def test_one_text_a_request(model, texts, counts, sent, tokens):
    card = load_catalog([packaged_providers()], read, environment={}).providers["vertex"]
    wire, request = find_wire("http_template", card), Embed(f"vertex/{model}", tuple(texts), 2)
    decoder, parts, bodies, deltas = wire.decoder(request), wire.encode(request), [], []
    left = iter(counts)
    while parts is not None:
        assert parts.path == f"/models/{model}:predict"
        bodies.append(orjson.loads(parts.body))
        rows = [row(one, next(left)) for one in bodies[-1]["instances"]]
        deltas += decoder.feed(Frame(orjson.dumps({"predictions": rows}), whole=True))
        parts = decoder.follow
    assert ["".join(one["content"] for one in body["instances"]) for body in bodies] == sent
    assert {body["parameters"]["outputDimensionality"] for body in bodies} == {2}
    assert [delta.vectors for delta in deltas if isinstance(delta, Vectors)] == (
        [[[ord(text), 0]] for text in texts] if len(sent) > 1 else [[[ord(text), 0] for text in texts]]
    )
    reply = fold([*deltas, *decoder.finish()])
    assert (reply.vectors, reply.usage and reply.usage.input) == ([[ord(text), 0] for text in texts], tokens)


@pytest.mark.parametrize(
    ("usages", "total"),
    [
        ([Usage(3, reasoning=1)], Usage(3, reasoning=1)),
        ([Usage(3, 1), Usage(4, 2)], Usage(7, 3)),
        ([Usage(3, 1), Usage(4)], Usage(7)),
        ([Usage(3, reasoning=1, billed_input=2), Usage(4, reasoning=2, billed_input=1)],
         Usage(7, reasoning=3, billed_input=3)),
        ([Usage(1, reported=Decimal("0.1")), Usage(1, reported=Decimal("0.2"))], Usage(2, reported=Decimal("0.3"))),
        ([Usage(1, reported=Decimal("0.1")), Usage(1)], Usage(2)),
        ([Usage(1, classes={"input_audio": 2}), Usage(1, classes={"input_audio": 3, "citations": 1})],
         Usage(2, classes={"input_audio": 5, "citations": 1})),
        ([Usage(1, cache_write=2, written={"5m": 2}), Usage(1, cache_write=1, written={"1h": 1})],
         Usage(2, cache_write=3, written={"5m": 2, "1h": 1})),
        ([Usage(1, units={"searches": 1}), Usage(1, units={"searches": Decimal("0.5")})],
         Usage(2, units={"searches": Decimal("1.5")})),
        ([Usage(1, service="flex", region="eu", speed="fast", variant="v")] * 2,
         Usage(2, service="flex", region="eu", speed="fast", variant="v")),
        ([Usage(1, estimated=True), Usage(1)], Usage(2, estimated=True)),
    ],
)  # fmt: skip
def test_what_is_counted_is_summed_and_what_is_not_is_unknown(usages, total):
    assert summed(usages) == total


def test_the_model_that_answers_is_told_once():
    wire = find_wire("http_template", ProviderCard("acme", "https://a.example", {"embed": "http_template"}, quirks=ONE))
    decoder = wire.decoder(Embed("acme/m", ("a", "b")))
    deltas = [*decoder.feed(BODY), *decoder.feed(BODY), *decoder.finish()]
    assert [delta for delta in deltas if isinstance(delta, Meta)] == [Meta(model="m-1")]
    assert fold(deltas).vectors == [[1], [1]]


ONE = {"one_by_one": True, "templates": {"embed": {"path": "/e", "body": {"t": "{text}"}, "vectors": "answer.v"}}}
BODY = Frame(b'{"v": [[1]], "model": "m-1"}', whole=True)
