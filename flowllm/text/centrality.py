"""How much each text says of what all texts say.

The score of an item is the sum of its cosines with all other items, times the square root of the
number of its terms: the cosine with what the others say, not scaled down for saying much of it.
The sum over others is one dot product with the sum of all rows, so no matrix of pairs is built:
the cost is linear in the items, the extra memory is one block of rows.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1024
"""Rows that are worked on together."""


def centrality(rows: "NDArray[Any]", sizes: Sequence[int]) -> "NDArray[Any]":
    """One float64 score for each row of shape (items, dimensions); ``sizes`` are counts of terms.

    Rows need not have length 1; rows of zeros score 0. An item's place has no influence, except
    for the rounding of sums: give rows in an order of their own to get the same bits.
    """
    import numpy as np

    total = np.zeros(rows.shape[1])
    for _, block in _blocks(rows):
        total += block.sum(axis=0)
    scores = np.zeros(len(rows))
    for start, block in _blocks(rows):
        own = (block * block).sum(axis=1)
        scores[start : start + len(block)] = block @ total - own
    scores *= np.sqrt(np.asarray(sizes, dtype=np.float64))
    return scores


def unit_rows(rows: "NDArray[Any]") -> "NDArray[Any]":
    """The rows, each of length 1 or all zeros; rows that are so already are given back uncopied."""
    import numpy as np

    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if np.all((lengths == 0.0) | (np.abs(lengths - 1.0) < 1e-4)):  # noqa: PLR2004  float32 rounding
        return rows
    lengths[lengths == 0.0] = 1.0
    scaled: NDArray[Any] = rows / lengths[:, None]
    return scaled


def _blocks(rows: "NDArray[Any]") -> Iterator[tuple[int, "NDArray[Any]"]]:
    """Blocks in float64, each with the index of its first row."""
    for start in range(0, len(rows), BLOCK):
        yield start, rows[start : start + BLOCK].astype("float64")
