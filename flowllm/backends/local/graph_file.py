"""What an ONNX file says of itself, read from its bytes without the package onnx and without its weights.

Inputs, outputs, the types of its weights, the operators in use and the files beside it that hold weights
(external data). A file that is no whole ONNX graph is `SetupError`. The bytes are mapped, not read: weights
are passed over by their length. What is read is not trusted: lengths are checked, nesting and sizes are bounded,
and wherever ONNX Runtime would find the name of a file, it is found here.
"""

import math
import mmap
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from flowllm.core.errors import SetupError
from flowllm.core.record import record

AGAIN = "get the file again; a download that was cut off is shorter than it should be"
_DEPTH = 16
"""Graphs inside of nodes, at most."""
_DIMENSIONS, _LONGEST = 16, 2**40
"""Dimensions of a tensor, and how long each may be, at most."""
_KEYS = 2**32
"""Keys of fields end here: readers of protobuf drop what is above, so that a field could hide from this one."""
_TYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16", 17: "float8", 18: "float8",
    19: "float8", 20: "float8", 21: "uint4", 22: "int4", 23: "float4",
}  # fmt: skip
_NUMBER = re.compile(r"[0-9]{1,18}")
_VARINT, _WIDE, _BYTES, _NARROW = 0, 1, 2, 5


@record
class Port:
    """An input or output: its element type (``float32``, ``int64``) and shape; None is a size that varies."""

    name: str
    type: str
    shape: tuple[int | None, ...] = ()


@record
class GraphFile:
    """``weights`` counts elements by type, ``operators`` nodes by operator; ``external`` are places as written.

    ``reach`` tells of each of these how many bytes the graph surely reads from there.
    ``bits`` is the width of weights in blocks (MatMulNBits), 0 where there are none.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights: dict[str, int]
    operators: dict[str, int]
    external: tuple[str, ...]
    bits: int = 0
    reach: tuple[int, ...] = ()


@dataclass(slots=True)
class _Found:
    inputs: list[Port] = field(default_factory=list)
    outputs: list[Port] = field(default_factory=list)
    weights: Counter[str] = field(default_factory=Counter)
    operators: Counter[str] = field(default_factory=Counter)
    external: dict[str, int] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    bits: int = 0


def read_graph(path: Path) -> GraphFile:
    """Read the file, once as long as it does not change; `SetupError` where it is broken or not there."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        raise SetupError("missing_model_file", f"there is no {path}") from None
    return _read(path, facts.st_mtime_ns, facts.st_size)


@lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> GraphFile:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = _model(_Bytes(data, 0, len(data)))
    except (ValueError, OSError, UnicodeDecodeError) as error:
        raise broken(path, str(error)) from None
    # Old files list their weights among the inputs.
    inputs = tuple(port for port in found.inputs if port.name not in found.named)
    weights, operators = dict(found.weights), dict(found.operators)
    external, reach = tuple(found.external), tuple(found.external.values())
    return GraphFile(inputs, tuple(found.outputs), weights, operators, external, found.bits, reach)


def broken(path: Path, why: str) -> SetupError:
    """A file that is no model that can be used."""
    return SetupError("bad_model_file", f"{path} is no ONNX model that can be read: {why}", hint=AGAIN)


@record
class _Bytes:
    """A part of a file, as protobuf fields."""

    data: mmap.mmap
    start: int
    end: int

    def fields(self) -> Iterator[tuple[int, "_Bytes | int"]]:
        """Numbers of fields with a number or the part that holds them; ValueError where they do not end here.

        Fields of four or eight bytes are passed over: nothing that is read here is one.
        """
        at = self.start
        while at < self.end:
            key, at = self._varint(at)
            kind = key & 7
            if key >= _KEYS:
                raise ValueError("it is no protobuf")
            if kind == _VARINT:
                value, at = self._varint(at)
                yield key >> 3, value
                continue
            if kind not in (_WIDE, _BYTES, _NARROW):
                raise ValueError("it is no protobuf")
            length, at = self._varint(at) if kind == _BYTES else (8 if kind == _WIDE else 4, at)
            if at + length > self.end:
                message = f"it ends {at + length - self.end} bytes too early"
                raise ValueError(message)
            if kind == _BYTES:
                yield key >> 3, _Bytes(self.data, at, at + length)
            at += length

    def parts(self, number: int) -> "Iterator[_Bytes]":
        """Every part with a field's number."""
        return (value for found, value in self.fields() if found == number and isinstance(value, _Bytes))

    def text(self) -> str:
        """The part as text."""
        return self.data[self.start : self.end].decode()

    def last_text(self, number: int) -> str:
        """The text of a field, the last one where it is there again, as protobuf has it; empty where it is absent."""
        found = ""
        for part in self.parts(number):
            found = part.text()
        return found

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for shift in range(0, 70, 7):
            if at >= self.end:
                raise ValueError("it ends in the middle of a number")
            byte = self.data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:  # noqa: PLR2004
                return value, at
        raise ValueError("it holds a number without an end")

    def numbers(self) -> Iterator[int]:
        """The part as packed numbers."""
        at = self.start
        while at < self.end:
            value, at = self._varint(at)
            yield value


