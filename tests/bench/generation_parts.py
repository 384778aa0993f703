"""Two parts of the loop that writes, each against the plain way to it: `python -m tests.bench.generation --parts`.

One token drawn from a nucleus, and prompts that begin side by side.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from flowllm.backends.local.generation.graph import Decoder
from flowllm.backends.local.generation.kv import Cache
from flowllm.backends.local.generation.sampling import Drawing, picked
from flowllm.backends.local.generation.shared_kv import cache_of
from tests.bench.row import Row, Size, in_turns, row
from tests.unit.backends.local.generation.decoders_made import Shape
from tests.unit.backends.local.generation.engine_made import decoder

VOCABULARIES = (4_096, 32_000, 152_000)
SPREADS = {"flat": 1.0, "steep": 4.0}
"""The deviation of normal numbers as logits."""
READ = ((8, 8), (8, 16), (8, 32), (4, 64), (2, 64))
"""How many prompts begin side by side, and the tokens of each."""


def measure(size: Size, shape: Shape, how: Drawing) -> list[Row]:
    """Drawing, then reading with a model of that shape."""
    with tempfile.TemporaryDirectory() as folder:
        return [*_drawing(size, how), *_reading(size, decoder(Path(folder), shape, "shared"), shape.vocabulary)]


def sorted_nucleus(logits: Any, how: Drawing, random: Any) -> int:
    """A token by its share, with the whole vocabulary put in order: those left in stand in front."""
    import numpy as np

    order = np.argsort(-logits)
    shares = np.exp((logits[order] - logits[order[0]]) / np.float32(how.temperature))
    heights = shares.cumsum(dtype=np.float64)
    inside = int(heights.searchsorted(how.top_p * heights[-1])) + 1
    return int(order[heights[:inside].searchsorted(random.random() * heights[inside - 1])])


def _drawing(size: Size, how: Drawing) -> list[Row]:
    import numpy as np

    found = []
    for vocabulary, (name, spread) in product(VOCABULARIES, SPREADS.items()):
        random = np.random.default_rng(1)
        given = [(random.standard_normal(vocabulary) * spread).astype(np.float32) for _ in range(size.of(32, 2))]
        ours, floor = in_turns(size.rounds, *(partial(_drawn, way, given, how) for way in (picked, sorted_nucleus)))
        told = f"P12 a token of {vocabulary}, {name} logits"
        found.append(row(told, ours, floor, None, "ms CPU", "the vocabulary sorted"))
    return found


def _drawn(way: Callable[[Any, Drawing, Any], int], given: Sequence[Any], how: Drawing) -> float:
    import numpy as np

    random = np.random.default_rng(how.seed)
    start = time.process_time()
    for logits in given:
        way(logits, how, random)
    return (time.process_time() - start) * 1e3 / len(given)


def _reading(size: Size, found: Decoder, vocabulary: int) -> list[Row]:
    rows, cache = [], cache_of(found)
    for count, length in READ:
        prompts = [[(at * 1007 + place) % vocabulary for place in range(length)] for at in range(count)]
        together, alone = in_turns(size.rounds, *(partial(_read, cache, prompts, group) for group in (count, 1)))
        rows.append(
            row(f"P12 {count} prompts of {length} tokens", together, alone, None, "ms CPU", "read one after another")
        )
    return rows


def _read(cache: Cache, prompts: Sequence[Sequence[int]], group: int) -> float:
    """What it takes to read the prompts, ``group`` of them at a time."""
    for at, prompt in enumerate(prompts):
        cache.begin(at, len(prompt) + 1)
    start = time.process_time()
    for first in range(0, len(prompts), group):
        cache.read({at: prompts[at] for at in range(first, first + group)})
    taken = (time.process_time() - start) * 1e3
    for at in range(len(prompts)):
        cache.drop(at)
    return taken
