"""Ranking as Cohere, Jina, Voyage, Together, vLLM and TEI speak it: a query and documents to scores.

The dialects differ in a few names, which are quirks; answers are read in all of them.
"""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from flowllm.backends.content import Spoken, Vocabulary, merged
from flowllm.backends.ranks import RanksDecoder
from flowllm.backends.wire import HttpParts, model_of
from flowllm.core.request import Request, Rerank


class Quirks(Vocabulary):
    """What a provider of this format does differently; on a model they override the provider's.

    ``top`` is its name for the number of documents wanted, ``unsaid`` where it has none;
    ``rerank_documents`` its name for the documents. ``rerank_model`` False: the server has one model.
    ``rerank_add`` goes into every body.
    """

    rerank_path: str = "/rerank"
    top: Literal["top_n", "top_k", "unsaid"] = "top_n"
    rerank_documents: Literal["documents", "texts", "passages"] = "documents"
    rerank_model: bool = True
    rerank_add: Mapping[str, Any] = {}


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks

    def encode(self, request: Request) -> HttpParts:
        """A query and its documents as a POST of JSON."""
        assert isinstance(request, Rerank)
        quirks = self._quirks.of(request.model)
        body: dict[str, Any] = {"query": request.query, quirks.rerank_documents: request.documents}
        if quirks.rerank_model:
            body["model"] = model_of(self._card, request.model)[0]
        if request.k is not None and quirks.top != "unsaid":
            body[quirks.top] = request.k
        body = merged(merged(body, quirks.rerank_add), request.extra)
        return HttpParts("POST", quirks.rerank_path, orjson.dumps(body))

    def decoder(self, request: Request) -> RanksDecoder:
        """A decoder of one answer; its indexes must be those of documents."""
        assert isinstance(request, Rerank)
        return RanksDecoder(len(request.documents), request.k)
