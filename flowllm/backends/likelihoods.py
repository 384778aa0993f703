"""Log probabilities as the formats tell them, as deltas; what has another shape, or tells none, is left out."""

from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import Any

from flowllm.core.delta import Delta, Logprobs, Token


def read_rows(rows: Any, deltas: list[Delta]) -> None:
    """``[{token, logprob, top_logprobs: [{token, logprob}]}]``, where it is that."""
    words = ("token", "logprob")
    _add(
        (
            Token(text, number, tuple(_pairs(_under(row, "top_logprobs"), *words)))
            for row in _rows(rows)
            for text, number in _pairs([row], *words)
        ),
        deltas,
    )


def read_columns(told: Any, deltas: list[Delta]) -> None:
    """``{tokens, token_logprobs, top_logprobs: [{token: logprob}]}``, as completions have it."""
    texts, numbers, tops = (_under(told, name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    _add(
        (
            Token(str(text), float(number), tuple(_likely(top)))
            for text, number, top in zip(texts, numbers, _for_ever(tops), strict=False)
            if _is_number(number)
        ),
        deltas,
    )


def read_candidates(told: Any, deltas: list[Delta]) -> None:
    """``{chosenCandidates, topCandidates: [{candidates}]}`` of ``{token, logProbability}``, as Gemini has it."""
    words = ("token", "logProbability")
    chosen, tops = (_under(told, name) for name in ("chosenCandidates", "topCandidates"))
    _add(
        (
            Token(text, number, tuple(_pairs(_under(top, "candidates"), *words)))
            for row, top in zip(chosen, _for_ever(tops), strict=False)
            for text, number in _pairs([row], *words)
        ),
        deltas,
    )


def _add(tokens: Iterable[Token], deltas: list[Delta]) -> None:
    if found := tuple(tokens):
        deltas.append(Logprobs(found))


def _rows(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _under(value: Any, name: str) -> list[Any]:
    return _rows(value.get(name)) if isinstance(value, dict) else []


def _for_ever(rows: list[Any]) -> Iterator[Any]:
    """As many rows as are asked for: places without one have none."""
    return chain(rows, repeat(None))


def _pairs(rows: list[Any], text: str, number: str) -> Iterator[tuple[str, float]]:
    for row in rows:
        if isinstance(row, dict) and _is_number(row.get(number)):
            yield str(row.get(text) or ""), float(row[number])


def _likely(top: Any) -> list[tuple[str, float]]:
    """An object of texts, the likeliest first."""
    told = top.items() if isinstance(top, dict) else ()
    return sorted(((text, float(value)) for text, value in told if _is_number(value)), key=lambda pair: -pair[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
