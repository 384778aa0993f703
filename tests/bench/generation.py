"""What the loop that writes costs beside the model's own runs: `python -m tests.bench.generation [--smoke] [--peers]`.

Each run of the session is timed inside of the loop, so that every step is measured against its own bare run: what is
left of a step is ours, with everything around a token: buffers, drawing, text, and the way to the event loop. Times
are of the processor, all threads: the session has one, which is the worker's. `--peers` adds what
`tests.bench.generation_peers` measures.
"""

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from flowllm.backends.local.generation.graph import Decoder
from flowllm.backends.local.generation.sampling import Drawing
from tests.bench.row import FULL, SMOKE, Row, Size, Target, lines, pin
from tests.unit.backends.local.generation.decoders_made import Shape
from tests.unit.backends.local.generation.engine_made import decoder, engine, writing, written

MODEL = Shape(layers=6, heads=8, kv_heads=2, head=64, inner=1408, vocabulary=4096, window=512)
"""19 million parameters, as large as the one that the design was measured with."""
PROMPT, TOKENS = 64, 48
WAYS = (
    ("one answer", "shared", 1, Drawing()),
    ("eight answers", "shared", 8, Drawing()),
    ("eight answers, drawn from a nucleus", "shared", 8, Drawing(0.8, top_p=0.9, seed=1)),
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


def measure(size: Size) -> list[Row]:
    """For each way of writing, what a step takes beside its run, and the whole step against the run."""
    found_rows = []
    with tempfile.TemporaryDirectory() as folder:
        decoders = {way: decoder(Path(folder), MODEL, way) for way in ("shared", "concat")}
        for name, way, rows, how in WAYS:
            measured = [
                step for _ in range(size.rounds) for step in steps(decoders[way], way, rows, size.of(TOKENS, 16), how)
            ]
            beside = median(step - run for step, run in measured)
            whole, bare = (median(column) for column in zip(*measured, strict=True))
            ratio = median(step / run for step, run in measured)
            target = Target(60.0, "ours") if how == Drawing() and way == "shared" else None
            found_rows.append(Row(f"P12 beside a run: {name}", beside, None, None, target, "us CPU a step"))
            found_rows.append(Row(f"P12 a step: {name}", whole, bare, ratio, None, "us CPU", "its bare session.run"))
    return found_rows


def main() -> None:
    """Measure and print."""
    pin(0)
    size = SMOKE if "--smoke" in sys.argv else FULL
    rows = measure(size)
    if "--peers" in sys.argv:
        from tests.bench import generation_peers

        with tempfile.TemporaryDirectory() as place:
            rows += generation_peers.measure(size, Path(place), MODEL, PROMPT, size.of(TOKENS, 16))
    print("\n".join(lines(rows)))  # noqa: T201  its work


if __name__ == "__main__":
    main()
