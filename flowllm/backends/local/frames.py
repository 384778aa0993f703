"""Messages between this process and that of an isolated model: a JSON header and arrays as their bytes.

A message is the length of its header (four bytes), the header, and the arrays that the header lists, one after the
other. Nothing that is read is run: types are numbers of a fixed size, lengths follow from shapes and are bounded.
"""

from collections.abc import Mapping
from typing import IO, Any

import orjson

_HEADER = 4
_LIMIT = 2**32
"""Bytes of an array at most."""
_MOST = 2**26
"""Bytes of a header at most."""


class Ended(Exception):
    """The other process ended, or what it sent is no message."""


def packed(header: Mapping[str, Any], arrays: Mapping[str, Any] | None = None) -> list[Any]:
    """A message as pieces of bytes, one behind the other."""
    listed, pieces = [], []
    for name, array in (arrays or {}).items():
        row = _plain(array)
        listed.append([name, row.dtype.str, list(row.shape)])
        pieces.append(row)
    text = orjson.dumps({**header, "arrays": listed})
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
        arrays = {name: _array(stream, kind, shape) for name, kind, shape in header.pop("arrays")}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Ended(str(error)) from None
    return header, arrays


def _plain(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array)


def _bytes(row: Any) -> Any:
    import numpy as np

    return row.reshape(-1).view(np.uint8).data


def _array(stream: IO[bytes], kind: str, shape: list[int]) -> Any:
    import numpy as np

    dtype = np.dtype(kind)
    size = dtype.itemsize
    for count in shape:
        size *= int(count)
    if dtype.kind not in "iufb" or min(shape, default=0) < 0 or size > _LIMIT:
        raise Ended("an array that cannot be")
    return np.frombuffer(_exactly(stream, size), dtype=dtype).reshape(shape)


def _exactly(stream: IO[bytes], length: int) -> bytes:
    found = stream.read(length)
    if found is None or len(found) < length:
        raise Ended("it ended")
    return found
