"""What the real model has to rank first, by sentence-transformers."""

import json

import numpy as np

from flowllm.core.scope import Scope
from tests.local_models.sentence_oracle import RANKING
from tests.local_models.texts import QUERIES, RANKED


async def vectors_of(model):
    """The vectors of the ranked texts and of the queries."""
    rows, _ = await model.embed([*RANKED, *QUERIES], model.wanted({}), Scope())
    return rows[: len(RANKED)], rows[len(RANKED) :]


def require_ranking(vectors, queries):
    """The same scores, and the same order but where two texts are as near as rounding."""
    golden = json.loads(RANKING.read_text())
    assert (vectors[:4] * np.array(golden["first"])).sum(1).min() >= 0.9999
    scores = queries @ vectors.T
    assert np.abs(scores - np.array(golden["scores"])).max() < 1e-4
    for row, order in zip(scores, golden["order"], strict=True):
        assert np.diff(row[order]).max() < 1e-4
