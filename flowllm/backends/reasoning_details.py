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
    """The rows of one answer as they come; pieces of one row are put together."""

    __slots__ = ("_rows",)

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []

    def add(self, rows: Any) -> None:
        """Take the rows of one event, or of a whole answer, in."""
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict):
                self._add(row)

    def _add(self, row: dict[str, Any]) -> None:
        word, last = _PIECES.get(str(row.get("type")), ""), self._rows[-1] if self._rows else {}
        same = word and all(row.get(name) == last.get(name) for name in ("type", "index"))
        if not same or last.get("signature") or (row.get("id") or last.get("id")) != (last.get("id") or row.get("id")):
            self._rows.append(dict(row))
            return
        text = f"{last.get(word) or ''}{row.get(word) or ''}"
        last.update({name: value for name, value in row.items() if value is not None} | {word: text})

    def sealed(self) -> Iterable[Reasoning]:
        """The rows as the seal of what was thought; nothing where there were none."""
        return (Reasoning("", orjson.dumps(self._rows).decode(), sealed=True, format=FIELD),) if self._rows else ()


def rows_of(turn: Message) -> dict[str, Any]:
    """What goes back with a turn; `ProviderFailure` ``bad_request`` for a seal that holds no rows."""
    seals = [thought.signature for thought in turn.thoughts if thought.format == FIELD and thought.signature]
    try:
        rows = [row for seal in seals for row in orjson.loads(seal)]
    except (orjson.JSONDecodeError, TypeError):
        message = "a thought of the history was changed, and the provider would not know it"
        raise ProviderFailure("bad_request", message, hint="leave `thoughts` of messages as they came") from None
    return {FIELD: rows} if rows else {}
