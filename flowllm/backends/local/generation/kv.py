"""The past of the answers in work, and the runs of the model over it: one row of the batch for each answer.

`cache_of` gives the way that a graph needs. `SharedCache`: one buffer ``[rows, heads, room, size]`` a layer, which the
graph writes in place; a row is read into while the others are written on. `GrownCache`: the graph gives a new past
each time, so rows are put side by side, padded on the left, when one joins. `SingleCache`: graphs that count
positions for themselves cannot be padded, so rows run one by one.

Only the worker of a model uses its cache. Logits are float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from flowllm.backends.local.generation.graph import Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROOM = 256
"""Tokens that a shared buffer is made for at first; it doubles when they do not suffice."""


class Stepped(NamedTuple):
    """Logits of shape (places, vocabulary), good until the next run, and the place of each row in them."""

    logits: "NDArray[Any]"
    places: dict[int, int]


class Cache(Protocol):
    """Rows by number; a row is free until it is begun, and again once it is dropped."""

    def begin(self, row: int, most: int) -> None:
        """Take a row into use, for ``most`` tokens in all."""
        ...

    def read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        """Go on with the prompt of a row; the logits after its last token, of shape (vocabulary,)."""
        ...

    def step(self, tokens: dict[int, int]) -> "Stepped":
        """One more token for each row named."""
        ...

    def drop(self, row: int) -> None:
        """Forget a row."""
        ...


def cache_of(decoder: Decoder) -> Cache:
    """The cache that fits a graph."""
    if decoder.shared:
        return SharedCache(decoder)
    return GrownCache(decoder) if decoder.positions else SingleCache(decoder)


class SharedCache:
    """One buffer for past and present. On the processor the last row moves into the place of one that ended.

    A run goes over all rows up to the last one in use. A row among them that has nothing to say, for it is free or
    its prompt is still read, is given any token: what that writes is written over before it is ever read.
    """

    def __init__(self, decoder: Decoder, buffer: "type[Local | Resident] | None" = None) -> None:
        self._decoder = decoder
        self._buffer = buffer or (Local if decoder.device == "cpu" else Resident)
        self._room = 0
        self._buffers: Sequence[Local | Resident] = ()
        self._lengths: list[int] = []
        self._used: list[bool] = []
        self._place: dict[int, int] = {}
        self._binding = decoder.session.io_binding()
        self._bound: tuple[int, int, int] | None = None
        self._logits: NDArray[Any] | None = None

    def begin(self, row: int, most: int) -> None:
        """As `Cache`; room is made when it is needed."""
        if False in self._used:
            place = self._used.index(False)
        else:
            place = len(self._used)
            self._used.append(False)
            self._lengths.append(0)
        self._used[place], self._lengths[place], self._place[row] = True, 0, place

    def read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        """As `Cache`."""
        import numpy as np

        place = self._place[row]
        before = self._lengths[place]
        total = before + len(tokens)
        self._make_room(len(self._lengths), total)
        kind = self._decoder.whole
        feeds = {"input_ids": np.array([tokens], kind), "attention_mask": np.ones((1, total), kind)}
        if self._decoder.positions:
            feeds["position_ids"] = np.arange(before, total, dtype=kind)[None]
        logits = self._run(feeds, place, 1)
        self._lengths[place] = total
        last: NDArray[Any] = logits[0, -1]
        return last

    def step(self, tokens: dict[int, int]) -> Stepped:
        """As `Cache`."""
        import numpy as np

        places = {row: self._place[row] for row in tokens}
        # The mask is as wide as the longest row and no wider: some graphs turn positions otherwise from a length on.
        rows, wide, kind = len(self._lengths), max(self._lengths) + 1, self._decoder.whole
        self._make_room(rows, wide)
        ids = np.zeros((rows, 1), kind)
        for row, place in places.items():
            ids[place, 0] = tokens[row]
        mask = np.ones((rows, wide), kind)
        for place, length in enumerate(self._lengths if rows > 1 else ()):
            mask[place, length + 1 :] = 0
        feeds = {"input_ids": ids, "attention_mask": mask}
        if self._decoder.positions:
            feeds["position_ids"] = np.array(self._lengths, kind)[:, None]
        logits = self._run(feeds, 0, rows)
        for place in places.values():
            self._lengths[place] += 1
        return Stepped(logits[:, -1], places)

    def drop(self, row: int) -> None:
        """As `Cache`."""
        place = self._place.pop(row, None)
        if place is None:
            return
        self._lengths[place], self._used[place] = 0, False
        last = max((at for at, used in enumerate(self._used) if used), default=-1)
        if place < last and self._buffer.movable:
            self._move(last, place)
            last = max(at for at, used in enumerate(self._used) if used)
        del self._lengths[last + 1 :], self._used[last + 1 :]
        if not self._used:  # nobody writes: the memory goes back
            self._buffers, self._room, self._bound, self._logits = (), 0, None, None

    def _move(self, source: int, target: int) -> None:
        length = self._lengths[source]
        for buffer in self._buffers:
            array = buffer.held()
            array[target, :, :length] = array[source, :, :length]
        self._lengths[target], self._used[target] = length, True
        self._lengths[source], self._used[source] = 0, False
        row = next(row for row, place in self._place.items() if place == source)
        self._place[row] = target

    def _make_room(self, rows: int, length: int) -> None:
        held = self._buffers[0].rows if self._buffers else 0
        if rows <= held and length <= self._room:
            return
        while self._room < length:
            self._room = max(_ROOM, 2 * self._room)
        rows = held if rows <= held else max(rows, 2 * held)
        made = [self._buffer(self._decoder, rows, self._room) for _ in self._decoder.past]
        for new, old in zip(made, self._buffers, strict=False):
            new.fill(old.held(), max(self._lengths))
        self._buffers, self._bound = made, None

    def _run(self, feeds: "dict[str, NDArray[Any]]", first: int, rows: int) -> "NDArray[Any]":
        """One run over ``rows`` rows from the ``first`` on; logits of shape (rows, tokens, vocabulary)."""
        import numpy as np

        decoder, binding = self._decoder, self._binding
        if self._bound != (first, rows, self._room):
            self._bind(first, rows)
        for name, value in feeds.items():
            if name != "attention_mask" or decoder.masked:
                binding.bind_cpu_input(name, value)
        shape = (rows, feeds["input_ids"].shape[1], decoder.vocabulary)
        if self._logits is None or self._logits.shape != shape:
            self._logits = np.empty(shape, decoder.counts)
            binding.bind_output("logits", "cpu", 0, self._logits.dtype, shape, self._logits.ctypes.data)
        decoder.session.run_with_iobinding(binding)
        return self._logits.astype(np.float32, copy=False)

    def _bind(self, first: int, rows: int) -> None:
        """Give rows of the buffers to the graph, to read and to write."""
        import numpy as np

        decoder, kind = self._decoder, np.dtype(self._decoder.halves)
        shape = (rows, decoder.heads, self._room, decoder.size)
        start = first * kind.itemsize * decoder.heads * self._room * decoder.size
        for past, present, buffer in zip(decoder.past, decoder.present, self._buffers, strict=True):
            place = decoder.device, decoder.index, kind, shape, buffer.pointer + start
            self._binding.bind_input(past, *place)
            self._binding.bind_output(present, *place)
        self._bound = first, rows, self._room


class Local:
    """Past and present of one half of a layer: ``[rows, heads, room, size]`` at ``pointer``, in Python's reach."""

    movable: ClassVar[bool] = True

    def __init__(self, decoder: Decoder, rows: int, room: int) -> None:
        import numpy as np

        self.rows = rows
        self._array = np.zeros((rows, decoder.heads, room, decoder.size), decoder.halves)
        self.pointer = self._array.ctypes.data

    def held(self) -> "NDArray[Any]":
        """The array itself."""
        return self._array

    def fill(self, held: "NDArray[Any]", length: int) -> None:
        """Take over the first ``length`` tokens of the rows of a smaller one."""
        self._array[: len(held), :, :length] = held[:, :, :length]


