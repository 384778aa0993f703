"""``kind: rerank``: items in the order in which they answer a query."""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any, ClassVar, Literal, TypedDict

from pydantic import Field

from flowllm.core.delta import Fold, Scores
from flowllm.core.errors import NodeFailure, ProviderFailure
from flowllm.core.node import Node
from flowllm.core.request import Rerank as Request
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema


class Reranked(TypedDict):
    """The items, best first, their scores, and their indexes in the input; all of one length."""

    items: list[Any]
    scores: list[float]
    indexes: list[int]


class Rerank(Node):
    """Asks a reranking model how well each item answers the query, and orders them."""

    calls: ClassVar[Literal["", "chat", "embed", "rerank"]] = "rerank"
    summary: ClassVar[str] = "Order items by how well they answer a query."

    k: int | None = Field(default=None, ge=1, description="How many items to give at most.")
    extra: dict[str, Any] = Field(default_factory=dict, description="Goes into the provider's request as it is.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``items`` are of the type that came in."""
        known = inputs.get("items", {}).get("items", {})
        return {**super().output_ports(inputs, schemas), "items": {"type": "array", "items": known}}

    def foreseen(self, model: str, known: Mapping[str, Any]) -> tuple[Request]:
        """One request, of no documents."""
        return (Request(model, "", (), self.k, self.extra),)

    async def run(
        self, scope: Scope, query: str, items: list[Any], text: list[str] | None = None, model: str = ""
    ) -> Reranked:
        """Ask; ``text`` holds what is read of each item and is left out where items are texts."""
        documents = _documents(items, text)
        if not documents:
            return {"items": [], "scores": [], "indexes": []}
        found = await _scores(Request(model, query, documents, self.k, self.extra), scope)
        pairs = list(zip(found.indexes, found.scores, strict=True))[: self.k]
        return {
            "items": [items[index] for index, _ in pairs],
            "scores": [float(score) for _, score in pairs],
            "indexes": [int(index) for index, _ in pairs],
        }


def _documents(items: Sequence[Any], text: Sequence[Any] | None) -> tuple[str, ...]:
    texts = items if text is None else text
    if len(texts) != len(items):
        raise NodeFailure("node_failed", f"there are {len(items)} items and {len(texts)} texts of them")
    if not all(isinstance(each, str) for each in texts):
        raise NodeFailure("node_failed", "what is ranked is text; say which text of the items",
                          hint='text: "near.items[].text"')  # fmt: skip
    return tuple(texts)


async def _scores(request: Request, scope: Scope) -> Scores:
    folded = Fold()
    async with aclosing(scope.call(request, scope)) as deltas:
        async for delta in deltas:
            folded.add(delta)
    found = folded.reply().scores
    valid = range(len(request.documents))
    if found is None or len(found.indexes) != len(found.scores) or any(i not in valid for i in found.indexes):
        raise ProviderFailure("invalid_response", "the ranking that came back does not belong to the documents")
    return found
