"""The past of answers for graphs that write it in place: one buffer ``[rows, heads, room, size]`` a layer.

A prompt is read into its row while the others are written on, for the rows of a buffer lie one behind the other;
prompts that begin in rows side by side are read in one run, padded on the right.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from flowllm.backends.local.generation.graph import KEEP, Decoder
from flowllm.backends.local.generation.kv import Cache, GrownCache, SingleCache, Stepped
from flowllm.backends.local.generation.prefixes import Kept, Prefixes, longest

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRIDE = 16
"""Tokens by which the mask of a step grows."""
_PADDED = 8
"""Padded tokens for each run that is saved: what a run costs beside its tokens is as much as some ten."""
_ROOM = 256
"""Tokens that a buffer is made for at first; it doubles when they do not suffice."""


def cache_of(decoder: Decoder, prefixes: Prefixes | None = None) -> Cache:
    """The cache that fits a graph; one that begins keeps nothing of what was before."""
    if decoder.shared:
        return SharedCache(decoder, prefixes=prefixes)
    return GrownCache(decoder) if decoder.positions else SingleCache(decoder)


class SharedCache:
    """One buffer for past and present. On the processor the last row moves into the place of one that ended.

    A run goes over all rows up to the last one in use. A row among them that has nothing to say, for it is free or
    its prompt is still read, is given any token: what that writes is written over before it is ever read.
    """

    def __init__(
        self, decoder: Decoder, buffer: "type[Local | Resident] | None" = None, prefixes: Prefixes | None = None
    ) -> None:
        self._decoder = decoder
        self._buffer = buffer or (Local if decoder.device == "cpu" else Resident)
        self._room = 0
        self._buffers: Sequence[Local | Resident] = ()
        self._lengths: list[int] = []
        self._tokens: list[list[int]] = []
        self._prefixes = prefixes or Prefixes()
        self._prefixes.forget()
        self._used: list[bool] = []
        self._place: dict[int, int] = {}
        self._binding = decoder.session.io_binding()
        self._bound = 0
        """The rows that a step is bound for; 0 where something else is."""
        self._longest = 0
        """What the rows in work may come to at most."""
        self._feeds: dict[str, NDArray[Any]] = {}
        self._mask: NDArray[Any] | None = None
        self._logits: NDArray[Any] | None = None
        self._one: NDArray[Any] | None = None

    def begin(self, row: int, most: int) -> None:
        """As `Cache`; room is made when it is needed."""
        if False in self._used:
            place = self._used.index(False)
        else:
            place = len(self._used)
            self._used.append(False)
            self._lengths.append(0)
            self._tokens.append([])
        self._used[place], self._lengths[place], self._place[row] = True, 0, place
        self._tokens[place] = []
        self._longest = max(self._longest, most)

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        """As `Cache`: from who is in work or what is kept; where buffers are out of reach there is nothing."""
        if not self._buffer.movable:
            return 0
        place, wanted = self._place[row], prompt[:-1]
        length, kept = self._prefixes.longest(wanted)
        shared, beside = longest(wanted, self._tokens)
        if not max(length, shared):
            return 0
        self._make_room(len(self._lengths), max(length, shared))
        if kept is not None and length >= shared:
            arrays = kept.arrays
        else:
            length, arrays = shared, [buffer.held()[beside] for buffer in self._buffers]
        for buffer, array in zip(self._buffers, arrays, strict=True):
            buffer.held()[place, :, :length] = array[:, :length]
        self._lengths[place], self._tokens[place] = length, list(wanted[:length])
        return length

    def read(self, tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        """As `Cache`: prompts that begin side by side go in one run, where that costs few padded tokens."""
        found: dict[int, NDArray[Any]] = {}
        group: list[int] = []
        for row in tokens:
            if group and not self._beside([*group, row], tokens):
                found |= self._read(group, tokens)
                group = []
            group.append(row)
        return found | self._read(group, tokens)

    def _beside(self, rows: list[int], tokens: dict[int, Sequence[int]]) -> bool:
        places = [self._place[row] for row in rows]
        counts = [len(tokens[row]) for row in rows]
        few = 0 if self._decoder.last else _PADDED * (len(rows) - 1)
        begun = any(self._lengths[place] for place in places)
        at = range(places[0], places[0] + len(places))
        return not begun and places == [*at] and max(counts) * len(counts) - sum(counts) <= few

    def _read(self, rows: list[int], tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        import numpy as np

        first, kind = self._place[rows[0]], self._decoder.whole
        before, wide = self._lengths[first], max(len(tokens[row]) for row in rows)
        self._make_room(len(self._lengths), before + wide)
        self._bind_past(first, len(rows))
        ids, mask = np.zeros((len(rows), wide), kind), np.zeros((len(rows), before + wide), kind)
        for at, row in enumerate(rows):
            count = len(tokens[row])
            ids[at, :count], mask[at, : before + count] = tokens[row], 1
            self._lengths[first + at] += count
            self._tokens[first + at] += tokens[row]
        positions = np.arange(before, before + wide, dtype=kind)[None].repeat(len(rows), axis=0)
        self._bind({"input_ids": ids, "position_ids": positions}, mask)
        self._bound = 0
        logits = self._run()
        ends = [-1 if self._decoder.last else len(tokens[row]) - 1 for row in rows]
        return {row: logits[at, end].copy() for at, (row, end) in enumerate(zip(rows, ends, strict=True))}

    def step(self, tokens: dict[int, int]) -> Stepped:
        """As `Cache`."""
        places = {row: self._place[row] for row in tokens}
        rows, wide = len(self._lengths), max(self._lengths) + 1
        if self._bound != rows or self._mask is None or self._mask.shape[1] < wide:
            self._bind_step(rows, wide)
        ids, positions, mask = self._feeds["input_ids"], self._feeds["position_ids"], self._mask
        assert mask is not None
        for row, place in places.items():
            ids[place, 0] = tokens[row]
            self._tokens[place].append(tokens[row])
        for place, length in enumerate(self._lengths):
            positions[place, 0] = length
            mask[place, length] = 1
        if self._decoder.device != "cpu":
            self._bind(self._feeds, mask)  # a device has read them when they were bound
        logits = self._run()
        for place in places.values():
            self._lengths[place] += 1
        return Stepped(logits[:, -1], places)

    def drop(self, row: int) -> None:
        """As `Cache`."""
        place = self._place.pop(row, None)
        if place is None:
            return
        self._keep(place)
        self._lengths[place], self._tokens[place], self._used[place] = 0, [], False
        last = max((at for at, used in enumerate(self._used) if used), default=-1)
        if place < last and self._buffer.movable:
            self._move(last, place)
            last = max(at for at, used in enumerate(self._used) if used)
        del self._lengths[last + 1 :], self._used[last + 1 :], self._tokens[last + 1 :]
        if not self._used:  # nobody writes: the memory goes back
            self._buffers, self._room, self._logits, self._longest = (), 0, None, 0

    def _keep(self, place: int) -> None:
        tokens, length = self._tokens[place], self._lengths[place]
        if self._buffer.movable and self._prefixes.fits(tokens, length * self._bytes_of_a_token()):
            arrays = [buffer.held()[place, :, :length].copy() for buffer in self._buffers]
            self._prefixes.keep(Kept(tokens, arrays))

    def _bytes_of_a_token(self) -> int:
        import numpy as np

        decoder = self._decoder
        return len(decoder.past) * decoder.heads * decoder.size * np.dtype(decoder.halves).itemsize

    def _move(self, source: int, target: int) -> None:
        length = self._lengths[source]
        for buffer in self._buffers:
            array = buffer.held()
            array[target, :, :length] = array[source, :, :length]
        self._lengths[target], self._tokens[target], self._used[target] = length, self._tokens[source], True
        self._lengths[source], self._tokens[source], self._used[source] = 0, [], False
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
        self._buffers, self._bound = made, 0

    def _bind_step(self, rows: int, wide: int) -> None:
        """Bind what stays where it is from step to step, until a row comes, goes or reads on.

        The mask is wider than the longest row, so that it need not be bound anew at each token; some graphs turn
        positions otherwise from a length on, which is a multiple of this, and none is asked for more than its window.
        """
        import numpy as np

        kind = self._decoder.whole
        self._make_room(rows, wide)
        wide = max(wide, min(-(-wide // _STRIDE) * _STRIDE, self._longest, self._room))
        self._feeds = {"input_ids": np.zeros((rows, 1), kind), "position_ids": np.zeros((rows, 1), kind)}
        self._mask = (np.arange(wide) < np.array(self._lengths)[:, None]).astype(kind)
        self._bind_past(0, rows)
        self._bind(self._feeds, self._mask)
        self._bound = rows

    def _bind(self, feeds: "dict[str, NDArray[Any]]", mask: "NDArray[Any]") -> None:
        """Bind tokens, mask, and room for the logits. A binding keeps addresses alone: who binds keeps arrays."""
        import numpy as np

        rows, count = feeds["input_ids"].shape
        self._binding.bind_cpu_input("input_ids", feeds["input_ids"])
        if self._decoder.positions:
            self._binding.bind_cpu_input("position_ids", feeds["position_ids"])
        if self._decoder.masked:
            self._binding.bind_cpu_input("attention_mask", mask)
        if self._decoder.keep is not None:
            self._one = np.ones(self._decoder.keep, np.int64)
            self._binding.bind_cpu_input(KEEP, self._one)
        shape = (rows, 1 if self._decoder.last else count, self._decoder.vocabulary)
        if self._logits is None or self._logits.shape != shape:
            self._logits = np.empty(shape, self._decoder.counts)
            self._binding.bind_output("logits", "cpu", 0, self._logits.dtype, shape, self._logits.ctypes.data)

    def _bind_past(self, first: int, rows: int) -> None:
        """Give rows of the buffers to the graph, to read and to write."""
        import numpy as np

        decoder, kind = self._decoder, np.dtype(self._decoder.halves)
        shape = (rows, decoder.heads, self._room, decoder.size)
        start = first * kind.itemsize * decoder.heads * self._room * decoder.size
        for past, present, buffer in zip(decoder.past, decoder.present, self._buffers, strict=True):
            place = decoder.device, decoder.index, kind, shape, buffer.pointer + start
            self._binding.bind_input(past, *place)
            self._binding.bind_output(present, *place)

    def _run(self) -> "NDArray[Any]":
        """One run over what is bound; logits of shape (rows, tokens, vocabulary)."""
        import numpy as np

        self._decoder.session.run_with_iobinding(self._binding)
        assert self._logits is not None
        return self._logits.astype(np.float32, copy=False)


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
