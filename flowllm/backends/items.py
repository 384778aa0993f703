"""The items of one JSON array, bytes to frames, for bodies that grow as an array does."""

import re
from collections.abc import Sequence

from flowllm.backends.framing import Counted, Frame, Limits, check_text, too_large

_BETWEEN = b" \t\r\n,[]"
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}"]', re.DOTALL)
_IN_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


class Items(Counted):
    """The items of one JSON array of objects, each as soon as it is complete.

    What is no array of objects is given as one frame, for the decoder to refuse.
    """

    __slots__ = ("_buffer", "_depth", "_scanned", "_string")

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._buffer = bytearray()
        self._scanned = 0
        self._depth = 0
        self._string = False

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """The items that ``chunk`` completes."""
        self._count(chunk)
        self._buffer += chunk
        frames: list[Frame] = []
        while (end := self._scan()) is not None:
            frames.append(self._frame(end))
        if len(self._buffer) > self._limits.event:
            raise too_large("an item", self._limits.event)
        return frames

    def finish(self) -> Sequence[Frame]:
        """What is neither an item nor a mark around items; an item that broke off is left out."""
        self.cut = bool(self._depth)
        rest = b"" if self.cut else bytes(self._buffer).strip(_BETWEEN)
        self._buffer.clear()
        check_text(rest)
        return (Frame(rest),) if rest else ()

    def _scan(self) -> int | None:
        """The place behind the next complete item; braces inside of strings do not count."""
        if self._string and not self._leave_string():
            return None
        for match in _TOKEN.finditer(self._buffer, self._scanned):
            self._scanned = match.end()
            if match[0] == b'"':
                self._leave_string()
                return None
            if match[0] in b"{}":
                self._depth += 1 if match[0] == b"{" else -1
                if self._depth == 0:
                    return match.end()
        self._scanned = len(self._buffer)
        return None

    def _leave_string(self) -> bool:
        """Pass the open string as far as it has come, but for half of an escape; whether its end is there."""
        inside = _IN_STRING.match(self._buffer, self._scanned)
        self._scanned = inside.end() if inside else self._scanned
        self._string = self._buffer[self._scanned : self._scanned + 1] != b'"'
        self._scanned += not self._string
        return not self._string

    def _frame(self, end: int) -> Frame:
        item = bytes(self._buffer[:end]).lstrip(_BETWEEN)
        del self._buffer[:end]
        self._scanned = 0
        self.beats += 1
        check_text(item)
        return Frame(item)
