"""Arguments of a call that come as values at paths: an object is put together from them."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d{1,4})\]|\['([^']*)'\]")
_VALUES = ("stringValue", "numberValue", "boolValue")


class PartialArguments:
    """One object; pieces of text for the same path are joined."""

    def __init__(self) -> None:
        self.value: dict[str, Any] = {}

    def add(self, pieces: Iterable[Any]) -> None:
        """Take pieces ``{jsonPath, stringValue | numberValue | boolValue | nullValue}`` in."""
        for piece in pieces:
            path = [_step(match) for match in _STEP.finditer(str(piece["jsonPath"]))]
            if path:
                found = next((piece[name] for name in _VALUES if name in piece), None)
                self._put(path, found)

    def _put(self, path: list[str | int], value: Any) -> None:
        holder: Any = self.value
        for step, following in pairwise(path):
            holder = _child(holder, step, [] if isinstance(following, int) else {})
        last = path[-1] if isinstance(holder, list) else str(path[-1])
        old = _child(holder, last, None)
        holder[last] = old + value if isinstance(old, str) and isinstance(value, str) else value


def _step(match: re.Match[str]) -> str | int:
    return int(match[2]) if match[2] else match[1] or match[3] or ""


def _child(holder: Any, step: str | int, empty: Any) -> Any:
    """What stands at ``step``, made where nothing does."""
    if isinstance(holder, list) and isinstance(step, int):
        holder.extend([None] * (step + 1 - len(holder)))
        if holder[step] is None:
            holder[step] = empty
        return holder[step]
    return holder.setdefault(str(step), empty)
