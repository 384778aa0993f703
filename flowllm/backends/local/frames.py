"""Messages between this process and that of an isolated model: a JSON header and arrays as their bytes.

A message is the length of its header (four bytes), the header, and the arrays that the header lists, one after the
other. Nothing that is read is run: types are numbers of a fixed size, lengths follow from shapes and are bounded.
"""

import math
import re
from collections.abc import Mapping
from typing import IO, Any

import orjson

_HEADER = 4
_LIMIT = 2**32
"""Bytes of all arrays of a message at most."""
_AXES = 32
_NUMBERS = re.compile(r"[<>|][iufb][1248]", re.ASCII)
_MOST = 2**26
"""Bytes of a header at most."""


class Ended(Exception):
    """The other process ended, or what it sent is no message."""


class Unsendable(Exception):
    """What is to be sent cannot be a message; the text says why."""


class TooLong(Unsendable):
    """More than is sent in one message."""


def packed(header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> list[Any]:
    """A message as pieces of bytes, one behind the other; `Unsendable` for what JSON cannot hold.

    `TooLong` for a header that the other side would not take.
    """
    listed, pieces = [], []
    for name, array in (arrays or {}).items():
        row = _plain(array)
        listed.append([name, row.dtype.str, list(row.shape)])
        pieces.append(row)
    try:
        text = orjson.dumps({**header, "arrays": listed})
    except orjson.JSONEncodeError as error:
        raise Unsendable(str(error)) from None
    if len(text) > _MOST:
        message = f"it has {len(text) / 2**20:.1f} MiB, and {_MOST // 2**20} MiB are told at most"
        raise TooLong(message)
    return [len(text).to_bytes(_HEADER, "big") + text, *(_bytes(row) for row in pieces if row.size)]


def write(stream: IO[bytes], header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> None:
    """Send a message."""
    stream.writelines(packed(header, arrays))
    stream.flush()


def read(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The next message; `Ended` where there is none."""
    length = int.from_bytes(_exactly(stream, _HEADER), "big")
    if length > _MOST:
        raise Ended("a header that is too long")
    try:
        header = orjson.loads(_exactly(stream, length))
        forms = {name: (kind, shape, _size(kind, shape)) for name, kind, shape in header.pop("arrays")}
        if sum(size for _, _, size in forms.values()) > _LIMIT:
            raise Ended("arrays that are too large")
        arrays = {name: _array(_exactly(stream, size), kind, shape) for name, (kind, shape, size) in forms.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Ended(str(error)) from None
    return header, arrays


def _plain(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array)


def _bytes(row: Any) -> Any:
    import numpy as np

    return row.reshape(-1).view(np.uint8).data


def _size(kind: str, shape: list[int]) -> int:
    """Bytes of an array."""
    fits = len(shape) <= _AXES and all(isinstance(count, int) and 0 <= count <= _LIMIT for count in shape)
    if not fits or not _NUMBERS.fullmatch(kind):
        raise Ended("an array that cannot be")
    return int(kind[-1]) * math.prod(shape)


def _array(content: bytes, kind: str, shape: list[int]) -> Any:
    import numpy as np

    return np.frombuffer(content, dtype=kind).reshape(shape)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    found = stream.read(length)
    if found is None or len(found) < length:
        raise Ended("it ended")
    return found
