"""Hidden states of tokens to one vector a text, as sentence-transformers makes it."""

from collections.abc import Callable
from typing import Any

Floats = Any
"""An array of numpy, float32."""

Pool = Callable[[Floats, Floats], Floats]
"""Hidden states (texts, tokens, width) and the mask of pooled tokens (texts, tokens), 1 or 0, to (texts, width).

The first and last tokens are those of the mask; a mean of nothing is zeros.
"""
_LEAST = 1e-9


def _mean(hidden: Floats, mask: Floats) -> Floats:
    return _sum(hidden, mask) / _no_zeros(mask.sum(1, keepdims=True))


def _mean_sqrt_len(hidden: Floats, mask: Floats) -> Floats:
    import numpy as np

    return _sum(hidden, mask) / np.sqrt(_no_zeros(mask.sum(1, keepdims=True)))


def _weighted_mean(hidden: Floats, mask: Floats) -> Floats:
    import numpy as np

    weights = mask * np.arange(1, mask.shape[1] + 1, dtype=np.float32)
    return _sum(hidden, weights) / _no_zeros(weights.sum(1, keepdims=True))


def _max(hidden: Floats, mask: Floats) -> Floats:
    import numpy as np

    low = np.float32(np.finfo(np.float32).min)
    return np.where(mask[:, :, None] > 0, hidden, low).max(1)


def _cls(hidden: Floats, mask: Floats) -> Floats:
    import numpy as np

    return hidden[np.arange(len(hidden)), mask.argmax(1)]


def _last(hidden: Floats, mask: Floats) -> Floats:
    import numpy as np

    ends = mask.shape[1] - 1 - mask[:, ::-1].argmax(1)
    return hidden[np.arange(len(hidden)), ends]


def _no_zeros(numbers: Floats) -> Floats:
    import numpy as np

    return np.maximum(numbers, _LEAST)


def _sum(hidden: Floats, weights: Floats) -> Floats:
    """The weighted sum of tokens; a product of matrices, with no copy of the hidden states."""
    import numpy as np

    return np.matmul(weights[:, None, :], hidden)[:, 0]


POOLS: dict[str, Pool] = {
    "mean": _mean, "cls": _cls, "max": _max, "last": _last, "mean_sqrt_len": _mean_sqrt_len,
    "weighted_mean": _weighted_mean,
}  # fmt: skip
"""By the words of `layout.Description.pooling`."""


def unit(rows: Floats) -> Floats:
    """Rows of length 1; a row of zeros stays one."""
    import numpy as np

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.maximum(lengths, 1e-12)).astype(np.float32, copy=False)
