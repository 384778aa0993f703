"""The rows and lines of `tests.bench.embedding`, from ways that cost what they say."""

import numpy as np
import pytest

from tests.bench.embedding import BARE, FIRST, TARGETS, corpora, measure, nearness
from tests.bench.row import SMOKE, Size


def way(cost, *vector):
    """Makes one vector of every text; a text costs that much."""

    def embed(texts):
        embed.spent = cost * len(texts)
        return np.array([vector] * len(texts), np.float32)

    embed.spent = 0.0
    return embed


def floor(cost):
    """Bare products: as many operations as texts."""
    bare = way(cost)
    bare.speed = lambda texts, seconds: len(texts) / seconds
    return bare


def cost(work):
    work()
    return work.func.spent


FAST = [(0.2, True), (0.3, False)]


@pytest.mark.parametrize(("spent", "met"), FAST)
def test_ours_is_measured_against_every_peer(spent, met):
    ways = {FIRST: way(1.0, 1, 0), "other": way(0.5, 1, 0), "fp32": way(spent, 1, 0)}
    known = {FIRST: 1.0, "other": 0.5, f"{BARE}, fp32": 0.1}
    rows, told = measure(ways, {"fp32": floor(0.1)}, Size(2, 1.0), cost)
    assert [(row.name, row.against) for row in rows] == [
        (f"P11 {corpus}, fp32", peer) for corpus in ("various", "short") for peer in known
    ]
    assert told == [
        f"{corpus}, fp32: 4 times {FIRST} is 250 ms; the bare products are 10.00 times it, 10 GFLOP/s"
        for corpus in ("various", "short")
    ]
    for row in rows:
        ratio, reached = spent / known[row.against], met if row.against == FIRST else None
        assert (row.ours, row.ratio) == (pytest.approx(1000 * spent), pytest.approx(ratio))
        assert row.met is reached


def test_how_near_vectors_are_is_told_of_their_directions_alone():
    ways = {FIRST: way(1, 1, 0), "int8": way(1, 3, 4)}
    assert nearness(ways)[1] == "various, int8: cosine mean 0.60000, least 0.60000"


def test_texts_are_as_many_and_as_long_as_the_page_says():
    various, short = corpora().values()
    assert (len(various), len(short)) == (64, 128)
    assert sum(map(len, various)) / 64 > 2 * sum(map(len, short)) / 128
    assert len(corpora(3)["short"]) == 384


def test_targets_are_those_of_every_size():
    ways = {FIRST: way(1, 1), **{name: way(1, 1) for name in TARGETS}}
    rows, _ = measure(ways, {name: floor(1) for name in TARGETS}, SMOKE, cost)
    peers = [row for row in rows if row.against == FIRST]
    assert {row.name.split(", ")[1]: str(row.target) for row in peers} == {"fp32": "0.25x", "int8": "0.167x"}
