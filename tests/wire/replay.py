"""Recorded exchanges through framing and decoder, and the comparison with what they must fold to."""

import base64
import json
import random
from collections.abc import Iterator, Sequence

from flowllm.backends.framing import Sniffed
from flowllm.backends.wire import find_wire
from flowllm.backends.wire.replicate_predictions import prediction_of
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Reply, fold
from flowllm.core.errors import CODES, ProviderFailure
from flowllm.core.request import Chat, Embed, Message, Request, Rerank, Text

# Protocols of the corpus by the wire that speaks them.
WIRES = {
    "openai-chat": "openai_chat",
    "openai-embeddings": "openai_embeddings",
    "voyage-embed": "openai_embeddings",
    "openai-responses": "openai_responses",
    "anthropic-messages": "anthropic_messages",
    "gemini-generate": "gemini_generate",
    "gemini-embed": "gemini_embed",
    "anthropic-count-tokens": "anthropic_messages",
    "gemini-count-tokens": "gemini_generate",
    "ollama-native": "ollama_native",
    "cohere-chat-v2": "cohere_v2",
    "cohere-embed-v2": "cohere_v2",
    "cohere-rerank-v2": "rerank",
    "openai-like-rerank": "rerank",
    "voyage-rerank": "rerank",
    "openai-completions": "openai_completions",
    "watsonx-chat": "watsonx",
    "watsonx-generation": "watsonx",
    "watsonx-embed": "watsonx",
    "watsonx-rerank": "watsonx",
    "watsonx-admin": "watsonx",
    "replicate-predictions": "replicate_predictions",
    "replicate-admin": "replicate_predictions",
    "sagemaker-invoke": "http_template",
    "hf-inference": "http_template",
    "vertex-predict": "http_template",
    "tei-embed": "http_template",
    "tei-rerank": "http_template",
    "bedrock-converse": "bedrock_converse",
    "bedrock-rerank": "bedrock_rerank",
    "bedrock-invoke-anthropic": "bedrock_invoke",
    "bedrock-invoke-nova": "bedrock_invoke",
    "bedrock-invoke-titan": "bedrock_invoke",
    "bedrock-invoke-llama": "bedrock_invoke",
    "bedrock-invoke-cohere": "bedrock_invoke",
    "bedrock-invoke-ai21": "bedrock_invoke",
    "bedrock-invoke-mistral": "bedrock_invoke",
    "bedrock-invoke-openai": "bedrock_invoke",
}
# What a model's name or a provider file would say, where the protocol says it.
QUIRKS = {name: {"family": name.rpartition("-")[2]} for name, wire in WIRES.items() if wire == "bedrock_invoke"} | {
    "watsonx-generation": {"api": "generation"},
    "sagemaker-invoke": {"templates": {"chat": {
        "path": "/", "body": {"inputs": "{prompt}"}, "text": "answer[0].generated_text"}}},
    "hf-inference": {"templates": {"chat": {
        "path": "/", "body": {"inputs": "{prompt}"}, "text": "answer[0].generated_text",
        "stream": {"text": "answer.token.text", "finish": "answer.details.finish_reason",
                   "input_tokens": "answer.details.read", "output_tokens": "answer.details.generated_tokens"}}}},
    "vertex-predict": {"templates": {"embed": {
        "path": "/", "body": {"instances": "{texts}"}, "vectors": "answer.predictions[].embeddings.values",
        "input_tokens": "answer.predictions[].embeddings.statistics.token_count"}}},
    "tei-embed": {"templates": {"embed": {"path": "/embed", "body": {"inputs": "{texts}"}, "vectors": "answer"}}},
    "tei-rerank": {"templates": {"rerank": {"path": "/rerank", "body": {"query": "{query}", "texts": "{documents}"},
                                            "indexes": "answer[].index", "scores": "answer[].score"}}},
}  # fmt: skip
KINDS = {"chat", "embeddings", "rerank", "error", "job", "models", "count_tokens"}
EVERY_BYTE = 4096
RANDOM_CUTS = 200
# Words of the corpus for which flowllm has another one.
CLASSES = {"unsupported": "bad_request", "server": "server_error"}


def replay(case, chunks: Sequence[bytes]) -> Reply:
    """The reply that the chunks fold to; raises what the provider's error means."""
    wire, request = _wire_of(case), asked(case)
    response = case["response"]
    if response["status"] >= 400:
        raise wire.decode_error(response["status"], response["headers"], b"".join(chunks))
    framing = Sniffed(json=wire.encode(request).json)
    return fold(_deltas(framing, wire.decoder(request), chunks))


def _wire_of(case):
    return find_wire(WIRES[case["protocol"]], ProviderCard("p", quirks=QUIRKS.get(case["protocol"], {})))


def covered(case) -> bool:
    """Whether there is a wire for the case, and an answer of its kind in the neutral form."""
    kind = case["expected"]["kind"]
    # A model that is asked after by its name in a body is not named by the answer.
    nameless = kind == "models" and case["request"]["method"] != "GET"
    return case["protocol"] in WIRES and kind in KINDS and not nameless


