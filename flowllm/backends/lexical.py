"""`builtin/lexical`: vectors and ranks from words alone, with no model file, key or network.

A row depends on its own text alone, so callers may cache rows and cut batches as they like.
"""

from collections.abc import AsyncGenerator

from flowllm.core.delta import Delta, Finish, Meta, Scores, Vectors
from flowllm.core.errors import NodeFailure
from flowllm.core.request import Chat, Embed, Request, Rerank
from flowllm.core.scope import Scope

MODEL = "builtin/lexical"


async def answer(request: Request, scope: Scope) -> AsyncGenerator[Delta, None]:
    """A `Call`: an Embed gives `Vectors` (float32, length 1), a Rerank gives `Scores` (BM25)."""
    if isinstance(request, Chat):
        message = f"{MODEL} makes vectors and ranks, it does not write"
        raise NodeFailure("capability_mismatch", message, hint="model=openai/gpt-5.4-mini")
    yield Meta(model=MODEL)
    yield await _embedded(request, scope) if isinstance(request, Embed) else await _ranked(request, scope)
    yield Finish("stop")


async def _embedded(request: Embed, scope: Scope) -> Vectors:
    from flowllm.text.lexical import vectors

    rows = await scope.run_in_thread(lambda: vectors(request.texts))
    assert hasattr(rows, "__len__")
    return Vectors(rows)  # type: ignore[arg-type]


async def _ranked(request: Rerank, scope: Scope) -> Scores:
    from flowllm.text.bm25 import rank

    ranked = await scope.run_in_thread(lambda: rank(request.query, request.documents, request.k))
    assert isinstance(ranked, list)
    return Scores([index for index, _ in ranked], [score for _, score in ranked])
