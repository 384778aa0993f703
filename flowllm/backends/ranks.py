"""The decoder of rankings that come in one body, in all dialects.

Rows stand under ``results``, ``data`` or bare, scores are a ``relevance_score``, ``score`` or ``relevanceScore``.
"""

from collections.abc import Iterable
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
        usage = body.get("usage")
        billed = body.get("meta") if isinstance(body.get("meta"), dict) else {}
        tokens = (billed or {}).get("tokens") or (billed or {}).get("billed_units")
        if isinstance(usage, dict) and input_of(usage) is not None:
            yield read_of(usage)
        elif isinstance(tokens, dict) and (told := _billed(tokens)) != Usage():
            yield told


def _billed(tokens: dict[str, Any]) -> Usage:
    """Tokens and searches as Cohere counts them; a search is one query with a hundred documents."""
    queries = count_of(tokens.get("search_units"))
    units = {"queries": queries} if queries else {}
    return Usage(count_of(tokens.get("input_tokens")), count_of(tokens.get("output_tokens")), units={**units})


def _score(row: dict[str, Any]) -> Any:
    return next((row[name] for name in _SCORES if name in row), None)


def _scores(pairs: list[tuple[int, float]], most: int | None) -> Scores:
    best = sorted(pairs, key=lambda pair: -pair[1])[:most]
    return Scores([index for index, _ in best], [score for _, score in best])
