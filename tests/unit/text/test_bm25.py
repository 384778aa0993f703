import pytest

from flowllm.text.bm25 import rank

DOCUMENTS = ["The cat sleeps.", "A dog chases the cat.", "Dogs and dogs and more dogs.", "Prices rose by 3.5 percent."]


@pytest.mark.parametrize(
    ("query", "best"),
    [("price", 3), ("dogs", 2), ("who chases a cat", 1), ("sleeping cat", 0)],
)
def test_the_best_document_comes_first(query, best):
    assert rank(query, DOCUMENTS)[0][0] == best


def test_all_documents_are_ranked_and_equal_ones_keep_their_order():
    assert [index for index, _ in rank("zebra", DOCUMENTS)] == [0, 1, 2, 3]
    assert {score for _, score in rank("zebra", DOCUMENTS)} == {0.0}


def test_k_cuts():
    assert len(rank("cat", DOCUMENTS, 2)) == 2
    assert rank("cat", [], 2) == []
    assert rank("cat", ["", "..."]) == [(0, 0.0), (1, 0.0)]


def test_rare_words_weigh_more_and_long_documents_less():
    scores = dict(rank("cat dog", ["cat", "cat", "cat", "dog"]))
    assert scores[3] > scores[0] > 0
    scores = dict(rank("cat", ["cat", "cat " + "filler words here " * 9]))
    assert scores[0] > scores[1] > 0


def test_scores_by_hand():
    (first, score), *_ = rank("cat", ["cat cat dog", "dog"])
    weight, damping = 0.6931471805599453, 1.2 * (0.25 + 0.75 * 1.5)
    assert first == 0
    assert score == pytest.approx(weight * 2 * 2.2 / (2 + damping))
