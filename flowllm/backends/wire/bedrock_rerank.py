"""Ranking at Amazon Bedrock, on a server of its own: a query and documents to scores."""

from collections.abc import Mapping
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.backends.content import QuirksByModel, merged, set_in
from flowllm.backends.failures import failure_of
from flowllm.backends.wire import Decoder, HttpParts, find_wire, model_of
from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Request, Rerank


class Quirks(BaseModel):
    """What a host of this format does differently; on a model they override the provider's.

    ``model_arn`` is what names a model: ``{model}`` in it is the model's name, other names in braces are
    settings. A name that is an ARN already stays as it is.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    model_arn: str = "{model}"


class Wire:
    """The format as one provider speaks it."""

    def __init__(self, card: ProviderCard) -> None:
        self._card = card
        self._quirks = QuirksByModel(Quirks, card)
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

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means."""
        return failure_of(status, headers, body)


def _source(text: str) -> dict[str, Any]:
    return {"type": "INLINE", "inlineDocumentSource": {"type": "TEXT", "textDocument": {"text": text}}}
