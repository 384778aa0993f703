"""Recorded exchanges through framing and decoder, and the comparison with what they must fold to."""

import json
import random
from collections.abc import Iterator, Sequence

from flowllm.backends.framing import Sniffed
from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Reply, fold
from flowllm.core.errors import CODES, ProviderFailure
from flowllm.core.request import Chat, Embed

WIRES = {"openai-chat": ("openai_chat", Chat("p/m", ())), "openai-embeddings": ("openai_embeddings", None)}
EVERY_BYTE = 4096
RANDOM_CUTS = 200
# Words of the corpus for which flowllm has another one.
CLASSES = {"unsupported": "bad_request", "server": "server_error"}


def replay(case, chunks: Sequence[bytes]) -> Reply:
    """The reply that the chunks fold to; raises what the provider's error means."""
    name, request = WIRES[case["protocol"]]
    request = request or Embed("p/m", ("x",) * case["expected"].get("count", 1))
    wire = find_wire(name, ProviderCard("p"))
    response = case["response"]
    if response["status"] >= 400:
        raise wire.decode_error(response["status"], response["headers"], b"".join(chunks))
    return fold(_deltas(wire.decoder(request), chunks))


def _deltas(decoder, chunks: Sequence[bytes]) -> Iterator[Delta]:
    framing = Sniffed()
    for chunk in chunks:
        for frame in framing.feed(chunk):
            yield from decoder.feed(frame)
    for frame in framing.finish():
        yield from decoder.feed(frame)
    yield from decoder.finish()


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
        found = _plain(replay(case, chunks), expected)
    except ProviderFailure as failure:
        found = _plain_failure(failure, expected)
    accepted = expected.get("accept", {})
    flat = dict(_flat({k: v for k, v in expected.items() if k not in {"oracle", "doubt", "accept", "kind"}}))
    return {
        path: (found.get(path), wanted)
        for path, wanted in flat.items()
        if not any(_same(found.get(path), choice) for choice in accepted.get(path, [wanted]))
    }


def _flat(data, prefix="") -> Iterator[tuple[str, object]]:
    for key, value in data.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _same(found, wanted) -> bool:
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], float):
        return isinstance(found, list) and all(abs(a - b) < 1e-6 for a, b in zip(found, wanted, strict=True))
    return found == wanted


def _plain(reply: Reply, expected) -> dict[str, object]:
    usage = reply.usage
    sizes = ("input", "output", "cached_input", "cache_write", "reasoning")
    flat = {f"usage.{name}": getattr(usage, name) for name in sizes} if usage else {"usage": None}
    if expected["kind"] == "embeddings":
        vectors = [list(map(float, vector)) for vector in reply.vectors]
        return flat | {"count": len(vectors), "dimensions": len(vectors[0]), "first": vectors[0][:3]}
    calls = [{"name": c.name, "arguments": _parsed(c.arguments), "id": c.id or None} for c in reply.tool_calls]
    names = ("text", "reasoning", "finish", "finish_raw", "model", "citations")
    return flat | {name: getattr(reply, name) for name in names} | {"tool_calls": calls}


def _parsed(arguments: str):
    try:
        return json.loads(arguments or "{}")
    except ValueError:
        return None


def _plain_failure(failure: ProviderFailure, expected) -> dict[str, object]:
    wanted = CLASSES.get(expected.get("class"), expected.get("class"))
    return {
        "status": failure.facts.status,
        "class": expected.get("class") if failure.code == wanted else failure.code,
        "retryable": CODES[failure.code].retryable,
        "retry_after": failure.facts.retry_after,
        "message": failure.message,
        "partial_text": failure.facts.partial_text,
    }
