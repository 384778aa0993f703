import pytest

from flowllm.backends.lexical import answer
from flowllm.core.delta import fold
from flowllm.core.errors import NodeFailure
from flowllm.core.request import Chat, Embed, Rerank
from flowllm.core.scope import Scope
from flowllm.text.lexical import vectors


async def reply(request):
    return fold([delta async for delta in answer(request, Scope())])


async def test_embed_gives_a_row_for_each_text_and_names_the_model():
    got = await reply(Embed("builtin/lexical", ("a cat", "a dog")))
    assert got.model == "builtin/lexical"
    assert got.vectors.tobytes() == vectors(["a cat", "a dog"]).tobytes()


async def test_rerank_gives_scores_best_first():
    got = await reply(Rerank("builtin/lexical", "dog", ("a cat", "a dog", "dog dog"), 2))
    assert list(got.scores.indexes) == [2, 1]
    assert got.scores.scores[0] > got.scores.scores[1] > 0


async def test_it_does_not_write():
    with pytest.raises(NodeFailure, match="builtin/lexical makes vectors and ranks") as caught:
        await reply(Chat("builtin/lexical", ()))
    assert caught.value.code == "capability_mismatch"
