"""The order of the ways to summarise holds on the labelled texts; the figures are printed by the benchmark."""

import pytest

from tests.bench.summary_quality import labelled, table


@pytest.fixture(scope="module")
def rows():
    return table(seeds=20)


@pytest.mark.parametrize(("other", "figure"), [("lead", 0), ("random", 0), ("lead", 1), ("random", 1), ("random", 2)])
def test_select_is_clearly_better(rows, other, figure):
    assert rows["select"][figure] > 1.25 * rows[other][figure]


def test_labels_are_what_the_page_says():
    texts = list(labelled())
    assert len(texts) >= 12
    assert all(5 <= len(text.kept) <= 12 and text.key <= text.kept for text in texts)
