"""The binary event stream of Amazon, bytes to frames: messages with lengths and two checksums each.

    total length, 4 bytes | length of the headers, 4 | CRC32 of these 8, 4 | headers | payload | CRC32 of all before, 4

No length is believed before its checksum holds and its size is allowed, so nothing is waited for or
kept that could not come. A message of type ``exception`` or ``error`` becomes a frame with the event
``error`` and ``{"type", "message"}`` as data. Payloads that are raw bytes, as containers of SageMaker
send them, are the pieces of a body of its own.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence

import orjson

from flowllm.backends.framing import Counted, Frame, JsonForm, Limits, Sniffed, check_text, too_large
from flowllm.core.errors import ProviderFailure

MOST_HEADERS = 128 * 1024
_PRELUDE = struct.Struct(">III")
_CHECKSUM = 4
_LEAST = _PRELUDE.size + _CHECKSUM
# Bytes of a header's value by its type: true, false, byte, short, int, long, bytes, text, timestamp, uuid.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_COUNTED = frozenset({6, 7})
_TEXT = 7
_MOST_KNOWN = 16
_RAW = "application/octet-stream"


class EventStream(Counted):
    """Messages to frames; ``event`` is the message's type of event."""

    __slots__ = ("_body", "_buffer", "_failure", "_known", "_need")

    def __init__(self, limits: Limits | None = None, json: JsonForm = "whole") -> None:
        super().__init__(limits)
        self._buffer = bytearray()
        self._need = _PRELUDE.size
        self._body = Sniffed(limits, json, binary=False)
        self._failure: ProviderFailure | None = None
        self._known: dict[bytes, dict[str, str]] = {}

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """The frames of the messages that ``chunk`` completes; what is damaged behind them is raised after them."""
        self._raise()
        self._count(chunk)
        self._buffer += chunk
        frames: list[Frame] = []
        try:
            while len(self._buffer) >= self._need:
                frames.extend(self._step())
        except ProviderFailure as failure:
            self._failure = failure
        if not frames:
            self._raise()
        return frames

    def finish(self) -> Sequence[Frame]:
        """What the end of a body inside the messages completes; a message that broke off is left out."""
        self._raise()
        left = bool(self._buffer)
        self._buffer.clear()
        frames = self._body.finish()
        self.cut = left or self._body.cut
        return frames

    def _raise(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _step(self) -> Sequence[Frame]:
        """Learn the length of the next message, or take it."""
        if self._need == _PRELUDE.size:
            self._need = self._total()
            return ()
        message = bytes(self._buffer[: self._need])
        del self._buffer[: self._need]
        self._need = _PRELUDE.size
        return self._frames(message)

    def _total(self) -> int:
        """The length of the next message."""
        total, headers, checksum = _PRELUDE.unpack_from(self._buffer)
        if zlib.crc32(self._buffer[:8]) != checksum:
            raise _damaged("the checksum of its lengths does not hold")
        if headers > MOST_HEADERS or headers + _LEAST > total:
            raise _damaged(f"{headers} bytes of headers in a message of {total}")
        if total > self._limits.event:
            raise too_large("an event", self._limits.event)
        return int(total)

    def _frames(self, message: bytes) -> Sequence[Frame]:
        (checksum,) = struct.unpack_from(">I", message, len(message) - _CHECKSUM)
        if zlib.crc32(message[:-_CHECKSUM]) != checksum:
            raise _damaged("the checksum of a message does not hold")
        (end,) = struct.unpack_from(">I", message, 4)
        end += _PRELUDE.size
        headers = self._headers(message[_PRELUDE.size : end])
        payload = message[end:-_CHECKSUM]
        self.beats += 1
        if headers.get(":message-type", "event") != "event":
            return (_error(headers, payload),)
        if headers.get(":content-type") == _RAW:
            return self._body.feed(payload)
        check_text(payload)
        return (Frame(payload, headers.get(":event-type", "")),) if payload else ()

    def _headers(self, block: bytes) -> dict[str, str]:
        """The headers; a stream repeats a few blocks of them over and over."""
        found = self._known.get(block)
        if found is None:
            found = dict(_headers(block))
            if len(self._known) < _MOST_KNOWN:
                self._known[block] = found
        return found


def _headers(block: bytes) -> Iterator[tuple[str, str]]:
    """Names and values; a value that is no text is skipped."""
    place = 0
    try:
        while place < len(block):
            start = place + 1 + block[place]
            name, kind = block[place + 1 : start].decode(), block[start]
            place = start + 1
            size = _SIZES[kind] if kind not in _COUNTED else int.from_bytes(_exactly(block, place, 2), "big")
            place += 2 if kind in _COUNTED else 0
            value = _exactly(block, place, size)
            place += size
            if kind == _TEXT:
                yield name, value.decode()
    except (KeyError, IndexError, UnicodeDecodeError):
        raise _damaged(f"headers that cannot be read at byte {place}") from None


def _exactly(block: bytes, place: int, size: int) -> bytes:
    if place + size > len(block):
        raise IndexError
    return block[place : place + size]


def _error(headers: dict[str, str], payload: bytes) -> Frame:
    """An exception of the service, or an error of the stream itself, in one shape."""
    kind = headers.get(":exception-type") or headers.get(":error-code") or ""
    message = headers.get(":error-message", "")
    try:
        told = orjson.loads(payload)
        message = (told.get("message") or told.get("Message") or message) if isinstance(told, dict) else message
    except orjson.JSONDecodeError:
        message = message or payload.decode("utf-8", "replace")
    return Frame(orjson.dumps({"type": kind, "message": str(message)}), "error")


def _damaged(what: str) -> ProviderFailure:
    return ProviderFailure("invalid_response", f"the answer is damaged on its way: {what}")
