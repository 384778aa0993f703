"""Thoughts as rows, ``reasoning_details``: what a gateway tells of any vendor's thinking and wants back unchanged.

The rows of one answer are kept as the seal of its thought: their order, ids and signatures mean nothing to anybody
but the gateway, which checks them.
"""

from collections.abc import Iterable
from typing import Any

import orjson

from flowllm.core.delta import Reasoning
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Message

FIELD = "reasoning_details"
_PIECES = {"reasoning.text": "text", "reasoning.summary": "summary"}
"""Kinds of rows that a stream tells in pieces, and the word of the text that grows."""


class Rows:
    """The rows of one answer as they come; pieces of one row that several events tell are put together."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[_Row] = []

    def add(self, rows: Any) -> None:
        """Take the rows of one event, or of a whole answer, in: those of one list are rows of their own."""
        told = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        if told and self._rows and self._rows[-1].goes_on_in(told[0]):
            self._rows[-1].more(told.pop(0))
        self._rows += map(_Row, told)

    def sealed(self) -> Iterable[Reasoning]:
        """The rows as the seal of what was thought; nothing where there were none."""
        rows = [row.whole() for row in self._rows]
        return (Reasoning("", orjson.dumps(rows).decode(), sealed=True, format=FIELD),) if rows else ()


class _Row:
    """One row and the pieces of its text."""

    __slots__ = ("_pieces", "_row", "_word")

    def __init__(self, row: dict[str, Any]) -> None:
        self._row = row
        self._word = _PIECES.get(str(row.get("type")), "")
        self._pieces = [row.get(self._word)]

    def goes_on_in(self, row: dict[str, Any]) -> bool:
        """Whether ``row`` is the next piece of this one."""
        last = self._row
        if (
            not self._word
            or last.get("signature")
            or any(row.get(name) != last.get(name) for name in ("type", "index"))
        ):
            return False
        return (row.get("id") or last.get("id")) == (last.get("id") or row.get("id"))

    def more(self, row: dict[str, Any]) -> None:
        """Put the next piece in; what it tells anew holds."""
        self._pieces.append(row.get(self._word))
        self._row = self._row | {name: value for name, value in row.items() if value is not None}

    def whole(self) -> dict[str, Any]:
        """The row with all of its text; one that came in one piece as it came."""
        return self._row if len(self._pieces) == 1 else self._row | {self._word: "".join(map(_piece, self._pieces))}


def _piece(text: Any) -> str:
    return str(text or "")


def rows_of(turn: Message) -> dict[str, Any]:
    """What goes back with a turn; `ProviderFailure` ``bad_request`` for a seal that holds no rows."""
    seals = [thought.signature for thought in turn.thoughts if thought.format == FIELD and thought.signature]
    try:
        rows = [row for seal in seals for row in orjson.loads(seal)]
    except (orjson.JSONDecodeError, TypeError):
        message = "a thought of the history was changed, and the provider would not know it"
        raise ProviderFailure("bad_request", message, hint="leave `thoughts` of messages as they came") from None
    return {FIELD: rows} if rows else {}
