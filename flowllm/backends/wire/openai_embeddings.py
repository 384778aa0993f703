"""The embeddings format of OpenAI: texts in, one vector each out, as numbers or base64 of float32."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.backends.failures import failure_inside, failure_of, snippet
from flowllm.backends.framing import Frame
from flowllm.backends.usage import input_of, output_of
from flowllm.backends.wire import HttpParts, model_of, own_quirks
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Finish, Meta, Usage, Vectors
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.request import Embed, Request


class Quirks(BaseModel):
    """What a provider of this format does differently. ``encoding`` is how vectors travel.

    ``rename`` works on the names of the body.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    embeddings_path: str = "/embeddings"
    encoding: Literal["unsaid", "float", "base64"] = "float"
    rename: Mapping[str, str] = {}


class Wire:
    """The format as one provider speaks it."""

    def __init__(self, card: ProviderCard) -> None:
        self._card = card
        self._quirks = Quirks.model_validate(own_quirks(Quirks, card.quirks))

    def encode(self, request: Request) -> HttpParts:
        """Texts as a POST of JSON."""
        assert isinstance(request, Embed)
        body: dict[str, Any] = {"model": model_of(self._card, request.model)[0], "input": request.texts}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if self._quirks.encoding != "unsaid":
            body["encoding_format"] = self._quirks.encoding
        body = {self._quirks.rename.get(name, name): value for name, value in body.items()}
        body.update(request.extra)
        return HttpParts("POST", self._quirks.embeddings_path, orjson.dumps(body))

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer; it must hold a vector for every text."""
        return Decoder(len(request.texts) if isinstance(request, Embed) else None)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means."""
        return failure_of(status, headers, body)


class Decoder:
    """The one frame of an answer to deltas. ``expected`` None takes any number of vectors."""

    partial_text = ""

    def __init__(self, expected: int | None = None) -> None:
        self._expected = expected
        self.complete = False
        self.done = False

    def feed(self, frame: Frame) -> Iterable[Delta]:
        """The vectors, in the order of the texts."""
        try:
            body = orjson.loads(frame.data)
        except orjson.JSONDecodeError:
            raise _invalid(frame, "is no JSON") from None
        rows = body.get("data") if isinstance(body, dict) else None
        if not isinstance(rows, list):
            if isinstance(body, dict) and (body.get("error") or body.get("detail") or body.get("object") == "error"):
                raise failure_inside(body)
            raise _invalid(frame, "holds no embeddings")
        self.complete = self.done = True
        yield Vectors(self._vectors(rows, frame))
        if body.get("model"):
            yield Meta(model=str(body["model"]))
        if isinstance(usage := body.get("usage"), dict):
            yield Usage(input=input_of(usage), output=output_of(usage))

    def finish(self) -> Iterable[Delta]:
        """The end mark; there is none when nothing came."""
        if not self.complete:
            raise ProviderFailure("empty_response", "the answer is empty")
        return (Finish("stop"),)

    def _vectors(self, rows: list[Any], frame: Frame) -> Sequence[Any]:
        try:
            ordered = sorted(rows, key=lambda row: row.get("index") or 0)
            vectors = [_vector(row["embedding"]) for row in ordered]
        except (KeyError, TypeError, AttributeError, ValueError):
            raise _invalid(frame, "holds something that is no embedding") from None
        if self._expected is not None and len(vectors) != self._expected:
            message = f"the answer holds {len(vectors)} embeddings for {self._expected} texts"
            raise ProviderFailure("invalid_response", message)
        return vectors


def _vector(value: Any) -> Sequence[float]:
    if isinstance(value, str):
        import base64

        import numpy as np

        data = base64.b64decode(value)
        return np.frombuffer(data[: len(data) // 4 * 4], dtype="<f4")  # type: ignore[return-value]
    if not isinstance(value, list):
        raise TypeError
    return value


def _invalid(frame: Frame, what: str) -> ProviderFailure:
    message = f"the answer {what}: {snippet(frame.data)}"
    return ProviderFailure("invalid_response", message, facts=ProviderFacts())
