"""What the loop that writes costs beside the model's own runs: `python -m tests.bench.generation`.

Each run of the session is timed inside of the loop, so that every step is measured against its own bare run: what is
left of a step is ours, with everything around a token: buffers, drawing, text, and the way to the event loop. Times
are of the processor, all threads: the session has one, which is the worker's. The floor is the same cache with the
best token as the next one and a wake-up of the event loop for each step: no texts, no ends, nobody who comes or goes.
`--peers` adds what `tests.bench.generation_peers` measures, ``--parts`` measures `tests.bench.generation_parts` and
nothing else; ``--smoke`` is to see that it works.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from flowllm.backends.local.generation.graph import Decoder
from flowllm.backends.local.generation.sampling import Drawing
from flowllm.backends.local.generation.shared_kv import cache_of
from tests.bench.row import FULL, SMOKE, Row, Size, Target, lines, pin
from tests.unit.backends.local.generation.decoders_made import Shape
from tests.unit.backends.local.generation.engine_made import decoder, engine, writing, written

MODEL = Shape(layers=6, heads=8, kv_heads=2, head=64, inner=1408, vocabulary=4096, window=512)
"""19 million parameters, as large as the one that the design was measured with."""
PROMPT, TOKENS = 64, 48
NUCLEUS = Drawing(0.8, top_p=0.9, seed=1)
WAYS = (
    ("one answer", "shared", 1, Drawing()),
    ("eight answers", "shared", 8, Drawing()),
    ("eight answers, drawn from a nucleus", "shared", 8, NUCLEUS),
    ("one answer, growing past", "concat", 1, Drawing()),
)


@dataclass
class Timed:
    """A session that notes the time when each of its runs began, and what it took."""

    session: Any
    spans: list[tuple[float, float]] = field(default_factory=list)

    def io_binding(self) -> Any:
        return self.session.io_binding()

    def run_with_iobinding(self, binding: Any) -> None:
        self._timed(lambda: self.session.run_with_iobinding(binding))

    def run(self, *given: Any) -> Any:
        return self._timed(lambda: self.session.run(*given))

    def _timed(self, work: Callable[[], Any]) -> Any:
        start, begun = time.process_time(), time.thread_time()
        found = work()
        self.spans.append((start, time.thread_time() - begun))
        return found


def steps(found: Decoder, way: str, rows: int, tokens: int, how: Drawing) -> list[tuple[float, float]]:
    """Of each step that all answers take part in: its time and that of its run, in microseconds."""
    timed = Timed(found.session)
    running, watched = engine(replace(found, session=timed), way, chunk=PROMPT)
    prompts = [[(row * 7 + place) % MODEL.vocabulary for place in range(PROMPT)] for row in range(rows)]

    async def every() -> None:
        await asyncio.gather(*(written(running, writing(prompt, tokens, how)) for prompt in prompts))

    asyncio.run(every())
    runs = [run for run in watched.runs if run[0] != "drop"]
    full = [at for at, (kind, which) in enumerate(runs) if kind == "step" and len(which) == rows]
    spans = timed.spans
    pairs = [(at, at + 1) for at in full if at + 1 in full]
    return [((spans[b][0] - spans[a][0]) * 1e6, spans[a][1] * 1e6) for a, b in pairs]


def floor(found: Decoder, rows: int, tokens: int) -> list[float]:
    """Of each step of a loop that only hands tokens on: what it takes beside its run, in microseconds."""
    timed = Timed(found.session)
    cache = cache_of(replace(found, session=timed))

    def write(tell: Callable[[list[int]], object]) -> None:
        for row in range(rows):
            cache.begin(row, PROMPT + tokens)
        cache.read({row: [(row * 7 + place) % MODEL.vocabulary for place in range(PROMPT)] for row in range(rows)})
        best = [0] * rows
        for _ in range(tokens):
            best = cache.step(dict(enumerate(best))).logits.argmax(axis=1).tolist()
            tell(best)

    async def every() -> None:
        loop, told = asyncio.get_running_loop(), asyncio.Queue[list[int]]()
        writing = asyncio.ensure_future(asyncio.to_thread(write, partial(loop.call_soon_threadsafe, told.put_nowait)))
        for _ in range(tokens):
            await told.get()
        await writing

    asyncio.run(every())
    spans = timed.spans[-tokens:]
    return [(after - start) * 1e6 - run * 1e6 for (start, run), (after, _) in pairwise(spans)]


def measure(size: Size) -> list[Row]:
    """For each way of writing, what a step takes beside its run, and the whole step against the run."""
    found_rows = []
    with tempfile.TemporaryDirectory() as folder:
        decoders = {way: decoder(Path(folder), MODEL, way) for way in ("shared", "concat")}
        for name, way, rows, how in WAYS:
            measured, least, tokens = [], [], size.of(TOKENS, 16)
            for _ in range(size.rounds):
                measured += steps(decoders[way], way, rows, tokens, how)
                least += floor(decoders[way], rows, tokens)
            beside, handed = median(step - run for step, run in measured), median(least)
            whole, bare = (median(column) for column in zip(*measured, strict=True))
            ratio = median(step / run for step, run in measured)
            target = Target(60.0, "ours") if how == Drawing() and way == "shared" else None
            told = f"P12 beside a run: {name}"
            found_rows.append(Row(told, beside, handed, beside / handed, target, "us CPU a step", "tokens handed on"))
            found_rows.append(Row(f"P12 a step: {name}", whole, bare, ratio, None, "us CPU", "its bare session.run"))
    return found_rows


def main() -> None:
    """Measure and print."""
    pin(0)
    size = SMOKE if "--smoke" in sys.argv else FULL
    if "--parts" in sys.argv:
        from tests.bench import generation_parts

        rows = generation_parts.measure(size, MODEL, NUCLEUS)
    else:
        rows = measure(size)
    if "--peers" in sys.argv:
        from tests.bench import generation_peers

        with tempfile.TemporaryDirectory() as place:
            rows += generation_peers.measure(size, Path(place), MODEL, PROMPT, size.of(TOKENS, 16))
    print("\n".join(lines(rows)))  # noqa: T201  its work


if __name__ == "__main__":
    main()
