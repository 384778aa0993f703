# ruff: noqa: RUF001  the typographic apostrophe is meant
"""The words of a text, and vectors of texts made from words alone.

`terms` gives the content words, folded so that the forms of one word meet. `vectors` turns texts
into rows whose dot product is a cosine: hashed terms, the weight of a term growing with the
logarithm of its count. The weight of words across texts is fixed (words of grammar weigh nothing)
and not counted from the batch, so a row depends on its own text alone: it may be cached, made in
batches of any size, and compared with rows of another call (a question with documents).

The hash is crc32 of the term's UTF-8: rows are the same on every machine and in every process.
"""

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from math import log, sqrt
from typing import TYPE_CHECKING, Any
from zlib import crc32

from flowllm.text.stop_words import STOP_WORDS

if TYPE_CHECKING:
    from numpy.typing import NDArray

DIMENSIONS = 4096
"""Columns of a row. An article has some hundred terms, so few of them share a column."""

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_ENDINGS = ("ings", "ing", "edly", "ed", "ly", "es", "en", "er", "em", "s", "e", "n")
_SHORTEST_STEM = 4


def terms(text: str) -> list[str]:
    """The content words in order, folded: case, possessive and common endings go.

    Scripts without blanks (Chinese, Japanese, Thai, Lao, Burmese, Khmer) give pairs of characters.
    A text of nothing but words of grammar keeps them, so that it still has terms.
    """
    words = [word.replace("’", "'") for word in _WORD.findall(text.casefold())]
    content = [word for word in words if word not in STOP_WORDS]
    return [term for word in content or words for term in _folded(word)]


@lru_cache(maxsize=65536)
def _folded(word: str) -> tuple[str, ...]:
    if _UNSPACED.search(word):
        return tuple(piece for run in _runs(word) for piece in run)
    word = word.removesuffix("'s")
    for ending in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= _SHORTEST_STEM:
            word = word.removesuffix(ending)
            break
    doubled = len(word) > _SHORTEST_STEM and word[-1] == word[-2]
    return (word[:-1] if doubled else word,)


def _runs(word: str) -> list[list[str]]:
    """A word that holds unspaced script: pairs for such runs, other runs as they are."""
    runs, end = [], 0
    for match in _UNSPACED.finditer(word):
        run = match[0]
        runs.append([word[end : match.start()]] if match.start() > end else [])
        runs.append([run[i : i + 2] for i in range(max(1, len(run) - 1))])
        end = match.end()
    return [*runs, [word[end:]] if end < len(word) else []]


def vectors(texts: Sequence[str]) -> "NDArray[Any]":
    """Rows of float32, shape (texts, `DIMENSIONS`), of length 1; a text without words gives zeros."""
    import numpy as np

    rows = np.zeros((len(texts), DIMENSIONS), dtype=np.float32)
    for index, text in enumerate(texts):
        row = _row(text)
        length = sqrt(sum(weight * weight for weight in row.values()))
        for column, weight in row.items():
            rows[index, column] = weight / (length or 1.0)
    return rows


def _row(text: str) -> dict[int, float]:
    """Weights by column."""
    row: dict[int, float] = {}
    for term, count in sorted(Counter(terms(text)).items()):
        column, sign = _place(term)
        row[column] = row.get(column, 0.0) + sign * (1.0 + log(count))
    return row


@lru_cache(maxsize=65536)
def _place(term: str) -> tuple[int, float]:
    """Column and sign; terms of both signs in one column cancel out over many texts."""
    code = crc32(term.encode("utf-8", "surrogatepass"))
    return code % DIMENSIONS, 1.0 if code & 0x8000_0000 else -1.0