class Resident:
    """The same in the memory of a device: rows stay where they are."""

    movable: ClassVar[bool] = False

    def __init__(self, decoder: Decoder, rows: int, room: int) -> None:
        import numpy as np

        from flowllm.backends.local import libraries

        self.rows = rows
        empty = np.zeros((rows, decoder.heads, room, decoder.size), decoder.halves)
        made = libraries.onnxruntime().OrtValue.ortvalue_from_numpy
        self._value = made(empty, decoder.device, decoder.index)
        self.pointer = int(self._value.data_ptr())

    def held(self) -> "NDArray[Any]":
        """A copy."""
        found: NDArray[Any] = self._value.numpy()
        return found

    def fill(self, held: "NDArray[Any]", length: int) -> None:
        """The same, by way of Python's memory."""
        whole = self.held().copy()
        whole[: len(held), :, :length] = held[:, :, :length]
        self._value.update_inplace(whole)


@dataclass(slots=True)
class _Past:
    """Arrays ``[rows, heads, length, size]`` of every half of every layer."""

    arrays: "list[NDArray[Any]]"
    lengths: list[int] = field(default_factory=list)

    @property
    def wide(self) -> int:
        """The tokens of the longest row."""
        return int(self.arrays[0].shape[2])


class GrownCache:
    """The graph gives past and new tokens as a new past. Rows in work form one batch, padded on the left."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._reading: dict[int, _Past] = {}
        self._batch: _Past | None = None
        self._rows: list[int] = []

    def begin(self, row: int, most: int) -> None:
        """As `Cache`."""
        self._reading[row] = _nothing(self._decoder)

    def read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        """As `Cache`."""
        import numpy as np

        logits, self._reading[row] = _grown(self._decoder, np.array([tokens]), self._reading[row])
        last: NDArray[Any] = logits[0, -1]
        return last

    def step(self, tokens: dict[int, int]) -> Stepped:
        """As `Cache`."""
        import numpy as np

        if [row for row in tokens if row not in self._rows] or len(tokens) != len(self._rows):
            self._gather(list(tokens))
        assert self._batch is not None
        ids = np.array([[tokens[row]] for row in self._rows])
        logits, self._batch = _grown(self._decoder, ids, self._batch)
        return Stepped(logits[:, -1], {row: place for place, row in enumerate(self._rows)})

    def drop(self, row: int) -> None:
        """As `Cache`."""
        self._reading.pop(row, None)
        if row in self._rows:
            self._gather([other for other in self._rows if other != row])

    def _gather(self, rows: list[int]) -> None:
        """Put rows side by side: those of the batch and those whose prompt was read."""
        parts = [
            (self._batch, self._rows.index(row)) if row in self._rows else (self._reading.pop(row), 0) for row in rows
        ]
        self._rows = rows
        self._batch = _side_by_side([(past, place) for past, place in parts if past is not None]) if rows else None


def _side_by_side(parts: "list[tuple[_Past, int]]") -> _Past:
    import numpy as np

    lengths = [past.lengths[place] for past, place in parts]
    wide = max(lengths)
    made = []
    for half in range(len(parts[0][0].arrays)):
        _, heads, _, size = parts[0][0].arrays[half].shape
        whole = np.zeros((len(parts), heads, wide, size), parts[0][0].arrays[half].dtype)
        for target, (past, place) in enumerate(parts):
            length = lengths[target]
            whole[target, :, wide - length :] = past.arrays[half][place, :, past.wide - length :]
        made.append(whole)
    return _Past(made, lengths)


def _nothing(decoder: Decoder) -> _Past:
    import numpy as np

    empty = np.zeros((1, decoder.heads, 0, decoder.size), decoder.halves)
    return _Past([empty] * len(decoder.past), [0])


def _grown(decoder: Decoder, ids: "NDArray[Any]", past: _Past) -> "tuple[NDArray[Any], _Past]":
    """One run: the logits, and the past with the new tokens in it."""
    import numpy as np

    count, kind = ids.shape[1], decoder.whole
    lengths, total = np.array(past.lengths), past.wide + count
    feeds: dict[str, Any] = dict(zip(decoder.past, past.arrays, strict=True)) | {"input_ids": ids.astype(kind)}
    if decoder.masked:
        feeds["attention_mask"] = (np.arange(total) >= (past.wide - lengths)[:, None]).astype(kind)
    if decoder.positions:
        feeds["position_ids"] = (lengths[:, None] + np.arange(count)).astype(kind)
    logits, *arrays = decoder.session.run(["logits", *decoder.present], feeds)
    return logits.astype(np.float32, copy=False), _Past(arrays, [length + count for length in past.lengths])


class SingleCache:
    """Every row by itself."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._rows: dict[int, _Past] = {}

    def begin(self, row: int, most: int) -> None:
        """As `Cache`."""
        self._rows[row] = _nothing(self._decoder)

    def read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        """As `Cache`."""
        import numpy as np

        logits, self._rows[row] = _grown(self._decoder, np.array([tokens]), self._rows[row])
        last: NDArray[Any] = logits[0, -1]
        return last

    def step(self, tokens: dict[int, int]) -> Stepped:
        """As `Cache`."""
        import numpy as np

        logits = np.stack([self.read(row, [token]) for row, token in tokens.items()])
        return Stepped(logits, {row: place for place, row in enumerate(tokens)})

    def drop(self, row: int) -> None:
        """As `Cache`."""
        self._rows.pop(row, None)
