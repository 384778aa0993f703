"""The provider ``local`` as a `Call`: requests to the models of this machine.

Encoders give vectors, scores and, for a chat with ``choices``, the label that fits best; decoders write. A model
is held while it answers and shared by all who ask it.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Protocol

from flowllm.backends.local.encoders import Encoder
from flowllm.backends.local.layout import Description
from flowllm.backends.local.refusals import ASKS, meant_label, of_length, refusals
from flowllm.backends.local.refused import refused
from flowllm.backends.local.shelf import Loaded, Shelf
from flowllm.core.delta import Delta, Finish, Meta, Scores, Text, Usage, Vectors
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Embed, Request, Rerank
from flowllm.core.scope import Scope

_DOES = {"embed": "makes vectors", "rerank": "ranks", "classify": "chooses among labels", "chat": "writes"}


class Writer(Loaded, Protocol):
    """A decoder in memory."""

    def generate(self, request: Chat, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The deltas of an answer."""
        ...


class LocalBackend:
    """A `Call` for the models of one shelf."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def __call__(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The deltas of one answer; a failure of the provider names the model as it was asked for."""
        return self._answer(request, scope)

    def check(self, model: str) -> None:
        """`SetupError` where ``local/NAME`` cannot be loaded, as far as that shows without loading it."""
        self._shelf.check(_name(model))

    def identity(self, model: str) -> str:
        """What tells this model's files from others of the same name."""
        return self._shelf.identity(_name(model))

    async def _answer(self, request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
        try:
            async with self._shelf.held(_name(request.model)) as model:
                if isinstance(model, Encoder):
                    for delta in await _encoded(model, request, scope):
                        yield delta
                    return
                writer: Any = model
                async with aclosing(writer.generate(_chat(request, model.description), scope)) as written:
                    async for delta in written:
                        yield delta
        except ProviderFailure as failure:
            failure.facts = replace(failure.facts, provider="local", model=request.model)
            raise


def _name(model: str) -> str:
    return model.partition("/")[2]


async def _encoded(model: Encoder, request: Request, scope: Scope) -> tuple[Delta, ...]:
    task = model.description.task
    if not isinstance(request, ASKS[task]):
        raise _unable(request, model.description)
    for one in refusals(request, model.description):
        raise refused(request.model, one.message, one.hint, one.code)
    if isinstance(request, Embed):
        answer, used = await _vectors(model, request, scope)
    elif isinstance(request, Rerank):
        answer, used = await _scores(model, request, scope)
    else:
        answer, used = await _label(model, request, scope)
    return Meta(model=_name(request.model)), answer, Usage(input=used, output=0), Finish("stop")


def _unable(request: Request, found: Description) -> ProviderFailure:
    asked = {Chat: "a chat was", Embed: "vectors were", Rerank: "a ranking was"}[type(request)]
    message = f"`{request.model}` {_DOES[found.task]}, and {asked} asked of it"
    return refused(request.model, message, code="capability_mismatch")


def _chat(request: Request, found: Description) -> Chat:
    if not isinstance(request, Chat):
        raise _unable(request, found)
    return request


async def _vectors(model: Encoder, request: Embed, scope: Scope) -> tuple[Delta, int]:
    rows, used = await model.embed(request.texts, model.wanted(request.extra), scope)
    size, width = request.dimensions, rows.shape[1]
    if size is None or size == width or not request.texts:
        return Vectors(rows), used
    for one in of_length(request, width):
        raise refused(request.model, one.message, one.hint, one.code)
    return Vectors(model.shortened(rows, size, request.extra)), used


async def _scores(model: Encoder, request: Rerank, scope: Scope) -> tuple[Delta, int]:
    scores, used = await model.score(request.query, request.documents, scope)
    order = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[: request.k]
    return Scores(order, [scores[i] for i in order]), used


async def _label(model: Encoder, request: Chat, scope: Scope) -> tuple[Delta, int]:
    shares, used = await model.classify(_asked(request), scope)
    meant = {choice: meant_label(choice, model.description.labels) or choice for choice in request.choices}
    return Text(max(meant, key=lambda choice: shares[meant[choice]])), used


def _asked(request: Chat) -> str:
    """The text of the last user message: what is to be classified."""
    return next((message.text for message in reversed(request.messages) if message.role == "user"), "")
