"""The loop of one model: answers that are written side by side, a token each in every run.

One worker thread a model, alive while there is work. A request waits until a row is free; its prompt is read in
chunks, between the steps of those who write already, and it joins them at once; what a cache still has of its first
tokens is not read again, and a prompt that begins as one that is being read waits for that. What is written does not
depend on who else writes, but for the last digits of the numbers of a run, and the scale that an int8 graph gives to
all of its rows. A request that is cancelled gives its row back before the next run; one that fails takes no other with
it, a run of the model that fails takes all that are in work.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Protocol

from flowllm.backends.local.generation import prefixes
from flowllm.backends.local.generation.detokenizing import Detokenizer
from flowllm.backends.local.generation.kv import Cache
from flowllm.backends.local.generation.sampling import Drawn, Sampler
from flowllm.backends.local.generation.stopping import Stopper
from flowllm.core.errors import FlowError, ProviderFacts, ProviderFailure
from flowllm.core.record import record

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLOTS = 8
"""Answers written side by side."""
CHUNK = 256
"""Tokens of prompts that are read between two steps of those who write."""


class Grammar(Protocol):
    """What may come next in an answer."""

    def allowed(self) -> "NDArray[np.bool_] | None":
        """One truth for each token; None where anything may come."""
        ...

    def take(self, token: int) -> bool:
        """Go on by a token; whether the answer is whole, so that nothing may follow."""
        ...


@record
class Piece:
    """News of an answer: text that is certain, and what was drawn; ``ended`` is the reason, once."""

    text: str = ""
    drawn: Drawn | None = None
    ended: str | None = None
    failure: FlowError | None = None


@dataclass(slots=True, eq=False)
class Writing:
    """One answer in work. ``most`` tokens end it as ``length``, one of ``ends`` as ``stop``.

    The consumer's side is ``pieces`` of the loop ``loop``; ``cancelled`` is all that it says to the worker.
    """

    prompt: Sequence[int]
    sampler: Sampler
    text: Detokenizer
    stopper: Stopper
    most: int
    ends: frozenset[int]
    grammar: Grammar | None = None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    pieces: "asyncio.Queue[Piece]" = field(default_factory=asyncio.Queue)
    cancelled: bool = False
    read: int = 0
    reused: int = 0
    """Tokens of the prompt whose past was there."""
    last: int = -1
    count: int = 0
    plain: bool = False

    def __post_init__(self) -> None:
        self.plain = self.sampler.how.plain

    def advance(self, logits: "NDArray[np.float32]", best: int) -> Piece:
        """The next token. ``best`` is the place of the largest number."""
        drawn = self._drawn(logits, best)
        self.last, self.count = drawn.token, self.count + 1
        if drawn.token in self.ends:
            return Piece(self._rest(), drawn, "stop")
        shown = self.stopper.feed(self.text.feed(drawn.token))
        whole = self.grammar is not None and self.grammar.take(drawn.token)
        if self.stopper.found is not None:
            return Piece(shown, drawn, "stop")
        if whole or self.count >= self.most:
            shown += self._rest()
            ended = "stop" if whole or self.stopper.found is not None else "length"
            return Piece(shown, drawn, ended)
        return Piece(shown, drawn)

    def _drawn(self, logits: "NDArray[np.float32]", best: int) -> Drawn:
        if self.plain and self.grammar is None and isfinite(logits.item(best)):
            return Drawn(best)
        allowed = None if self.grammar is None else self.grammar.allowed()
        return self.sampler.draw(logits, allowed)

    def _rest(self) -> str:
        return self.stopper.feed(self.text.finish()) + self.stopper.finish()


Told = dict[asyncio.AbstractEventLoop, list[tuple[Writing, Piece]]]
"""News of a turn, by the loops of those who wait for it."""


class Engine:
    """Writes answers by a cache. ``describe`` makes an error of the model's run one of ours."""

    def __init__(self, cache: Callable[[], Cache], *, slots: int = SLOTS, chunk: int = CHUNK, model: str = "") -> None:
        self._make = cache
        self._slots = slots
        self._chunk = chunk
        self._model = model
        self._lock = threading.Lock()
        self._waiting: deque[Writing] = deque()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._cache: Cache | None = None
        self._rows: dict[int, Writing] = {}

    def submit(self, writing: Writing) -> None:
        """Let an answer be written; from any thread. `ProviderFailure` after `close`."""
        with self._lock:
            if self._closed:
                raise self._failure("the model was unloaded")
            self._waiting.append(writing)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"flowllm {self._model}")
                self._thread.start()

    def close(self) -> None:
        """End what is in work with a failure, wait for the worker, and let the buffers go."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._cache = None

    def _work(self) -> None:
        going = True
        while going:
            try:
                going = self._admit()
                if going:
                    self._turn()
            except BaseException as error:  # noqa: BLE001  a worker that is gone answers nobody; panics are no Exception
                self._end_all(self._failure(f"ONNX Runtime failed: {str(error)[:300]}"))

    def _admit(self) -> bool:
        """Give free rows to those who wait; False, and the worker ends, where there is nothing to do."""
        gone = [row for row, writing in self._rows.items() if writing.cancelled]
        if self._rows and not (gone or self._waiting or self._closed):
            return True
        with self._lock:
            if self._closed:
                self._end_all(self._failure("the model was unloaded"), *self._waiting)
                self._waiting.clear()
            for row in gone:
                if row in self._rows:
                    self._drop(row)
            for row in range(self._slots):
                while row not in self._rows and self._waiting:
                    writing = self._waiting.popleft()
                    if not writing.cancelled:
                        self._rows[row] = writing
            if not self._rows:
                self._thread = None
            return bool(self._rows)

    def _turn(self) -> None:
        """Read on in prompts, a chunk in all, then write one token of every answer that had begun."""
        if self._cache is None:
            self._cache = self._make()
        told: Told = {}
        last = {row: writing.last for row, writing in self._rows.items() if writing.last >= 0}
        try:
            if len(last) < len(self._rows):
                self._read_on(self._cache, told)
            if last:
                self._write(self._cache, last, told)
        finally:
            _tell(told)

    def _read_on(self, cache: Cache, told: Told) -> None:
        left = self._chunk
        chunks: dict[int, Sequence[int]] = {}
        for row, writing in [(row, writing) for row, writing in self._rows.items() if writing.last < 0]:
            if not writing.read:
                if self._gains(writing.prompt, chunks):
                    self._read(cache, chunks, told)
                    chunks = {}
                cache.begin(row, len(writing.prompt) + writing.most)
                writing.read = writing.reused = cache.reuse(row, writing.prompt)
            chunks[row] = writing.prompt[writing.read : writing.read + left]
            left -= len(chunks[row])
            if not left:
                break
        self._read(cache, chunks, told)

    def _gains(self, prompt: Sequence[int], chunks: Iterable[int]) -> bool:
        """Whether what is to be read in these rows is what a prompt begins with, so that it need not be read twice."""
        rows = (self._rows[row] for row in chunks)
        return any(prefixes.common(prompt, writing.prompt) - writing.read >= prefixes.LEAST for writing in rows)

    def _read(self, cache: Cache, chunks: dict[int, Sequence[int]], told: Told) -> None:
        for row, logits in cache.read(chunks).items():
            writing = self._rows[row]
            writing.read += len(chunks[row])
            if writing.read == len(writing.prompt):
                self._advance(row, logits, int(logits.argmax()), told)

    def _write(self, cache: Cache, last: dict[int, int], told: Told) -> None:
        logits, places = cache.step(last)
        best = logits.argmax(axis=1).tolist()
        for row, place in places.items():
            self._advance(row, logits[place], best[place], told)

    def _advance(self, row: int, logits: "NDArray[np.float32]", best: int, told: Told) -> None:
        writing = self._rows[row]
        try:
            piece = writing.advance(logits, best)
        except FlowError as failure:
            piece = Piece(ended="error", failure=failure)
        except BaseException as error:  # noqa: BLE001  one answer's fault is not the others', nor is a panic
            piece = Piece(ended="error", failure=self._failure(f"{type(error).__name__}: {str(error)[:300]}"))
        told.setdefault(writing.loop, []).append((writing, piece))
        if piece.ended is not None:
            self._drop(row)

    def _drop(self, row: int) -> None:
        del self._rows[row]
        if self._cache is not None:
            self._cache.drop(row)

    def _end_all(self, failure: FlowError, *others: Writing) -> None:
        """Fail what is in work, and forget the cache: nothing is known of what it holds."""
        every = [*self._rows.values(), *others]
        self._rows.clear()
        self._cache = None
        told: Told = {}
        for writing in every:
            told.setdefault(writing.loop, []).append((writing, Piece(ended="error", failure=failure)))
        _tell(told)

    def _failure(self, message: str) -> ProviderFailure:
        return ProviderFailure("server_error", message, facts=ProviderFacts("local", self._model))


def _tell(told: Told) -> None:
    """Hand pieces to their loops, in one go each; a loop that is closed reads no more."""
    for loop, pieces in told.items():
        try:
            loop.call_soon_threadsafe(_put, pieces)
        except RuntimeError:
            for writing, _ in pieces:
                writing.cancelled = True


def _put(pieces: list[tuple[Writing, Piece]]) -> None:
    for writing, piece in pieces:
        writing.pieces.put_nowait(piece)
