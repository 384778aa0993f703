"""The completions format of OpenAI from before chat: a prompt goes on; whole JSON bodies and event streams.

A conversation is told as one text. A stream that ends with neither a finish reason nor ``[DONE]`` was
interrupted.
"""

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from flowllm.backends.answers import AnswerDecoder
from flowllm.backends.chat_completions import require_known
from flowllm.backends.content import Spoken, Vocabulary, finished_body, merged, prompt_of
from flowllm.backends.framing import Frame
from flowllm.backends.likelihoods import read_columns
from flowllm.backends.usage import usage_of
from flowllm.backends.wire import HttpParts, Listing, model_of
from flowllm.core.delta import Delta
from flowllm.core.request import Chat, Request


class Quirks(Vocabulary):
    """What a provider of this format does differently; on a model they override the provider's.

    ``rename`` and ``drop`` work on the names of the body. ``stream_usage: ask`` sets
    ``stream_options.include_usage``.
    """

    completions_path: str = "/completions"
    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()
    stream_usage: Literal["ask", "always"] = "ask"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/models", "data")

    def encode(self, request: Request) -> HttpParts:
        """A conversation as a POST of JSON."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        body = {"model": model_of(self._card, request.model)[0], **_body(request, quirks)}
        body = merged(finished_body(body, quirks.drop, quirks.rename), request.extra)
        return HttpParts("POST", quirks.completions_path, orjson.dumps(body), request.stream)

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer."""
        return Decoder()


def _body(request: Chat, quirks: Quirks) -> dict[str, Any]:
    sampling = request.sampling
    return {
        "prompt": prompt_of(request),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_output_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "logprobs": sampling.logprobs,
        "stream": request.stream or None,
        "stream_options": {"include_usage": True} if request.stream and quirks.stream_usage == "ask" else None,
    }


class Decoder(AnswerDecoder):
    """Frames of one answer to deltas; see the module for what it accepts."""

    __slots__ = ()
    kind = "a completion"
    mark = b"[DONE]"

    def _read(self, data: dict[str, Any], frame: Frame, deltas: list[Delta]) -> None:
        self._name(data.get("model"), deltas)
        if "choices" not in data:
            require_known(data, frame, "completion")
        for choice in (data.get("choices") or ())[:1]:
            if not choice.get("index"):
                self._say(choice.get("text"), deltas)
                if likely := choice.get("logprobs"):
                    read_columns(likely, deltas)
                self._end(choice.get("finish_reason"))
        if isinstance(usage := data.get("usage"), dict):
            deltas.append(usage_of(usage, data.get("service_tier")))
        self.complete = self.complete or frame.whole
