"""The embeddings format of Gemini: texts in, one vector each out, in one batch."""

from typing import Any

import orjson

from flowllm.backends.answers import count_of
from flowllm.backends.content import Spoken, Vocabulary, merged, path_of
from flowllm.backends.vectors import VectorsDecoder
from flowllm.backends.wire import HttpParts, model_of
from flowllm.core.delta import Usage
from flowllm.core.request import Embed, Request


class Quirks(Vocabulary):
    """What a provider of this format does differently; on a model they override the provider's.

    ``task_type`` is said of every text.
    """

    task_type: str = ""


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks

    def encode(self, request: Request) -> HttpParts:
        """Texts as a POST of JSON; ``extra`` is said of every text."""
        assert isinstance(request, Embed)
        path = path_of(model_of(self._card, request.model)[0])
        each: dict[str, Any] = {"model": path[1:]}
        if request.dimensions is not None:
            each["outputDimensionality"] = request.dimensions
        if task_type := self._quirks.of(request.model).task_type:
            each["taskType"] = task_type
        each = merged(each, request.extra)
        requests = [{**each, "content": {"parts": [{"text": text}]}} for text in request.texts]
        return HttpParts("POST", f"{path}:batchEmbedContents", orjson.dumps({"requests": requests}))

    def decoder(self, request: Request) -> VectorsDecoder:
        """A decoder of one answer; it must hold a vector for every text."""
        return VectorsDecoder(_read, len(request.texts) if isinstance(request, Embed) else None)


def _read(body: dict[str, Any]) -> tuple[list[Any], Usage | None]:
    rows = body["embeddings"] if "embeddings" in body else [body["embedding"]]
    usage = body.get("usageMetadata")
    counted = Usage(input=count_of(usage.get("promptTokenCount"))) if isinstance(usage, dict) else None
    return [row["values"] for row in rows], counted
