"""Takes the items that matter: nearest to a query, or most central among themselves.

Items stay whole. The result does not depend on where an item stands: equal items count as one,
the first, and ties are broken by content.
"""

from collections.abc import Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from pydantic import Field

from flowllm.core.errors import NodeFailure
from flowllm.core.node import Node
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from flowllm.text.choosing import Items, Room


class Selected(TypedDict):
    """What was taken: the items, their scores, and their indexes in the input; all of one length."""

    items: list[Any]
    scores: list[float]
    indexes: list[int]


class Select(Node):
    """Takes the items nearest to a query, or the most central ones, within a count or a budget."""

    by: Literal["query", "centrality"] | None = Field(
        default=None,
        description="What makes an item good: likeness to `query`, or to all other items. "
        "Unwritten: `query` where that port is connected, else `centrality`.",
    )
    k: int | None = Field(default=None, ge=1, description="How many items to take at most.")
    unit: Literal["words", "tokens", "items"] = Field(
        default="words",
        description="What `budget` counts; each Chinese or Japanese character is a word.",
    )
    slack: float = Field(
        default=0.15, ge=0.0, lt=1.0, description="The share by which `budget` may be missed; never more."
    )
    diversity: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="From 0, only the score counts, to 1, only unlikeness; above 0 near-copies are taken once.",
    )
    order: Literal["rank", "input"] = Field(default="rank", description="Best first, or as the items came.")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``items`` are of the type that came in."""
        known = inputs.get("items", {}).get("items", {})
        return {**super().output_ports(inputs, schemas), "items": {"type": "array", "items": known}}

    async def run(
        self, scope: Scope, vectors: Any, items: list[Any], query: Any = None, budget: float | None = None
    ) -> Selected:
        """Choose; ``vectors`` hold one row for each item, ``query`` is one vector of the same model."""
        work = _Choice(self, vectors, items, query, budget)
        result = await scope.run_in_thread(work.done)
        assert isinstance(result, dict)
        return Selected(items=result["items"], scores=result["scores"], indexes=result["indexes"])


class _Choice:
    """One run: items without duplicates, in an order that their content gives."""

    def __init__(self, node: Select, vectors: Any, items: Sequence[Any], query: Any, budget: Any) -> None:
        self.node = node
        self.by = node.by or ("centrality" if query is None else "query")
        self.query, self.budget = query, budget
        self.vectors, self.items = vectors, items
        if len(vectors) != len(items):
            raise NodeFailure("node_failed", f"there are {len(items)} items but {len(vectors)} vectors")
        if self.by == "query" and query is None:
            message = "choosing by query needs the port `query`"
            raise NodeFailure("node_failed", message, hint="by: centrality")
        if budget is not None and (isinstance(budget, bool) or not isinstance(budget, int | float) or not budget > 0):
            raise NodeFailure("node_failed", f"the budget must be a number above 0, not {budget!r}"[:200])

    def done(self) -> Selected:
        """Everything that takes time."""
        from flowllm.text.choosing import choose

        texts = [_text(item) for item in self.items]
        first: dict[str, int] = {}
        for index, text in enumerate(texts):
            if text.strip():
                first.setdefault(text, index)
        names = sorted(first)
        if not names:
            return Selected(items=[], scores=[], indexes=[])
        places = [first[name] for name in names]
        pool = self._pool(places, names)
        room = self._room(pool.sizes)
        taken = choose(pool, room)
        if not taken:
            self._complain(min(pool.sizes))
        if self.node.order == "input":
            taken.sort(key=places.__getitem__)
        return Selected(
            items=[self.items[places[index]] for index in taken],
            scores=[float(pool.scores[index]) for index in taken],
            indexes=[places[index] for index in taken],
        )

    def _pool(self, places: Sequence[int], names: Sequence[str]) -> "Items":
        from flowllm.text.centrality import unit_rows
        from flowllm.text.choosing import Items
        from flowllm.text.lexical import terms

        words = [frozenset(terms(_subject(self.items[place], name))) for place, name in zip(places, names, strict=True)]
        rows = unit_rows(_matrix(self.vectors)[places])
        sizes = [self._size(_subject(self.items[place], name)) for place, name in zip(places, names, strict=True)]
        return Items(rows, self._scores(rows, words), sizes, words, self.node.diversity)

    def _scores(self, rows: "NDArray[Any]", words: Sequence[frozenset[str]]) -> "NDArray[Any]":
        from flowllm.text.centrality import centrality, unit_rows

        if self.by == "centrality":
            return centrality(rows, [len(each) for each in words])
        query = _matrix([self.query])
        if query.shape[1] != rows.shape[1]:
            message = f"the query has {query.shape[1]} dimensions, the vectors have {rows.shape[1]}"
            raise NodeFailure("node_failed", message, hint="embed both with the same model")
        scores: NDArray[Any] = (rows @ unit_rows(query)[0]).astype("float64")
        return scores

    def _size(self, text: str) -> int:
        if self.budget is None or self.node.unit == "items":
            return 1
        if self.node.unit == "tokens":
            from flowllm.text.tokens import count

            return count(text)
        from flowllm.text.words import count_words

        return count_words(text)

    def _room(self, sizes: Sequence[int]) -> "Room":
        from flowllm.text.choosing import Room

        count = self.node.k or len(sizes)
        if self.budget is None:
            return Room(inf, inf, count)
        exact = 1e-9
        slack = self.node.slack
        return Room(self.budget * (1.0 - slack) - exact, self.budget * (1.0 + slack) + exact, count)

    def _complain(self, smallest: int) -> None:
        unit = self.node.unit
        message = f"no item fits into {self.budget:g} {unit}: the smallest has {smallest}"
        raise NodeFailure("node_failed", message, hint=f"give a budget of at least {smallest} {unit}")


def _matrix(rows: Any) -> "NDArray[Any]":
    import numpy as np

    matrix: NDArray[Any]
    try:
        matrix = np.asarray(rows, dtype=np.float32)
    except (TypeError, ValueError):
        matrix = np.zeros(0)
    if matrix.ndim != 2 or not np.isfinite(matrix).all():  # noqa: PLR2004  a matrix
        raise NodeFailure("node_failed", "the vectors are not lists of numbers of one length")
    return matrix


def _text(item: Any) -> str:
    """What makes two items equal: a string itself, other items as JSON."""
    import orjson

    if isinstance(item, str):
        return item
    return orjson.dumps(item, option=orjson.OPT_SORT_KEYS, default=str).decode()


def _subject(item: Any, text: str) -> str:
    """What an item says: the `text` of a mapping that has one, else all of it."""
    said = item.get("text") if isinstance(item, dict) else None
    return said if isinstance(said, str) else text
