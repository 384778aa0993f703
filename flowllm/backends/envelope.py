"""Values as bytes and back, without a format that could run code: what every cache entry looks like.

    "FL1" | crc32 of key and rest, 4 bytes | length of the JSON, 4 bytes | JSON | blobs

The JSON is ``[value, [[path, length], ...]]``: bytes inside the value stand behind it, in order, and
each path says where one belongs. No mark inside the value has a meaning, so a mapping with any keys
comes back as it was. Arrays come back as lists.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Any

import orjson

MAGIC = b"FL1"
_HEAD = struct.Struct(f">{len(MAGIC)}sII")
_CHECKED = _HEAD.size - 4
"""Where that begins which the checksum covers: the length and all behind it."""
_OPTIONS = (
    orjson.OPT_SERIALIZE_NUMPY
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
    | orjson.OPT_PASSTHROUGH_SUBCLASS
)
Path = tuple[str | int, ...]


class Unreadable(ValueError):
    """Bytes that `pack` did not make, or that changed since."""


def pack(key: str, value: Any) -> bytes:
    """A JSON-like value, with bytes anywhere, as bytes; TypeError for anything else."""
    try:
        text, blobs = orjson.dumps([value, []], option=_OPTIONS), []
    except TypeError:
        blobs = list(_blobs(value, ()))
        places = [[list(path), len(blob)] for path, blob in blobs]
        text = orjson.dumps([_without_bytes(value), places], option=_OPTIONS)
    rest = b"".join((len(text).to_bytes(4, "big"), text, *(blob for _, blob in blobs)))
    return MAGIC + _checksum(key, rest).to_bytes(4, "big") + rest


def unpack(key: str, data: bytes) -> Any:
    """The value that was packed for ``key``; `Unreadable` for anything else."""
    if not data.startswith(MAGIC) or len(data) < _HEAD.size:
        raise Unreadable("no entry of this version")
    _, checksum, length = _HEAD.unpack_from(data)
    view = memoryview(data)
    if checksum != _checksum(key, view[_CHECKED:]):
        raise Unreadable("the entry was changed")
    return _value(view[_HEAD.size :], length)


def unpack_own(data: bytes) -> Any:
    """The value of bytes that this process packed, or that `unpack` has accepted before."""
    length: int = _HEAD.unpack_from(data)[-1]
    return _value(memoryview(data)[_HEAD.size :], length)


def _value(body: memoryview, length: int) -> Any:
    """What stands behind the head: JSON of ``length`` bytes, then blobs."""
    try:
        value, places = orjson.loads(body[:length])
        return _with_bytes(value, places, body[length:]) if places else value
    except (ValueError, TypeError, LookupError) as error:
        raise Unreadable("the entry is broken") from error


def _checksum(key: str, rest: bytes | memoryview) -> int:
    return zlib.crc32(rest, zlib.crc32(key.encode()))


def _blobs(value: Any, path: Path) -> Iterator[tuple[Path, bytes]]:
    if isinstance(value, bytes):
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _blobs(item, (*path, name))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _blobs(item, (*path, index))


def _without_bytes(value: Any) -> Any:
    if isinstance(value, bytes):
        return None
    if isinstance(value, dict):
        return {name: _without_bytes(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_bytes(item) for item in value]
    return value


def _with_bytes(value: Any, places: list[Any], blobs: memoryview) -> Any:
    root, start = [value], 0
    for path, length in places:
        holder, last = root, 0
        for step in path:
            holder, last = holder[last], step
        holder[last] = bytes(blobs[start : start + length])
        start += length
    return root[0]
