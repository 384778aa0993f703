"""What a provider sent, read as a usage: its usage object, a whole answer, or the text of a stream."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import orjson

from flowllm.api.environment import Environment
from flowllm.api.model_bill import WORDS, WRITTEN, usage_of_mapping
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Usage
from flowllm.core.errors import FlowError, UsageError
from flowllm.core.record import record
from flowllm.core.request import Chat, Embed, Message, Request, Rerank, Text

_SHELLS: Mapping[str, Mapping[str, Any]] = {
    "usage": {},
    "usageMetadata": {},
    "usage ": {"type": "message", "role": "assistant", "content": []},
    "usage  ": {"object": "response", "status": "completed", "output": []},
    "usage   ": {"output": {"message": {"role": "assistant", "content": []}}, "stopReason": "end_turn"},
    "usage    ": {"message": {"role": "assistant", "content": []}, "finish_reason": "COMPLETE"},
}
"""Answers around a usage object, by the key that holds it; blanks tell keys of the same name apart."""
_USAGES = frozenset(map(str.strip, _SHELLS))
_MOST_COUNTS, _DEEPEST = 50, 5
"""Of so many counts, so deep in a usage object, it is told whether they are used."""
_OTHERS = ("openai_chat", "anthropic_messages", "gemini_generate", "ollama_native")
"""Formats that servers answer in beside their own."""


@record
class Sent:
    """What was sent, as a usage. ``wire`` is the format that it was read in, empty for the house's own words.

    ``unused`` are counts of its usage object that change nothing in that format.
    """

    usage: Usage
    wire: str = ""
    unused: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """In words, what was read how."""
        read = (f"it was read as `{self.wire}`",) if self.wire else ()
        names = ", ".join(f"`{name}`" for name in self.unused)
        return (*read, f"what that format has no price for was not used: {names}") if names else read


def usage_of_bytes(environment: Environment, name: str, data: bytes) -> Sent:
    """A usage from what a file holds: the house's words as JSON, a provider's usage object, an answer or a stream.

    `UsageError` where the provider's formats tell no usage.
    """
    with suppress(orjson.JSONDecodeError):
        value = orjson.loads(data)
        if isinstance(value, Mapping) and value and all(_is_ours(key) for key in value):
            return Sent(usage_of_mapping(value)[0])
    card = _card(environment, name.partition("/")[0])
    for piece, task, wire in _readings(card, data):
        request = _asked(task, name)
        usage = _decoded(card, wire, request, piece)
        if usage is not None:
            others = _without_each(piece)
            unused = (path for path, other in others if _decoded(card, wire, request, other) == usage)
            return Sent(usage, wire, tuple(unused))
    message = f"no usage is told there in a format of `{card.name}`"
    raise UsageError("bad_usage", message, hint='{"input": 300000, "output": 1000} says it in flowllm\'s own words')


def _without_each(piece: bytes) -> Iterator[tuple[str, bytes]]:
    """The counts of an answer's usage object by name, and the answer with another number in place of each."""
    with suppress(orjson.JSONDecodeError, orjson.JSONEncodeError):
        answer = orjson.loads(piece)
        for key in _USAGES & answer.keys() if isinstance(answer, Mapping) else ():
            for path in islice(_counts(answer[key]), _MOST_COUNTS):
                yield ".".join(path), orjson.dumps(_changed(answer, (key, *path)))


def _counts(value: Any, depth: int = _DEEPEST) -> Iterator[tuple[str, ...]]:
    """Where numbers stand that are no sum of others."""
    for key, inner in value.items() if isinstance(value, Mapping) and depth else ():
        if isinstance(inner, int) and inner > 0 and not isinstance(inner, bool) and not key.startswith("total"):
            yield (key,)
        yield from ((key, *path) for path in _counts(inner, depth - 1))


def _changed(value: Any, path: tuple[str, ...]) -> Any:
    """The same with another number in that place."""
    return {**value, path[0]: _changed(value[path[0]], path[1:])} if path else value - 1 or 2


def _is_ours(key: str) -> bool:
    return key in WORDS or key in ("classes", "written", "units") or bool(WRITTEN.fullmatch(key))


def _card(environment: Environment, provider: str) -> ProviderCard:
    """The provider's card; one that only the registry knows is taken to speak as most do."""
    known = environment.catalog.providers
    return known[provider] if provider in known else ProviderCard(provider, wire={"chat": "openai_chat"})


def _readings(card: ProviderCard, data: bytes) -> Iterator[tuple[bytes, str, str]]:
    """What may be an answer, to which task and in which format: the provider's own ones, then others of whole answers.

    Who speaks chat completions may speak responses as well.
    """
    own = list(card.wire.items())
    own += [("chat", "openai_responses")] if card.wire.get("chat") == "openai_chat" else []
    for piece in (data, *_shells(data)):
        yield from ((piece, task, wire) for task, wire in own)
    yield from ((data, "chat", wire) for wire in _OTHERS)


def _shells(data: bytes) -> list[bytes]:
    """A usage object as an answer with nothing but a usage, in every shape that answers have."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError:
        return []
    if not isinstance(value, Mapping):
        return []
    inner = value["usage"] if len(value) == 1 and isinstance(value.get("usage"), Mapping) else value
    with suppress(orjson.JSONEncodeError):  # deeper than any usage
        return [orjson.dumps({**shell, key.strip(): inner}) for key, shell in _SHELLS.items()]
    return []


def _asked(task: str, name: str) -> Request:
    if task == "embed":
        return Embed(name, ("x",))
    if task == "rerank":
        return Rerank(name, "x", ("x",))
    return Chat(name, (Message("user", (Text("x"),)),))


def _decoded(card: ProviderCard, wire_name: str, request: Request, data: bytes) -> Usage | None:
    """The last usage that a wire reads there; None where it reads none."""
    from flowllm.backends.framing import Sniffed
    from flowllm.backends.wire import find_wire

    found: list[Delta] = []
    with suppress(FlowError, ValueError, KeyError):  # whatever is no answer of this wire
        wire = find_wire(wire_name, card)
        framing, decoder = Sniffed(json=wire.encode(request).json), wire.decoder(request)
        for frames in (framing.feed(data), framing.finish()):
            found += [delta for frame in frames for delta in decoder.feed(frame)]
        found += decoder.finish()
    usages: Sequence[Usage] = [delta for delta in found if isinstance(delta, Usage)]
    return next((one for one in reversed(usages) if one.input is not None or one.output is not None or one.units), None)
