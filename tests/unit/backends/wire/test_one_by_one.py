"""Texts that a model takes one a request: Vertex's own file, where one model takes them alone and others together."""

import orjson
import pytest
import yaml

from flowllm.backends.framing import Frame
from flowllm.backends.vectors import summed
from flowllm.backends.wire import find_wire
from flowllm.catalog import load_catalog, packaged_providers
from flowllm.core.delta import Usage, fold
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
    reply = fold([*deltas, *decoder.finish()])
    assert (reply.vectors, reply.usage and reply.usage.input) == ([[ord(text), 0] for text in texts], tokens)


@pytest.mark.parametrize(
    ("usages", "total"),
    [
        ([Usage(3, reasoning=1)], Usage(3, reasoning=1)),
        ([Usage(3, 1), Usage(4, 2)], Usage(7, 3)),
        ([Usage(3, 1), Usage(4)], Usage(7)),
    ],
)
def test_what_is_counted_is_summed_and_what_is_not_is_unknown(usages, total):
    assert summed(usages) == total
