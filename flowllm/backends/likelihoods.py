"""Log probabilities as the formats tell them, as deltas; rows that tell none are left out."""

from collections.abc import Iterable, Iterator
from typing import Any

from flowllm.core.delta import Delta, Logprobs, Token


def read_rows(rows: Any, deltas: list[Delta]) -> None:
    """``[{token, logprob, top_logprobs: [{token, logprob}]}]``, where it is that."""
    tokens = [
        Token(text, number, tuple(_pairs(row.get("top_logprobs"), "token", "logprob")))
        for row, (text, number) in _told(rows, "token", "logprob")
    ]
    if tokens:
        deltas.append(Logprobs(tuple(tokens)))


def read_columns(told: dict[str, Any], deltas: list[Delta]) -> None:
    """``{tokens, token_logprobs, top_logprobs: [{token: logprob}]}``, as completions have it."""
    texts, numbers, tops = (told.get(name) or () for name in ("tokens", "token_logprobs", "top_logprobs"))
    tokens = []
    for place, (text, number) in enumerate(zip(texts, numbers, strict=False)):
        if _is_number(number):
            top = tops[place] if place < len(tops) and isinstance(tops[place], dict) else {}
            likely = sorted(
                ((str(text), float(value)) for text, value in top.items() if _is_number(value)), key=_by_number
            )
            tokens.append(Token(str(text), float(number), tuple(likely)))
    if tokens:
        deltas.append(Logprobs(tuple(tokens)))


def read_candidates(told: dict[str, Any], deltas: list[Delta]) -> None:
    """``{chosenCandidates, topCandidates: [{candidates}]}`` of ``{token, logProbability}``, as Gemini has it."""
    tops = told.get("topCandidates") or ()
    tokens = [
        Token(text, number, tuple(_pairs(_at(tops, place), "token", "logProbability")))
        for place, (_, (text, number)) in enumerate(_told(told.get("chosenCandidates"), "token", "logProbability"))
    ]
    if tokens:
        deltas.append(Logprobs(tuple(tokens)))


def _at(tops: Any, place: int) -> Any:
    return tops[place].get("candidates") if place < len(tops) else ()


def _told(rows: Any, text: str, number: str) -> Iterator[tuple[dict[str, Any], tuple[str, float]]]:
    for row in rows if isinstance(rows, list) else ():
        if isinstance(row, dict) and _is_number(row.get(number)):
            yield row, (str(row.get(text) or ""), float(row[number]))


def _pairs(rows: Any, text: str, number: str) -> Iterable[tuple[str, float]]:
    return (pair for _, pair in _told(rows, text, number))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_number(pair: tuple[str, float]) -> float:
    return -pair[1]