def _model(part: _Bytes) -> _Found:
    found, graphs = _Found(), 0
    for number, value in part.fields():
        if number == 7 and isinstance(value, _Bytes):  # noqa: PLR2004  ModelProto.graph
            graphs += 1
            _graph(value, found, 0)
        elif number == 25 and isinstance(value, _Bytes):  # noqa: PLR2004  ModelProto.functions
            for node in value.parts(7):
                _node(node, found, 1)
            for default in value.parts(11):
                _attribute(default, found, 1)
    if graphs != 1 or not found.outputs:
        raise ValueError("it holds no graph")
    return found


def _graph(part: _Bytes, found: _Found, depth: int) -> None:
    if depth > _DEPTH:
        raise ValueError("its graphs are nested too deep")
    for number, value in part.fields():
        if not isinstance(value, _Bytes):
            continue
        if number == 1:
            _node(value, found, depth)
        elif number == 5:  # noqa: PLR2004  initializer
            _tensor(value, found)
        elif number == 15:  # noqa: PLR2004  sparse_initializer
            _sparse(value, found)
        elif number in (11, 12) and depth == 0:
            (found.inputs if number == 11 else found.outputs).append(_port(value))  # noqa: PLR2004


def _node(part: _Bytes, found: _Found, depth: int) -> None:
    operator = ""
    for number, value in part.fields():
        if number == 4 and isinstance(value, _Bytes):  # noqa: PLR2004  op_type
            operator = value.text()
            found.operators[operator] += 1
        elif number == 5 and isinstance(value, _Bytes):  # noqa: PLR2004  attribute
            _attribute(value, found, depth)


def _attribute(part: _Bytes, found: _Found, depth: int) -> None:
    name, number_held = "", 0
    for number, value in part.fields():
        if isinstance(value, int):
            number_held = value if number == 3 else number_held  # noqa: PLR2004  i
        elif number == 1:
            name = value.text()
        elif number in (5, 10):
            _tensor(value, found)
        elif number in (6, 11):
            _graph(value, found, depth + 1)
        elif number in (22, 23):
            _sparse(value, found)
    if name == "bits":
        found.bits = max(found.bits, number_held)


def _sparse(part: _Bytes, found: _Found) -> None:
    """Its values and their places, both of them tensors."""
    for number in (1, 2):
        for tensor in part.parts(number):
            _tensor(tensor, found)


def _tensor(part: _Bytes, found: _Found) -> None:
    dimensions: list[int] = []
    kind, outside = 0, False
    entries: dict[str, str] = {}
    for number, value in part.fields():
        if number == 1:
            _add_dimensions(dimensions, value.numbers() if isinstance(value, _Bytes) else (value,))
        elif number == 2 and isinstance(value, int):  # noqa: PLR2004  data_type
            kind = value
        elif number == 8 and isinstance(value, _Bytes):  # noqa: PLR2004  name
            found.named.add(value.text())
        elif number == 13 and isinstance(value, _Bytes):  # noqa: PLR2004  external_data
            word, said = value.last_text(1), value.last_text(2)
            entries[word] = said
            if word == "location":
                found.external.setdefault(said, 0)
        elif number == 14 and isinstance(value, int):  # noqa: PLR2004  data_location
            outside = value == 1
    found.weights[_TYPES.get(kind, "other")] += math.prod(dimensions)
    if outside and not found.external:
        raise ValueError("it keeps weights elsewhere and does not say where")
    if "location" in entries:
        place, end = entries["location"], sum(map(_number, (entries.get("offset"), entries.get("length"))))
        found.external[place] = max(found.external[place], end)


def _number(text: str | None) -> int:
    """A place or a length that a file gives; 0 for none, and for what is no number."""
    return int(text) if text is not None and _NUMBER.fullmatch(text) else 0


def _add_dimensions(known: list[int], more: Iterable[int]) -> None:
    for dimension in more:
        known.append(dimension)
        if dimension > _LONGEST or len(known) > _DIMENSIONS:
            raise ValueError("it holds a tensor of more than any machine has room for")


def _port(part: _Bytes) -> Port:
    name = next((one.text() for one in part.parts(1)), "")
    for tensor in (tensor for type_ in part.parts(2) for tensor in type_.parts(1)):
        kind = next((value for number, value in tensor.fields() if number == 1 and isinstance(value, int)), 0)
        shape = tuple(_size(dimension) for shape in tensor.parts(2) for dimension in shape.parts(1))
        return Port(name, _TYPES.get(kind, "other"), shape)
    return Port(name, "other")


def _size(part: _Bytes) -> int | None:
    return next((value for number, value in part.fields() if number == 1 and isinstance(value, int)), None)
