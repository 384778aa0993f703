"""What is recommended, as rows: a name, its score, the reasons with their points, and what is not known of it."""

from collections.abc import Iterable, Iterator
from typing import Protocol


class Scored(Protocol):
    """Anything with a score that is the sum of the points of its reasons."""

    @property
    def score(self) -> int:
        """The sum of the points."""
        ...

    @property
    def reasons(self) -> tuple[tuple[int, str], ...]:
        """Points and what they are for."""
        ...

    @property
    def unknown(self) -> tuple[str, ...]:
        """Of what nothing is known."""
        ...


def score_rows(title: str, found: Iterable[tuple[str, Scored]]) -> Iterator[tuple[str, str, str, str]]:
    """A head and one row for each, the names in a column of that title."""
    yield title, "score", "why", "unknown"
    for name, one in found:
        why = "; ".join(f"{reason} (+{points})" if points else reason for points, reason in one.reasons)
        yield name, str(one.score), why, ", ".join(one.unknown)
