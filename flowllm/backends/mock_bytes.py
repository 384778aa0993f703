"""What the mock sends: replies as the bytes of the OpenAI formats, the same ones for the same request."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from flowllm.core.request import Chat, Embed

DIMENSIONS = 64
_PIECE = re.compile(r"\s*\S+\s*$|\s*\S+|\s+")
_WORD = re.compile(r"\w+")
_FULL = frozenset({"text", "tool_calls", "usage", "finish", "reasoning"})


def answer_bytes(request: Chat, reply: Any) -> bytes:
    """A chat's answer: events when the request streams, else one JSON body."""
    full = _full(reply)
    calls = [_call(position, call) for position, call in enumerate(full.get("tool_calls") or ())]
    finish = full.get("finish") or ("tool_calls" if calls else "stop")
    usage = _usage(request, full)
    name = request.model.partition("/")[2]
    if request.stream:
        likely = request.sampling.logprobs is not None
        return b"".join(_events(name, full, calls, finish, usage, likely=likely))
    message = {"role": "assistant", "content": full.get("text")}
    if full.get("reasoning"):
        message["reasoning_content"] = full["reasoning"]
    if calls:
        message["tool_calls"] = calls
    choice = {"index": 0, "message": message, "finish_reason": finish}
    if request.sampling.logprobs is not None:
        choice |= _certain(_PIECE.findall(full.get("text") or ""))
    return orjson.dumps(_chunk(name, [choice], "chat.completion") | {"usage": usage})


def error_bytes(message: str, code: str | None) -> bytes:
    """The body of an error."""
    return orjson.dumps({"error": {"message": message, "type": None, "param": None, "code": code}})


def embeddings_bytes(request: Embed) -> bytes:
    """Hashed bags of words of length 1: texts that share words are near each other."""
    size = request.dimensions or DIMENSIONS
    rows = [{"index": i, "embedding": _vector(text, size)} for i, text in enumerate(request.texts)]
    tokens = sum(len(text.split()) for text in request.texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    name = request.model.partition("/")[2]
    return orjson.dumps({"object": "list", "data": rows, "model": name, "usage": usage})


def overlap(query: str, document: str) -> float:
    """The share of the query's words that the document has."""
    words = set(_WORD.findall(query.lower()))
    return len(words & set(_WORD.findall(document.lower()))) / max(1, len(words))


def _full(reply: Any) -> Mapping[str, Any]:
    if isinstance(reply, Mapping) and {"text", "tool_calls"} & reply.keys() and reply.keys() <= _FULL:
        return reply
    return {"text": reply if isinstance(reply, str) else orjson.dumps(reply).decode()}


def _call(position: int, call: Mapping[str, Any]) -> dict[str, Any]:
    arguments = call.get("arguments", {})
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    function = {"name": call["name"], "arguments": text}
    return {"index": position, "id": call.get("id", f"call_{position}"), "type": "function", "function": function}


def _usage(request: Chat, full: Mapping[str, Any]) -> dict[str, Any]:
    """Counts words, and of JSON tokens; what the reply says of its usage wins."""
    said = full.get("usage") or {}
    prompt = said.get("input", sum(len(m.text.split()) for m in request.messages))
    answer = said.get("output", _counted(str(full.get("text") or "")))
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}
    if "cached_input" in said:
        usage["prompt_tokens_details"] = {"cached_tokens": said["cached_input"]}
    return usage


def _counted(text: str) -> int:
    """JSON has few blanks: its words are no measure."""
    if text[:1] not in ("{", "["):
        return len(text.split())
    from flowllm.text.tokens import count

    return count(text)


def _chunk(model: str, choices: list[Any], kind: str = "chat.completion.chunk") -> dict[str, Any]:
    return {"id": "mock", "object": kind, "created": 0, "model": model, "choices": choices}


def _events(
    model: str, full: Mapping[str, Any], calls: list[Any], finish: str, usage: Mapping[str, Any], *, likely: bool
) -> Iterator[bytes]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    if full.get("reasoning"):
        deltas.append({"reasoning_content": full["reasoning"]})
    deltas += [{"content": piece} for piece in _PIECE.findall(full.get("text") or "")]
    deltas += [{"tool_calls": [call]} for call in calls]
    for delta in deltas:
        told = _certain([delta["content"]]) if likely and delta.get("content") else {}
        yield _event(_chunk(model, [{"index": 0, "delta": delta, **told, "finish_reason": None}]))
    yield _event(_chunk(model, [{"index": 0, "delta": {}, "finish_reason": finish}]))
    yield _event(_chunk(model, []) | {"usage": usage})
    yield b"data: [DONE]\n\n"


def _certain(words: list[str]) -> dict[str, Any]:
    """Log probabilities of a model that has no doubts, a word for a token."""
    return {"logprobs": {"content": [{"token": word, "logprob": 0.0, "top_logprobs": []} for word in words]}}


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def _vector(text: str, size: int) -> list[float]:
    vector = [0.0] * size
    for word in _WORD.findall(text.lower()) or [text]:
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        vector[(number >> 1) % size] += 1.0 if number & 1 else -1.0
    length = sum(x * x for x in vector) ** 0.5 or 1.0
    return [x / length for x in vector]
