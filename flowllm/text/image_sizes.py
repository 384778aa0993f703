"""The width and height of an image in pixels from the first bytes of its file: PNG, JPEG, GIF, WebP and BMP.

Nothing is decoded but numbers of the header; what is no such header, or is cut off, has no known size.
"""

import base64
import binascii
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

Size = tuple[int, int]

_HEAD: Final = 256 * 1024
"""Bytes in which a size has to stand: before it a JPEG may hold a preview and profiles of colour."""
_MOST: Final = 1_000_000
"""Pixels of a side; what says more is no image."""


def size_of_image(image: Mapping[str, Any]) -> Size | None:
    """The size of ``{"media_type", "data"}`` with base64 data; None for an address or where it is not known."""
    data = image.get("data")
    return size_of(_decoded(data)) if isinstance(data, str) else None


def size_of(head: bytes) -> Size | None:
    """Width and height by the first bytes of a file; None for what is not known."""
    try:
        found = next((read(head) for mark, read in _READERS if head.startswith(mark)), None)
    except (struct.error, IndexError):
        return None
    return found if found and all(0 < side <= _MOST for side in found) else None


def _decoded(data: str) -> bytes:
    piece = data[: _HEAD // 3 * 4]
    try:
        return base64.b64decode(piece[: len(piece) // 4 * 4])
    except (binascii.Error, ValueError):
        return b""


def _png(head: bytes) -> Size | None:
    width, height = struct.unpack_from(">II", head, 16)
    return (width, height) if head[12:16] == b"IHDR" else None


def _gif(head: bytes) -> Size | None:
    width, height = struct.unpack_from("<HH", head, 6)
    return width, height


def _bmp(head: bytes) -> Size | None:
    width, height = struct.unpack_from("<ii", head, 18)
    return width, abs(height)


def _webp(head: bytes) -> Size | None:
    kind = head[12:16]
    if head[8:12] != b"WEBP":
        return None
    if kind == b"VP8X":
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L":
        bits = struct.unpack_from("<I", head, 21)[0]
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", head, 26)
    return width & 0x3FFF, height & 0x3FFF


_MARK: Final = 0xFF
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(head: bytes) -> Size | None:
    for marker, at in _segments(head):
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", head, at + 5)
            return width, height
    return None


def _segments(head: bytes) -> Iterator[tuple[int, int]]:
    """Markers and where their lengths begin less two, up to the image's own data."""
    at = 2
    while at + 4 <= len(head) and head[at] == _MARK:
        if head[at + 1] == _MARK:
            at += 1
            continue
        yield head[at + 1], at
        at += 2 + max(2, struct.unpack_from(">H", head, at + 2)[0])


_READERS: Final = (
    (b"\x89PNG\r\n\x1a\n", _png),
    (b"\xff\xd8", _jpeg),
    (b"GIF8", _gif),
    (b"RIFF", _webp),
    (b"BM", _bmp),
)
