"""Engines over tiny decoders, and answers as they come out of them."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from pathlib import Path

import onnxruntime

from flowllm.backends.local.generation.detokenizing import Detokenizer
from flowllm.backends.local.generation.engine import Engine, Piece, Writing
from flowllm.backends.local.generation.graph import Decoder, read_decoder
from flowllm.backends.local.generation.kv import Cache
from flowllm.backends.local.generation.sampling import Drawing, Sampler
from flowllm.backends.local.generation.shared_kv import Resident, SharedCache, cache_of
from flowllm.backends.local.generation.stopping import Stopper
from tests.unit.backends.local.generation.decoders_made import LAYOUTS, Shape

WAYS = {
    "shared": ("shared", {}),
    "shared with positions": ("shared", {"positions": True}),
    "shared on a device": ("shared", {}),
    "shared in halves": ("shared", {"half": True}),
    "shared, last logits": ("shared", {"keep": True}),
    "concat": ("concat", {}),
    "concat, last logits": ("concat", {"keep": True}),
    "concat in halves": ("concat", {"half": True}),
    "concat without positions": ("concat", {"positions": False}),
}


def decoder(folder: Path, shape: Shape, way: str) -> Decoder:
    layout, options = WAYS[way]
    path = LAYOUTS[layout](folder / f"{way}.onnx", shape, **options)
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), made, providers=["CPUExecutionProvider"])
    return read_decoder(session, {"GroupQueryAttention"} if layout == "shared" else set())


@dataclass
class Watched:
    """A cache that notes its runs; ``before`` is called with each, and may raise."""

    cache: Cache
    runs: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    before: list = field(default_factory=list)
    read_tokens: int = 0

    def _note(self, kind: str, rows: Sequence[int]) -> None:
        self.runs.append((kind, tuple(rows)))
        for call in self.before:
            call(self)

    def begin(self, row, most):
        self.cache.begin(row, most)

    def reuse(self, row, prompt):
        return self.cache.reuse(row, prompt)

    def read(self, tokens):
        self._note("read", list(tokens))
        self.read_tokens += sum(map(len, tokens.values()))
        return self.cache.read(tokens)

    def step(self, tokens):
        self._note("step", list(tokens))
        return self.cache.step(tokens)

    def drop(self, row):
        self.runs.append(("drop", (row,)))
        self.cache.drop(row)


def engine(found: Decoder, way: str = "", **options) -> tuple[Engine, Watched]:
    """A device's buffers are ONNX Runtime's own, here in the processor's memory."""
    watched = Watched(SharedCache(found, Resident) if way == "shared on a device" else cache_of(found))
    return Engine(lambda: watched, **options), watched


def numbers(tokens: Sequence[int]) -> str:
    """A text in which every token is a word."""
    return "".join(f"<{token}>" for token in tokens)


def writing(prompt: Sequence[int], count: int, how: Drawing = Drawing(), **more) -> Writing:  # noqa: B008
    stops, ends = more.pop("stops", ()), more.pop("ends", frozenset())
    return Writing(prompt, Sampler(how, prompt), Detokenizer(numbers), Stopper(stops), count, ends, **more)


async def pieces_of(made: Writing) -> AsyncGenerator[Piece, None]:
    while True:
        piece = await made.pieces.get()
        if piece.failure is not None:
            raise piece.failure
        yield piece
        if piece.ended is not None:
            return


async def written(running: Engine, made: Writing) -> list[int]:
    """The tokens of one answer."""
    running.submit(made)
    async with aclosing(pieces_of(made)) as pieces:
        return [piece.drawn.token async for piece in pieces]
