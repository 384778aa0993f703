"""Rows as aligned columns of plain text, as wide as they need or as a terminal allows."""

from collections.abc import Sequence
from itertools import zip_longest
from textwrap import wrap

NARROW = 8
"""Characters below which no column is made narrower."""


def table(rows: Sequence[Sequence[str]], *, right: frozenset[int] = frozenset(), width: int | None = None) -> str:
    """Columns two blanks apart, the first row their names; columns of ``right`` are right-aligned.

    Where ``width`` is too little for all, cells of the widest columns go on below, but for those of ``right``.
    """
    cells = [[_one_line(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        words = [
            max(len(word) for cell in column for word in (*cell.split(), "")) for column in zip(*cells, strict=True)
        ]
        _narrow(widths, words, width, right)
    return "\n".join(line for row in cells for line in _lines(row, widths, right))


def _narrow(widths: list[int], words: Sequence[int], width: int, right: frozenset[int]) -> None:
    """Take from the widest columns until all fit; only then break words, those of the last columns first.

    ``words`` are the lengths of the longest word of each column.
    """
    movable = [column for column in range(len(widths)) if column not in right]
    for column in movable:
        widths[column] = min(widths[column], max(width, NARROW))
    while sum(widths) + 2 * (len(widths) - 1) > width:
        whole = [column for column in movable if widths[column] > max(NARROW, words[column])]
        broken = [column for column in movable if widths[column] > NARROW]
        if not broken:
            break
        widths[max(whole, key=widths.__getitem__) if whole else broken[-1]] -= 1


def _lines(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> list[str]:
    pieces = [_folded(cell, width) for cell, width in zip(row, widths, strict=True)]
    return [_line(parts, widths, right) for parts in zip_longest(*pieces, fillvalue="")]


def _folded(cell: str, width: int) -> list[str]:
    """A cell in lines of that width."""
    if len(cell) <= width:
        return [cell]
    return wrap(cell, max(1, width), break_on_hyphens=False)


def _line(row: Sequence[str], widths: Sequence[int], right: frozenset[int]) -> str:
    cells = (
        cell.rjust(width) if i in right else cell.ljust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _one_line(cell: str) -> str:
    return " ".join(cell.split())


def size(count: int) -> str:
    """Bytes for people: ``1.2 MiB``."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:  # noqa: PLR2004  binary units
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"
