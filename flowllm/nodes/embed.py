"""``kind: embed``: texts to vectors."""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NotRequired, TypedDict

from pydantic import Field

from flowllm.core.delta import Fold, Reply
from flowllm.core.errors import NodeFailure, ProviderFailure
from flowllm.core.node import Node
from flowllm.core.request import Embed as Request
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema

if TYPE_CHECKING:
    from numpy import float32
    from numpy.typing import NDArray


class Embedded(TypedDict):
    """``vector`` of one text (dimensions,), or ``vectors`` of many (texts, dimensions), float32 arrays.

    ``model`` is the one that made them.
    """

    vector: NotRequired[Any]
    vectors: NotRequired[Any]
    model: str


class Embed(Node):
    """Asks an embedding model for the vectors of one text or of many."""

    calls: ClassVar[Literal["", "chat", "embed", "rerank"]] = "embed"
    summary: ClassVar[str] = "Turn texts into vectors."

    batch: int = Field(default=256, ge=1, le=8192, description="Texts in one request, at most.")
    at_once: int = Field(default=4, ge=1, le=256, description="Requests on their way together, at most.")
    dimensions: int | None = Field(default=None, ge=1, description="A shorter vector, where the model can make one.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Goes into the provider's request as it is.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``vector`` for one text, ``vectors`` for a list, both where it is not known which."""
        numbers: Schema = {"type": "array", "items": {"type": "number"}}
        ports = {"vector": numbers, "vectors": {"type": "array", "items": numbers}, "model": {"type": "string"}}
        kind = inputs.get("text", {}).get("type")
        absent = {"string": "vectors", "array": "vector"}.get(kind) if isinstance(kind, str) else None
        return {name: schema for name, schema in ports.items() if name != absent}

    def foreseen(self, model: str, known: Mapping[str, Any]) -> tuple[Request]:
        """One request, of no texts."""
        return (Request(model, (), self.dimensions, self.extra),)

    async def run(self, scope: Scope, text: str | list[str], model: str = "") -> Embedded:
        """Ask; the rows are in the order of the texts."""
        texts = [text] if isinstance(text, str) else list(text)
        _check(texts)
        replies = await self._replies(scope, model, texts)
        vectors = await scope.run_in_thread(lambda: _matrix(replies, len(texts)))
        named = next((reply.answered_by for reply in replies if reply.answered_by), model)
        if isinstance(text, str):
            return {"vector": vectors[0], "model": named}  # type: ignore[index]
        return {"vectors": vectors, "model": named}

    async def _replies(self, scope: Scope, model: str, texts: list[str]) -> list[Reply]:
        requests = [
            Request(model, tuple(texts[start : start + self.batch]), self.dimensions, self.extra)
            for start in range(0, len(texts), self.batch)
        ]
        if len(requests) <= 1:
            return [await _answer(request, scope) for request in requests]
        gate = asyncio.Semaphore(self.at_once)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_in_turn(request, scope, gate)) for request in requests]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]


def _check(texts: list[Any]) -> None:
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            message = f"item {i} to embed is no text but {type(text).__name__}"
            raise NodeFailure("node_failed", message, hint='text: "docs.items[].text"')


async def _in_turn(request: Request, scope: Scope, gate: asyncio.Semaphore) -> Reply:
    async with gate:
        return await _answer(request, scope)


async def _answer(request: Request, scope: Scope) -> Reply:
    folded = Fold()
    async with aclosing(scope.call(request, scope)) as deltas:
        async for delta in deltas:
            folded.add(delta)
    reply = folded.reply()
    if reply.vectors is None or len(reply.vectors) != len(request.texts):
        given = 0 if reply.vectors is None else len(reply.vectors)
        raise ProviderFailure("invalid_response", f"{len(request.texts)} texts were sent and {given} vectors came back")
    return reply


def _matrix(replies: list[Reply], rows: int) -> "NDArray[float32]":
    import numpy as np

    if not rows:
        return np.zeros((0, 0), dtype=np.float32)
    try:
        return np.concatenate([np.asarray(reply.vectors, dtype=np.float32) for reply in replies])
    except ValueError:
        raise ProviderFailure("invalid_response", "the vectors that came back are not of one length") from None
