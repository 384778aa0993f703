"""Bytes to frames, without any I/O: server-sent events, lines of JSON, or one whole body; `items` are elsewhere.

A framing is fed the chunks of one body as they arrive and gives the frames that are complete, the
same ones however the bytes were cut. It never splits text at anything but CR and LF, counts what it
was given, and refuses what is larger than its `Limits`. What is not UTF-8 is a `decode_error`.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import orjson

from flowllm.core.errors import ProviderFailure
from flowllm.core.record import record

MEBIBYTE = 1024 * 1024
BOM = b"\xef\xbb\xbf"
_FIELDS = (b"data", b"event", b"id", b"retry")
JsonForm = Literal["whole", "lines", "items"]
"""What a body of JSON is: one frame, a frame a line, or a frame an item of the array that it is."""


@record
class Limits:
    """The largest line, event and body, in bytes after decompression."""

    line: int = MEBIBYTE
    event: int = 4 * MEBIBYTE
    body: int = 64 * MEBIBYTE


@record(frozen=False)
class Frame:
    """One event, line or body: ``data`` is valid UTF-8; ``event`` and ``id`` as sent, else empty.

    ``whole``: there are no other frames.
    """

    data: bytes
    event: str = ""
    id: str = ""
    whole: bool = False


class Framing(Protocol):
    """What all framings can do. ``beats`` counts signs of life, comments among them.

    ``cut``: the body ended inside of a frame, of which nothing is given; known when it is finished.
    """

    beats: int

    @property
    def cut(self) -> bool: ...  # noqa: D102  above

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """The frames that ``chunk`` completes."""
        ...

    def finish(self) -> Sequence[Frame]:
        """The frame that the end of the body completes, if any."""
        ...


class Counted:
    """Counts the bytes of a body."""

    __slots__ = ("_limits", "_seen", "beats", "cut")

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._seen = 0
        self.beats = 0
        self.cut = False

    def _count(self, chunk: bytes) -> None:
        self._seen += len(chunk)
        if self._seen > self._limits.body:
            message = f"the answer is larger than {self._limits.body} bytes"
            raise ProviderFailure("body_too_large", message)


class Whole(Counted):
    """The whole body is one frame; an empty or blank one is none."""

    __slots__ = ("_parts",)

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._parts: list[bytes] = []

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """Keep it."""
        self._count(chunk)
        self._parts.append(chunk)
        return ()

    def finish(self) -> Sequence[Frame]:
        """The body."""
        body = b"".join(self._parts).removeprefix(BOM).strip()
        self._parts = []
        check_text(body)
        return (Frame(body, whole=True),) if body else ()


class Sse(Counted):
    """Server-sent events as WHATWG parses them, with two leniencies.

    An event whose blank line is missing at the end of the body is given too, where its last line is complete or
    holds whole JSON: its text would be lost where a provider marks no end. ``retry`` and unknown fields are
    ignored; where nothing else came, it is given as a whole body, for the decoder to refuse.
    """

    __slots__ = ("_after_cr", "_buffer", "_foreign", "_given", "_head", "_scanned", "last_id")

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._buffer = bytearray()
        self._scanned = 0
        self._head: bytes | None = b""
        self._after_cr = False
        self._given = False
        self._foreign = b""
        self.last_id = ""

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """The events that ``chunk`` completes."""
        self._count(chunk)
        if self._head is not None:
            chunk = self._without_bom(chunk)
        if self._after_cr or b"\r" in chunk:
            chunk = self._with_line_feeds(chunk)
        buffer = self._buffer
        buffer += chunk
        end = buffer.rfind(b"\n\n", self._scanned)
        if end < 0:
            self._scanned = max(0, len(buffer) - 1)
            self._check_rest()
            return ()
        complete = bytes(buffer[:end])
        del buffer[: end + 2]
        self._scanned = max(0, len(buffer) - 1)
        if buffer:
            self._check_rest()
        return self._events(complete)

    def finish(self) -> Sequence[Frame]:
        """An event that lacks nothing but its blank line, or what came in place of all events."""
        rest, _, last = (self._head or bytes(self._buffer)).rpartition(b"\n")
        self._buffer.clear()
        if (_is_field(last) and not _is_whole(last)) or not _is_text(last):
            self.cut = True
            return ()
        frames = self._events(b"\n".join((rest.rstrip(b"\n"), last)).strip(b"\n"))
        self.cut = not frames and b"\nevent:" in b"\n" + rest
        if self._foreign and not self._given:
            return (Frame(self._foreign, whole=True),)
        return frames

    def _without_bom(self, chunk: bytes) -> bytes:
        head = (self._head or b"") + chunk
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(BOM)

    def _with_line_feeds(self, chunk: bytes) -> bytes:
        if not chunk:
            return chunk
        if self._after_cr:
            chunk = chunk.removeprefix(b"\n")
            if not chunk:
                self._after_cr = False
                return chunk
        self._after_cr = chunk.endswith(b"\r")
        return chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _check_rest(self) -> None:
        size, limits = len(self._buffer), self._limits
        if size > limits.event:
            raise too_large("an event", limits.event)
        if size > limits.line and size - self._buffer.rfind(b"\n") - 1 > limits.line:
            raise too_large("a line", limits.line)

    def _check_block(self, block: bytes) -> None:
        limits = self._limits
        if len(block) > limits.event:
            raise too_large("an event", limits.event)
        if max(map(len, block.split(b"\n"))) > limits.line:
            raise too_large("a line", limits.line)

    def _events(self, complete: bytes) -> Sequence[Frame]:
        check_text(complete)
        frames: list[Frame] = []
        for block in complete.split(b"\n\n"):
            self.beats += 1
            if len(block) > self._limits.line:
                self._check_block(block)
            if len(block) > 6 and block.startswith(b"data: ") and b"\n" not in block:  # noqa: PLR2004
                frames.append(Frame(block[6:], "", self.last_id))
            elif block and (frame := self._event(block)) is not None:
                frames.append(frame)
        self._given = self._given or bool(frames)
        return frames

    def _event(self, block: bytes) -> Frame | None:
        data: list[bytes] = []
        event = ""
        for line in block.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"event":
                event = value.decode()
            elif name == b"id" and b"\0" not in value:
                self.last_id = value.decode()
            elif not self._foreign and name and name not in _FIELDS:
                self._foreign = block
        return Frame(b"\n".join(data), event, self.last_id) if len(data) > 1 or any(data) else None


class Lines(Counted):
    """Lines of JSON; blank lines are skipped, the last one needs no line feed."""

    __slots__ = ("_buffer", "_scanned")

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(limits)
        self._buffer = bytearray()
        self._scanned = 0

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """The lines that ``chunk`` completes."""
        self._count(chunk)
        buffer = self._buffer
        buffer += chunk
        end = buffer.rfind(b"\n", self._scanned)
        complete = bytes(buffer[:end]) if end >= 0 else b""
        del buffer[: end + 1]
        self._scanned = len(buffer)
        if len(buffer) > self._limits.event:
            raise too_large("a line", self._limits.event)
        return self._frames(complete)

    def finish(self) -> Sequence[Frame]:
        """What stands after the last line feed."""
        rest = bytes(self._buffer)
        self._buffer.clear()
        self.cut = bool(rest.strip()) and not _is_json(rest)
        return () if self.cut else self._frames(rest)

    def _frames(self, complete: bytes) -> Sequence[Frame]:
        check_text(complete)
        lines = [line.strip() for line in complete.split(b"\n")]
        self.beats += len(lines)
        if max(map(len, lines)) > self._limits.event:
            raise too_large("a line", self._limits.event)
        return [Frame(line) for line in lines if line]


class Sniffed(Counted):
    """Events or JSON, whatever the first byte says: content types are not to be trusted.

    JSON starts with a bracket, markup with ``<`` and the binary stream of Amazon with a zero; an event
    stream starts with none of them. ``json`` is what JSON is taken for; ``binary`` False expects text.
    """

    __slots__ = ("_binary", "_inner", "_json", "_start")

    def __init__(self, limits: Limits | None = None, json: JsonForm = "whole", *, binary: bool = True) -> None:
        super().__init__(limits)
        self._json = json
        self._binary = binary
        self._inner: Framing | None = None
        self._start = b""

    def feed(self, chunk: bytes) -> Sequence[Frame]:
        """The frames that ``chunk`` completes."""
        if self._inner is None:
            self._start += chunk
            first = self._start.removeprefix(BOM).lstrip()[:1]
            if not first or BOM.startswith(self._start):
                self._count(chunk)
                return ()
            self._inner = self._framing(first)
            chunk, self._start = self._start, b""
        frames = self._inner.feed(chunk)
        self.beats = self._inner.beats
        return frames

    def _framing(self, first: bytes) -> Framing:
        if first == b"\0" and self._binary:
            from flowllm.backends.event_stream import EventStream

            return EventStream(self._limits, self._json)
        if first not in b"{[<":
            return Sse(self._limits)
        if first == b"<" or self._json == "whole":
            return Whole(self._limits)
        if self._json == "lines":
            return Lines(self._limits)
        from flowllm.backends.items import Items

        return Items(self._limits)

    @property
    def blank(self) -> bool:
        """Whether nothing but blanks came."""
        return self._inner is None

    def finish(self) -> Sequence[Frame]:
        """The frame that the end of the body completes, if any."""
        frames = self._inner.finish() if self._inner is not None else ()
        self.cut = self._inner is not None and self._inner.cut
        return frames


def _is_field(line: bytes) -> bool:
    """Whether a line is a field of an event, or the beginning of one."""
    name, colon, _ = line.partition(b":")
    return bool(line) and (name in _FIELDS if colon else any(field.startswith(name) for field in _FIELDS))


def _is_whole(line: bytes) -> bool:
    """Whether a line of an event lacks nothing but its end."""
    name, _, value = line.partition(b":")
    return name == b"data" and (value.strip() == b"[DONE]" or (value.strip()[:1] in (b"{", b"[") and _is_json(value)))


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def check_text(data: bytes) -> None:
    """`decode_error` where it is not UTF-8."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        message = f"the answer is not UTF-8 at byte {error.start}: {data[error.start : error.start + 4]!r}"
        raise ProviderFailure("decode_error", message) from None


def too_large(what: str, limit: int) -> ProviderFailure:
    """``what`` is larger than ``limit`` bytes."""
    message = f"{what} of the answer is larger than {limit} bytes"
    return ProviderFailure("event_too_large", message, hint="ask for a shorter answer: max_output_tokens: 8000")
