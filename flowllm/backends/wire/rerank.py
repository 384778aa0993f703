"""Ranking as Cohere, Jina, Voyage, Together, vLLM and TEI speak it: a query and documents to scores.

The dialects differ in a few names, which are quirks; answers are read in all of them: ``results``,
``data`` or a bare list, ``relevance_score``, ``score`` or ``relevanceScore``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.backends.answers import BodyDecoder, count_of, invalid, json_of
from flowllm.backends.failures import failure_inside, failure_of
from flowllm.backends.framing import Frame
from flowllm.backends.usage import input_of, output_of
from flowllm.backends.wire import HttpParts, model_of, own_quirks
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Meta, Scores, Usage
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Request, Rerank

_SCORES = ("relevance_score", "score", "relevanceScore")


class Quirks(BaseModel):
    """What a provider of this format does differently.

    ``top`` is its name for the number of documents wanted, ``unsaid`` where it has none;
    ``rerank_documents`` its name for the documents. ``rerank_model`` False: the server has one model.
    ``rerank_add`` goes into every body.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    rerank_path: str = "/rerank"
    top: Literal["top_n", "top_k", "unsaid"] = "top_n"
    rerank_documents: Literal["documents", "texts", "passages"] = "documents"
    rerank_model: bool = True
    rerank_add: Mapping[str, Any] = {}


class Wire:
    """The format as one provider speaks it."""

    def __init__(self, card: ProviderCard) -> None:
        self._card = card
        self._quirks = Quirks.model_validate(own_quirks(Quirks, card.quirks))

    def encode(self, request: Request) -> HttpParts:
        """A query and its documents as a POST of JSON."""
        assert isinstance(request, Rerank)
        quirks = self._quirks
        body: dict[str, Any] = {"query": request.query, quirks.rerank_documents: request.documents}
        if quirks.rerank_model:
            body["model"] = model_of(self._card, request.model)[0]
        if request.k is not None and quirks.top != "unsaid":
            body[quirks.top] = request.k
        body.update({**quirks.rerank_add, **request.extra})
        return HttpParts("POST", quirks.rerank_path, orjson.dumps(body))

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer; its indexes must be those of documents."""
        assert isinstance(request, Rerank)
        return Decoder(len(request.documents), request.k)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means."""
        return failure_of(status, headers, body)


class Decoder(BodyDecoder):
    """The one frame of an answer to deltas: at most ``most`` of ``documents`` documents, best first."""

    def __init__(self, documents: int, most: int | None = None) -> None:
        super().__init__()
        self._documents = documents
        self._most = most

    def _deltas(self, frame: Frame) -> Iterable[Delta]:
        body = json_of(frame)
        rows = self._rows(body)
        if not isinstance(rows, list):
            if isinstance(body, dict) and ({"error", "detail", "message"} & body.keys()):
                raise failure_inside(body)
            raise invalid(frame, "holds no scores")
        try:
            pairs = [(row["index"], float(_score(row))) for row in rows]
        except (AttributeError, KeyError, TypeError, ValueError):
            raise invalid(frame, "holds something that is no score") from None
        if not all(type(index) is int and 0 <= index < self._documents for index, _ in pairs):
            raise invalid(frame, "ranks a document that was not given")
        return (_scores(pairs, self._most), *(self._facts(body) if isinstance(body, dict) else ()))

    def _rows(self, body: Any) -> Any:
        """A list of ``{index, relevance_score | score}``; anything else means that there are no scores."""
        return body.get("results", body.get("data")) if isinstance(body, dict) else body

    def _facts(self, body: dict[str, Any]) -> Iterable[Delta]:
        """Who answered and what it cost."""
        if body.get("model"):
            yield Meta(model=str(body["model"]))
        usage = body.get("usage")
        billed = body.get("meta") if isinstance(body.get("meta"), dict) else {}
        tokens = (billed or {}).get("tokens") or (billed or {}).get("billed_units")
        if isinstance(usage, dict) and input_of(usage) is not None:
            yield Usage(input=input_of(usage), output=output_of(usage))
        elif isinstance(tokens, dict) and count_of(tokens.get("input_tokens")) is not None:
            yield Usage(input=count_of(tokens.get("input_tokens")), output=count_of(tokens.get("output_tokens")))


def _score(row: dict[str, Any]) -> Any:
    return next((row[name] for name in _SCORES if name in row), None)


def _scores(pairs: list[tuple[int, float]], most: int | None) -> Scores:
    best = sorted(pairs, key=lambda pair: -pair[1])[:most]
    return Scores([index for index, _ in best], [score for _, score in best])
