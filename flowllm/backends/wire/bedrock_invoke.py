"""InvokeModel of Amazon Bedrock: bodies in the format of the model's own family, answers likewise.

The family stands in the model's name or in the quirk ``family``. Claude is asked in the messages
format, Nova in that of Converse, and models that understand chat completions in these, each by the
wire that speaks it; older text models have bodies of their own (`hosted_text`). A streamed answer
comes as pieces wrapped in the binary event stream. Titan embeds one text a request: several follow each other.
"""

import base64
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal
from urllib.parse import quote

import orjson

from flowllm.backends.answers import AnswerDecoder, invalid, object_of, with_text
from flowllm.backends.content import Spoken, Vocabulary, merged
from flowllm.backends.framing import Frame
from flowllm.backends.hosted import family_of
from flowllm.backends.hosted_text import BODIES, TOLD, Tell, TextDecoder, claude_told
from flowllm.backends.lone_surrogates import marked, restored
from flowllm.backends.thinking import ROOM, Sampled
from flowllm.backends.vectors import OneByOne, VectorsDecoder, after_first
from flowllm.backends.wire import Decoder, HttpParts, find_wire, model_of
from flowllm.backends.wire import Wire as AnyWire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Delta, Usage
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Embed, Request

_CHAT = "openai_chat"
_WIRES = {"anthropic": "anthropic_messages", "nova": "bedrock_converse"}
# Models of the text families that take chat completions, by words of their names.
_CHATTING = {"ai21": ("jamba",), "mistral": ("2407", "pixtral", "ministral", "magistral", "devstral", "large-3")}
_UNSAID = ("model", "stream", "stream_options")
_CHUNK = "chunk"
_MESSAGES = {"max_tokens", "thinking", "sampling", "unsampled", "structured", "cache"}


class Quirks(Vocabulary):
    """What a model of this format does differently; words of a model override the provider's.

    ``family`` says whose body a model takes where its name does not. ``max_tokens``, ``thinking``, ``sampling``,
    ``unsampled``, ``structured`` and ``cache`` are those of the messages format and of Converse. ``input_type`` is
    said of texts to embed where ``extra`` says nothing.
    """

    family: Literal["", "anthropic", "nova", "titan", "llama", "cohere", "ai21", "mistral", "openai"] = ""
    max_tokens: int = ROOM
    thinking: Literal["effort", "budget", "none"] = "effort"
    sampling: Sampled = "unthinking"
    unsampled: tuple[str, ...] = ()
    structured: Literal["json_schema", "none"] = "json_schema"
    cache: Literal["none", "prefix"] = "none"
    input_type: str = "search_document"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks

    def __init__(self, card: ProviderCard) -> None:
        super().__init__(card)
        self._wires: dict[str, AnyWire] = {}

    def encode(self, request: Request) -> HttpParts:
        """A chat or texts as a POST of JSON."""
        name, family = self._of(request.model)
        stream = isinstance(request, Chat) and request.stream
        if isinstance(request, Embed):
            body = orjson.dumps(merged(_embed(family, request, self._quirks.of(request.model)), request.extra))
        else:
            assert isinstance(request, Chat)
            body = self._chat(name, family, request)
        action = "invoke-with-response-stream" if stream else "invoke"
        return HttpParts("POST", f"/model/{quote(name, safe='')}/{action}", body, stream)

    def decoder(self, request: Request) -> "Unwrapped | VectorsDecoder | OneByOne":
        """A decoder of one answer."""
        family = self._of(request.model)[1]
        if isinstance(request, Embed):
            if family == "cohere" or len(request.texts) <= 1:
                return VectorsDecoder(_vectors, len(request.texts))
            return OneByOne(VectorsDecoder(_vectors, 1), after_first(self.encode, request))
        kind = f"an answer of the family {family}"
        if family in TOLD:
            return Unwrapped(TextDecoder(family), kind)
        inner = self._wire(request.model, family).decoder(request)
        return Unwrapped(inner, kind, claude_told if family == "anthropic" else None)

    def _of(self, model: str) -> tuple[str, str]:
        """The provider's name of a model, and its family."""
        name = model_of(self._card, model)[0]
        family = self._quirks.of(model).family or family_of(name)
        if not family:
            message = f"the name `{name}` does not say whose format the model takes"
            raise ProviderFailure("bad_request", message, hint="write `quirks: {family: anthropic}` with the model")
        return name, family if family in (*_WIRES, *TOLD) else "openai"

    def _chat(self, name: str, family: str, request: Chat) -> bytes:
        chatting = any(word in name for word in _CHATTING.get(family, ()))
        if family in BODIES and not chatting:
            return orjson.dumps(merged(BODIES[family](name, request), request.extra))
        return self._wire(request.model, family).encode(request).body

    def _wire(self, model: str, family: str) -> AnyWire:
        """The wire of a family, with this provider's words in the vocabulary of that wire."""
        if model not in self._wires:
            wire = _WIRES.get(family, _CHAT)
            words = _words(family, self._quirks.of(model))
            models = {name: replace(known, quirks={}) for name, known in self._card.models.items()}
            self._wires[model] = find_wire(wire, replace(self._card, quirks=words, models=models))
        return self._wires[model]


