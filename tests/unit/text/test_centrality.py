import tracemalloc

import numpy as np
import pytest

from flowllm.text import centrality as module
from flowllm.text.centrality import centrality, unit_rows


def unit(seed, count, dimensions=16):
    return unit_rows(np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32))


@pytest.mark.parametrize("block", [1, 3, 7, 1024])
def test_blocks_give_the_sums_of_all_pairs(monkeypatch, block):
    monkeypatch.setattr(module, "BLOCK", block)
    rows, sizes = unit(1, 7), [1, 4, 9, 2, 3, 5, 8]
    pairs = rows.astype(np.float64) @ rows.T.astype(np.float64)
    np.fill_diagonal(pairs, 0)
    assert centrality(rows, sizes) == pytest.approx(pairs.sum(axis=1) * np.sqrt(sizes))


def test_rows_of_zeros_score_nothing():
    assert list(centrality(np.zeros((3, 4), np.float32), [1, 1, 1])) == [0, 0, 0]
    assert len(centrality(np.zeros((0, 4), np.float32), [])) == 0


def test_ten_thousand_items_need_no_matrix_of_pairs():
    rows = unit(2, 10_000)
    tracemalloc.start()
    centrality(rows, [1] * len(rows))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


def test_rows_are_brought_to_length_one_only_where_they_need_it():
    rows = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    assert unit_rows(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    done = unit(3, 4)
    assert unit_rows(done) is done
