"""Ranking at Amazon Bedrock, on a server of its own: a query and documents to scores."""

from typing import Any

import orjson

from flowllm.backends.content import Spoken, Vocabulary, merged, set_in
from flowllm.backends.wire import Decoder, HttpParts, find_wire, model_of
from flowllm.core.card import ProviderCard
from flowllm.core.request import Request, Rerank


class Quirks(Vocabulary):
    """What a host of this format does differently; on a model they override the provider's.

    ``model_arn`` is what names a model: ``{model}`` in it is the model's name, other names in braces are
    settings. A name that is an ARN already stays as it is.
    """

    model_arn: str = "{model}"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks

    def __init__(self, card: ProviderCard) -> None:
        super().__init__(card)
        self._ranking = find_wire("rerank", ProviderCard(card.name))

    def encode(self, request: Request) -> HttpParts:
        """A query and its documents as a POST of JSON."""
        assert isinstance(request, Rerank)
        name = model_of(self._card, request.model)[0]
        if not name.startswith("arn:"):
            model_arn = self._quirks.of(request.model).model_arn
            name = set_in(model_arn.replace("{model}", name), self._card.settings)
        asked: dict[str, Any] = {"modelConfiguration": {"modelArn": name}}
        if request.k is not None:
            asked["numberOfResults"] = request.k
        body = {
            "queries": [{"type": "TEXT", "textQuery": {"text": request.query}}],
            "sources": [_source(text) for text in request.documents],
            "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL", "bedrockRerankingConfiguration": asked},
        }
        return HttpParts("POST", "/rerank", orjson.dumps(merged(body, request.extra)))

    def decoder(self, request: Request) -> Decoder:
        """A decoder of one answer; its indexes must be those of documents."""
        return self._ranking.decoder(request)


def _source(text: str) -> dict[str, Any]:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}