def asked(case) -> Request:
    """A request that the answer could belong to: only its kind and size matter."""
    expected = case["expected"]
    if expected["kind"] == "embeddings" or "embed" in case["protocol"] or case["protocol"] == "vertex-predict":
        return Embed("p/m", ("x",) * expected.get("count", 1))
    if "rerank" in case["protocol"]:
        return Rerank("p/m", "q", ("x",) * (1 + max(expected.get("indexes", [0]))))
    return Chat("p/m", (Message("user", (Text("x"),)),), stream=bool(case.get("stream")))


def _deltas(framing, decoder, chunks: Sequence[bytes]) -> Iterator[Delta]:
    for chunk in chunks:
        for frame in framing.feed(chunk):
            yield from decoder.feed(frame)
    for frame in framing.finish():
        yield from decoder.feed(frame)
    yield from decoder.finish()


def body_of(case) -> bytes:
    """The bytes of the recorded answer."""
    response = case["response"]
    return base64.b64decode(response["body_b64"]) if "body_b64" in response else (response.get("body") or "").encode()


def cuttings(body: bytes, seed: str) -> Iterator[list[bytes]]:
    """Whole; in two at every byte, or at random ones where the body is long; all bytes apart."""
    yield [body]
    places = range(1, len(body))
    if len(body) > EVERY_BYTE:
        places = random.Random(seed).sample(places, RANDOM_CUTS)
    for place in places:
        yield [body[:place], body[place:]]
    if len(body) <= EVERY_BYTE:
        yield [body[i : i + 1] for i in range(len(body))]


def differences(case, chunks: Sequence[bytes]) -> dict[str, tuple[object, object]]:
    """What came out otherwise than expected, by dotted path."""
    expected = case["expected"]
    try:
        whole = BODIES.get(expected["kind"])
        found = whole(case, b"".join(chunks)) if whole else _plain(replay(case, chunks), expected)
    except ProviderFailure as failure:
        found = _plain_failure(failure, expected)
    accepted = expected.get("accept", {})
    flat = dict(_flat({k: v for k, v in expected.items() if k not in {"oracle", "doubt", "accept", "kind"}}))
    return {
        path: (found.get(path), wanted)
        for path, wanted in flat.items()
        if not any(_same(found.get(path), choice) for choice in accepted.get(path, [wanted]))
    }


def _job(case, body: bytes) -> dict[str, object]:
    """What is made of a prediction before its answer is there."""
    found = prediction_of(json.loads(body))
    return {name: getattr(found, name) for name in ("id", "status", "status_raw", "stream_url")}


def _models(case, body: bytes) -> dict[str, object]:
    return {"ids": list(_wire_of(case).models.names(json.loads(body)))}


def _tokens(case, body: bytes) -> dict[str, object]:
    return {"tokens": _wire_of(case).counted(json.loads(body))}


BODIES = {"job": _job, "models": _models, "count_tokens": _tokens}
"""Kinds of answers that are no deltas: what is made of the whole body."""


def _flat(data, prefix="") -> Iterator[tuple[str, object]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _same(found, wanted) -> bool:
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], float):
        near = (abs(a - b) < 1e-6 for a, b in zip(found or (), wanted, strict=False))
        return isinstance(found, list) and len(found) == len(wanted) and all(near)
    return found == wanted


def _plain(reply: Reply, expected) -> dict[str, object]:
    usage = reply.usage
    sizes = ("input", "output", "cached_input", "cache_write", "reasoning")
    counts = {f"usage.{name}": getattr(usage, name, None) for name in sizes}
    flat = {"usage": None} if set(counts.values()) == {None} else counts
    if expected["kind"] == "embeddings":
        vectors = [list(map(float, vector)) for vector in reply.vectors]
        return flat | {"count": len(vectors), "dimensions": len(vectors[0]), "first": vectors[0][:3]}
    if expected["kind"] == "rerank":
        return flat | {"indexes": list(reply.scores.indexes), "scores": list(reply.scores.scores)}
    calls = list(map(_call, reply.tool_calls, [*expected.get("tool_calls", ()), *[{}] * len(reply.tool_calls)]))
    names = ("text", "reasoning", "finish", "finish_raw", "model", "citations")
    return flat | {name: getattr(reply, name) for name in names} | {"tool_calls": calls}


def _call(call, expected) -> dict[str, object]:
    if "input" in expected:
        return {"name": call.name, "arguments": None, "id": call.id or None, "input": call.arguments}
    return {"name": call.name, "arguments": _parsed(call.arguments), "id": call.id or None}


def _parsed(arguments: str):
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return None


def _plain_failure(failure: ProviderFailure, expected) -> dict[str, object]:
    wanted = CLASSES.get(expected.get("class"), expected.get("class"))
    return {
        # A failure that knows no status came inside an answer that began well.
        "status": failure.facts.status or 200,
        "class": expected.get("class") if failure.code == wanted else failure.code,
        "retryable": CODES[failure.code].retryable,
        "retry_after": failure.facts.retry_after,
        "message": failure.message,
        "partial_text": failure.facts.partial_text,
    }
