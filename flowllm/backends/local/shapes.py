"""Few shapes for devices that prepare themselves for each: lengths in steps, rows in powers of two.

A GPU's arena, its graphs and TensorRT's engines all hold on to every shape that they saw. So batches are padded to
one of `LENGTHS` tokens and to a power of two of rows; what was added is masked, and its results are dropped.
"""

from collections.abc import Sequence

LENGTHS = (16, 32, 64, 128, 256, 512)
"""Tokens; longer texts go to multiples of the last."""


def length_of(tokens: int, lengths: Sequence[int], window: int | None = None) -> int:
    """The padded length of a text: the least of ``lengths`` that holds it, none beyond the model's window.

    No lengths: the text's own.
    """
    if not lengths:
        return tokens
    last = lengths[-1]
    found = next((length for length in lengths if tokens <= length), -(-tokens // last) * last)
    return max(tokens, min(found, window)) if window else found


def rows_of(count: int) -> int:
    """The least power of two that is no less."""
    return 1 << max(count - 1, 0).bit_length()


def steps(lengths: Sequence[int], window: int | None = None) -> tuple[int, ...]:
    """Every padded length that texts of a model with this window get."""
    last = lengths[-1]
    longest = window or last
    whole = (*lengths, *range(2 * last, longest + last, last))
    return tuple(dict.fromkeys(length_of(min(length, longest), lengths, window) for length in whole))


def profiles(inputs: Sequence[str], lengths: Sequence[int], budget: int, window: int | None = None) -> dict[str, str]:
    """The options of TensorRT that name the least, the usual and the largest shape (rows x tokens), for each length.

    A shape outside of them would have it build its engine anew, which takes minutes. The budget is in padded tokens.
    """
    most = [(max(rows_of(budget // length + 1) // 2, 1), length) for length in steps(lengths, window)]
    shapes = {"min": [(1, length) for _, length in most], "opt": most, "max": most}
    return {
        f"trt_profile_{word}_shapes": ",".join(f"{name}:{rows}x{length}" for rows, length in found for name in inputs)
        for word, found in shapes.items()
    }
