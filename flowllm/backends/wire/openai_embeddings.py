"""The embeddings format of OpenAI: texts in, one vector each out, as numbers or base64 of float32."""

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import quote

import orjson

from flowllm.backends.content import Spoken, Vocabulary, finished_body, merged
from flowllm.backends.failures import failure_inside
from flowllm.backends.usage import read_of
from flowllm.backends.vectors import VectorsDecoder
from flowllm.backends.wire import HttpParts, model_of
from flowllm.core.delta import Usage
from flowllm.core.request import Embed, Request


class Quirks(Vocabulary):
    """What a provider of this format does differently; on a model they override the provider's.

    ``encoding`` is how vectors travel. ``embeddings_path`` may hold ``{model}``. ``rename`` works on
    the names of the body.
    """

    embeddings_path: str = "/embeddings"
    encoding: Literal["unsaid", "float", "base64"] = "float"
    rename: Mapping[str, str] = {}


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks

    def encode(self, request: Request) -> HttpParts:
        """Texts as a POST of JSON."""
        assert isinstance(request, Embed)
        quirks = self._quirks.of(request.model)
        name = model_of(self._card, request.model)[0]
        body: dict[str, Any] = {"model": name, "input": request.texts}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if quirks.encoding != "unsaid":
            body["encoding_format"] = quirks.encoding
        body = merged(finished_body(body, (), quirks.rename), request.extra)
        path = quirks.embeddings_path.replace("{model}", quote(name, safe=""))
        return HttpParts("POST", path, orjson.dumps(body))

    def decoder(self, request: Request) -> VectorsDecoder:
        """A decoder of one answer; it must hold a vector for every text."""
        return VectorsDecoder(_read, len(request.texts) if isinstance(request, Embed) else None)


def _read(body: dict[str, Any]) -> tuple[list[Any], Usage | None]:
    if "data" not in body and (body.get("detail") or body.get("object") == "error"):
        raise failure_inside(body)
    ordered = _ordered(body["data"])
    usage = body.get("usage")
    counted = read_of(usage) if isinstance(usage, dict) else None
    return [_vector(row["embedding"]) for row in ordered], counted


def _ordered(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of their texts; ValueError where two are of the same one."""
    places = [row["index"] for row in rows if row.get("index") is not None]
    if len(set(places)) < len(places):
        raise ValueError
    return sorted(rows, key=lambda row: row.get("index") or 0)


def _vector(value: Any) -> Any:
    """Numbers as they are; base64 as float32."""
    if not isinstance(value, str):
        return value
    import base64

    import numpy as np

    data = base64.b64decode(value)
    return np.frombuffer(data[: len(data) // 4 * 4], dtype="<f4")
