"""Answers made up on the spot, so that a pipeline can be walked through before anything is paid.

A chat is answered with the first choice, the smallest value of its schema, or its own last words; tokens are
counted by the tokenizer of the model's entry or estimated, and the answer counts as long as it may become. Nothing
leaves this process, and no model of this machine is loaded.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import field
from typing import Any

import orjson

from flowllm.core.card import Catalog, ModelCard
from flowllm.core.delta import Delta, Finish, Logprobs, Meta, Scores, Text, Token, Usage, Vectors
from flowllm.core.record import record
from flowllm.core.request import Chat, Embed, Request, Rerank, message_to_data
from flowllm.core.scope import Call, Scope
from flowllm.pricing.bounds import asked_beside
from flowllm.text.token_files import best_counter
from flowllm.text.tokens import Counter, count_tokens, counter_for

PIECE = 500
"""Tokens of a document that Cohere ranks as one."""
DOCUMENTS = 100
"""Documents that it ranks for the price of one query."""


@record
class Rehearsed:
    """One request that would be sent. ``output`` is the longest answer in tokens; None: no bound is known."""

    address: str
    model: str
    input: int
    output: int | None


@record(frozen=False)
class Rehearsal:
    """A `Call` that asks no model: providers of this process answer by ``local``, others are made up.

    Made up is too what ``house`` would answer, the provider whose models are files of this machine. ``requests``
    grows with every request that is made up.
    """

    catalog: Catalog
    local: Call
    house: str = ""
    requests: list[Rehearsed] = field(default_factory=list)

    async def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The local answer, or one that is made up."""
        if self._is_local(request.model):
            async with aclosing(self.local(request, scope)) as deltas:
                async for delta in deltas:
                    yield delta
            return
        for delta in self._made_up(request, scope):
            yield delta

    def _made_up(self, request: Request, scope: Scope) -> Iterator[Delta]:
        tokens = self._tokens(request)
        bound = self._bound(request)
        self.requests.append(Rehearsed(scope.address, request.model, tokens, bound))
        usage = Usage(tokens, bound, estimated=True, written=dict.fromkeys(_lifetimes(request), 0))
        yield Meta(model=request.model)
        yield from _answers(request)
        yield asked_beside(self._card(request.model), usage, _queries(request))
        yield Finish("stop")

    def _tokens(self, request: Request) -> int:
        """What a model of this machine would read of a chat; of all else a count of its texts."""
        card = self._card(request.model)
        whole = card.foresight.tokens(request) if card and card.foresight else None
        return _sent(request, best_counter(card, request.model)) if whole is None else whole

    def _is_local(self, model: str) -> bool:
        provider = model.partition("/")[0]
        card = self.catalog.providers.get(provider)
        return card is not None and card.local and provider != self.house

    def _bound(self, request: Request) -> int | None:
        if not isinstance(request, Chat):
            return 0
        card = self._card(request.model)
        return request.sampling.max_output_tokens or (card.output if card else None)

    def _card(self, model: str) -> ModelCard | None:
        return self.catalog.model(model)


def _sent(request: Request, counter: Counter) -> int:
    """The tokens of a request; what stands around messages and tools is estimated."""
    if isinstance(request, Embed):
        return sum(map(counter.count, request.texts))
    if isinstance(request, Rerank):
        return sum(map(counter.count, (request.query, *request.documents)))
    tools = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in request.tools
    ]
    shape = counter.count(orjson.dumps(request.schema).decode()) if request.schema else 0
    turns = [*map(message_to_data, request.messages)]
    return count_tokens(turns, request.model, tools=tools, counter=counter).n + shape


def _lifetimes(request: Request) -> set[str]:
    """How long the provider is asked to keep parts of the request."""
    if not isinstance(request, Chat):
        return set()
    parts = (part for message in request.messages for part in message.parts)
    return {one.prompt_cache for one in (*parts, *request.tools) if one.prompt_cache}


def _queries(request: Request) -> int:
    """How many queries a ranking is billed for: a hundred documents each, a long document counted in pieces."""
    if not isinstance(request, Rerank):
        return 0
    counter = counter_for(request.model)
    pieces = sum(max(1, -(-counter.count(document) // PIECE)) for document in request.documents)
    return max(1, -(-pieces // DOCUMENTS))


def _answers(request: Request) -> Iterator[Delta]:
    """The answer, and how likely it is where that is asked for: certain, and one token."""
    answer = _answer(request)
    yield answer
    if isinstance(request, Chat) and isinstance(answer, Text) and request.sampling.logprobs is not None:
        yield Logprobs((Token(answer.text, 0.0),))


def _answer(request: Request) -> Delta:
    match request:
        case Embed(texts=texts):
            return Vectors([[1.0] for _ in texts])
        case Rerank(documents=documents, k=k):
            indexes = range(len(documents))[:k]
            return Scores(list(indexes), [1.0 for _ in indexes])
        case Chat(choices=[first, *_]):
            return Text(first)
        case Chat(schema=schema) if schema is not None:
            return Text(orjson.dumps(smallest(schema)).decode())
        case Chat(messages=messages):
            return Text(messages[-1].text or "…")


_SMALLEST: Mapping[str, Any] = {"string": "…", "integer": 0, "number": 0, "boolean": False, "array": [], "null": None}


def smallest(schema: Mapping[str, Any]) -> Any:
    """A value of a schema's type, as small as it can be told without solving it."""
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        known = schema.get("properties", {})
        return {name: smallest(known.get(name, {})) for name in schema.get("required", ())}
    if kind == "array":
        return [smallest(schema.get("items", {}))] * int(schema.get("minItems", 0))
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    return _SMALLEST.get(str(kind))