def _words(family: str, quirks: Quirks) -> dict[str, Any]:
    """The quirks of the family's own wire."""
    if family == "anthropic":
        add = {"anthropic_version": "bedrock-2023-05-31"}
        passed = quirks.model_dump(include=_MESSAGES)
        return {**passed, "add": add, "drop": _UNSAID}
    if family == "nova":
        structured = "tool" if quirks.structured == "json_schema" else "none"
        add = {"schemaVersion": "messages-v1"}
        return {"fields": "", "add": add, "structured": structured, "cache": quirks.cache}
    rename = {"max_tokens": "max_completion_tokens"} if family == "openai" else {}
    return {"drop": _UNSAID, "rename": rename, "structured": quirks.structured}


def _embed(family: str, request: Embed, quirks: Quirks) -> dict[str, Any]:
    if family == "cohere":
        body = {"texts": request.texts, "input_type": quirks.input_type, "embedding_types": ["float"]}
        return body | ({} if request.dimensions is None else {"output_dimension": request.dimensions})
    body = {"inputText": "".join(request.texts[:1])}
    return body | ({} if request.dimensions is None else {"dimensions": request.dimensions})


def _vectors(body: dict[str, Any]) -> tuple[list[Any], Usage | None]:
    read = body.get("inputTextTokenCount")
    usage = None if read is None else Usage(input=int(read))
    if "embedding" in body:
        return [body["embedding"]], usage
    given = body["embeddings"]
    return given if isinstance(given, list) else given["float"], usage


class Unwrapped:
    """What stands inside the pieces of a streamed answer, for the decoder of the family's own format.

    ``told`` makes of a body what that decoder reads, where it is another one; ``kind`` is what the
    answer is called in messages.
    """

    __slots__ = ("_decoder", "_kind", "_told")

    def __init__(self, decoder: Decoder | AnswerDecoder, kind: str, told: Tell | None = None) -> None:
        self._decoder = decoder
        self._told = told
        self._kind = kind

    @property
    def done(self) -> bool:
        """Whether the end mark came."""
        return self._decoder.done

    @property
    def complete(self) -> bool:
        """Whether the answer could end here."""
        return self._decoder.complete

    @property
    def follow(self) -> HttpParts | None:
        """The request in whose answer this one goes on."""
        return self._decoder.follow

    @follow.setter
    def follow(self, parts: HttpParts | None) -> None:
        self._decoder.follow = parts

    @property
    def partial_text(self) -> str:
        """The text so far."""
        return self._decoder.partial_text

    def feed(self, frame: Frame) -> Iterable[Delta]:
        """The deltas of one piece or of the whole body."""
        try:
            inner = self._inner(frame)
        except ProviderFailure as found:
            failure = found
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            failure = invalid(frame, f"is not of the shape of {self._kind}")
        else:
            return self._decoder.feed(inner)
        raise with_text(failure, self.partial_text)

    def finish(self) -> Iterable[Delta]:
        """What only the end tells."""
        return self._decoder.finish()

    def _inner(self, frame: Frame) -> Frame:
        if frame.event == _CHUNK:
            data = base64.b64decode(object_of(frame)["bytes"], validate=True)
            if not data:
                raise ValueError
            frame = Frame(data)
        return frame if self._told is None else _retold(frame, self._told)


def _retold(frame: Frame, tell: Tell) -> Frame:
    """The frame as ``tell`` says what it holds; lone surrogates stay what they are."""
    sound = marked(frame.data)
    body = object_of(frame if sound is None else replace(frame, data=sound))
    told = tell(body)
    if told is body:
        return frame
    data = orjson.dumps(told)
    return replace(frame, data=data if sound is None else restored(data))
