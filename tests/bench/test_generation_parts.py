"""The parts of the loop that writes are measured, and the floor of drawing draws what ours does."""

from collections import Counter

import numpy as np
import pytest

from flowllm.backends.local.generation.sampling import Drawing, picked
from tests.bench.generation import NUCLEUS
from tests.bench.generation_parts import READ, SPREADS, VOCABULARIES, measure, sorted_nucleus
from tests.bench.row import SMOKE
from tests.unit.backends.local.generation.decoders_made import Shape


def test_smoke():
    rows = measure(SMOKE, Shape(window=128), NUCLEUS)
    assert len({row.name for row in rows}) == len(rows) == len(VOCABULARIES) * len(SPREADS) + len(READ)
    assert all(row.ours > 0 and row.floor > 0 for row in rows)


@pytest.mark.parametrize("how", [NUCLEUS, Drawing(1.3, top_p=0.5), Drawing(0.1, top_p=0.2)])
def test_the_floor_draws_what_ours_does(how):
    logits = np.random.default_rng(7).standard_normal(40).astype(np.float32) * 2
    counts = []
    for way in (picked, sorted_nucleus):
        random = np.random.default_rng(3)
        counts.append(Counter(way(logits, how, random) for _ in range(8_000)))
    ours, floor = counts
    assert set(ours) == set(floor)
    assert max(abs(ours[token] - floor[token]) for token in ours) < 250
