"""The decoder of rankings that come in one body, in all dialects.

Rows stand under ``results``, ``data`` or bare, scores are a ``relevance_score``, ``score`` or ``relevanceScore``.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from flowllm.backends.answers import BodyDecoder, count_of, invalid, json_of
from flowllm.backends.failures import failure_inside
from flowllm.backends.framing import Frame
from flowllm.backends.usage import input_of, read_of
from flowllm.core.delta import Delta, Meta, Scores, Usage

_SCORES = ("relevance_score", "score", "relevanceScore")


class RanksDecoder(BodyDecoder):
    """The one frame of an answer to deltas: at most ``most`` of ``documents`` documents, best first."""

    def __init__(self, documents: int, most: int | None = None) -> None:
        super().__init__()
        self._documents = documents
        self._most = most

    def _deltas(self, frame: Frame) -> Iterable[Delta]:
        body = json_of(frame)
        rows = self._rows(body)
        if not isinstance(rows, list):
            if isinstance(body, dict) and ({"error", "detail", "message"} & body.keys()):
                raise failure_inside(body)
            raise invalid(frame, "holds no scores")
        try:
            pairs = [(row["index"], float(_score(row))) for row in rows]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise invalid(frame, "holds something that is no score") from None
        if not all(type(index) is int and 0 <= index < self._documents for index, _ in pairs):
            raise invalid(frame, "ranks a document that was not given")
        if len({index for index, _ in pairs}) < len(pairs):
            raise invalid(frame, "ranks a document twice")
        return (_scores(pairs, self._most), *(self._facts(body) if isinstance(body, dict) else ()))

    def _rows(self, body: Any) -> Any:
        """A list of ``{index, relevance_score | score}``; anything else means that there are no scores."""
        return body.get("results", body.get("data")) if isinstance(body, dict) else body

    def _facts(self, body: dict[str, Any]) -> Iterable[Delta]:
        """Who answered and what it cost."""
        if body.get("model"):
            yield Meta(model=str(body["model"]))
        usage, told = body.get("usage"), _billed(body.get("meta"))
        if isinstance(usage, dict) and input_of(usage) is not None:
            yield replace(read_of(usage), units=told.units)
        elif told != Usage():
            yield told


def _billed(meta: Any) -> Usage:
    """Tokens and searches as Cohere counts and bills them; a search is one query with a hundred documents."""
    counted, billed = (_mapping(_mapping(meta).get(name)) for name in ("tokens", "billed_units"))
    queries = count_of(billed.get("search_units"), counted.get("search_units"))
    read, written = (count_of(counted.get(name), billed.get(name)) for name in ("input_tokens", "output_tokens"))
    paid = (count_of(billed.get(name)) if counted else None for name in ("input_tokens", "output_tokens"))
    billed_input, billed_output = paid
    units = {"queries": queries} if queries else {}
    return Usage(read, written, units={**units}, billed_input=billed_input, billed_output=billed_output)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _score(row: dict[str, Any]) -> Any:
    return next((row[name] for name in _SCORES if name in row), None)


def _scores(pairs: list[tuple[int, float]], most: int | None) -> Scores:
    best = sorted(pairs, key=lambda pair: -pair[1])[:most]
    return Scores([index for index, _ in best], [score for _, score in best])
