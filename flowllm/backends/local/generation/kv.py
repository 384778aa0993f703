"""The past of the answers in work, and the runs of the model over it: one row of the batch for each answer.

`GrownCache`: the graph gives a new past each time, so rows are put side by side, padded on the left, when one joins.
`SingleCache`: graphs that count positions for themselves cannot be padded, so rows run one by one. Graphs that write
their past in place have the cache of ``shared_kv``.

Only the worker of a model uses its cache. Logits are float32.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from flowllm.backends.local.generation.graph import KEEP, Decoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Stepped(NamedTuple):
    """Logits of shape (places, vocabulary), good until the next run, and the place of each row in them."""

    logits: "NDArray[Any]"
    places: dict[int, int]


class Cache(Protocol):
    """Rows by number; a row is free until it is begun, and again once it is dropped."""

    def begin(self, row: int, most: int) -> None:
        """Take a row into use, for ``most`` tokens in all."""
        ...

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        """How many of the first tokens of a prompt, but its last, need not be read; once, behind `begin`."""
        ...

    def read(self, tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        """Go on with the prompts of some rows; the logits after the last token of each, of shape (vocabulary,)."""
        ...

    def step(self, tokens: dict[int, int]) -> "Stepped":
        """One more token for each row named."""
        ...

    def drop(self, row: int) -> None:
        """Forget a row."""
        ...


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

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        """As `Cache`: nothing is kept."""
        return 0

    def read(self, tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        """As `Cache`."""
        return {row: self._read(row, text) for row, text in tokens.items()}

    def _read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
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
    if decoder.keep is not None:
        feeds[KEEP] = np.ones(decoder.keep, np.int64)
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

    def reuse(self, row: int, prompt: Sequence[int]) -> int:
        """As `Cache`: nothing is kept."""
        return 0

    def read(self, tokens: dict[int, Sequence[int]]) -> "dict[int, NDArray[Any]]":
        """As `Cache`."""
        return {row: self._read(row, text) for row, text in tokens.items()}

    def _read(self, row: int, tokens: Sequence[int]) -> "NDArray[Any]":
        import numpy as np

        logits, self._rows[row] = _grown(self._decoder, np.array([tokens]), self._rows[row])
        last: NDArray[Any] = logits[0, -1]
        return last

    def step(self, tokens: dict[int, int]) -> Stepped:
        """As `Cache`."""
        import numpy as np

        logits = np.stack([self._read(row, [token]) for row, token in tokens.items()])
        return Stepped(logits, {row: place for place, row in enumerate(tokens)})

    def drop(self, row: int) -> None:
        """As `Cache`."""
        self._rows.pop(row, None)
