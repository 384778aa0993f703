"""Predictions of Replicate: made by one request, followed by others until they are at their end.

A prediction that is asked for whole is waited for on the server and then asked after; one that streams
is read from the address that it names, as text without JSON. Where a model names none, it is asked
after and its stream is simulated. What a stream costs in tokens is not told. A prediction that is left
before its end is canceled, by a request where it is known, else by the deadline that it was made with.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import orjson

from flowllm.backends.answers import AnswerDecoder, count_of, json_of, object_of
from flowllm.backends.calling import require_no_logprobs
from flowllm.backends.content import Spoken, Vocabulary, finished_body, image_url, merged, prompt_of
from flowllm.backends.failures import LONGEST, failure_inside, failure_of
from flowllm.backends.framing import Frame
from flowllm.backends.wire import Begins, HttpParts, Listing, model_of
from flowllm.core.delta import Delta, Usage
from flowllm.core.errors import ProviderFailure
from flowllm.core.record import record
from flowllm.core.request import Chat, Image, Request

POLL_SECONDS = 0.5
_ENDS = frozenset({"succeeded", "failed", "canceled"})
_VERSION = re.compile(r"[0-9a-f]{40,64}")
_STATUSES = {
    "queued": "queued",
    "starting": "running",
    "processing": "running",
    "succeeded": "succeeded",
    "failed": "failed",
    "canceled": "canceled",
    "aborted": "canceled",
}


class Quirks(Vocabulary):
    """What a model takes and names differently; words of a model override the provider's.

    ``rename`` and ``drop`` work on the names of its ``input``, ``add`` goes into it. ``wait``: seconds that
    the server may hold the answer back until the prediction is at its end, 60 at most. ``cancel_after``: the time
    after which the server cancels a prediction that is asked for whole, as the server writes it (``1m``).
    """

    rename: Mapping[str, str] = {}
    drop: tuple[str, ...] = ()
    add: Mapping[str, Any] = {}
    wait: int = 60
    cancel_after: str = "10m"


class Wire(Spoken[Quirks]):
    """The format as one provider speaks it."""

    vocabulary = Quirks
    models = Listing("/models", "results", ("owner", "name"))

    def encode(self, request: Request) -> HttpParts:
        """A conversation as a POST of JSON that makes a prediction."""
        assert isinstance(request, Chat)
        quirks = self._quirks.of(request.model)
        asked = finished_body(_input(request), quirks.drop, quirks.rename)
        path, body = _place(model_of(self._card, request.model)[0])
        body["input"] = merged(asked, {**quirks.add, **request.extra})
        if request.stream:
            return HttpParts("POST", path, orjson.dumps({**body, "stream": True}))
        headers = {"prefer": f"wait={quirks.wait}", "cancel-after": quirks.cancel_after}
        return HttpParts("POST", path, orjson.dumps(body), headers=headers)

    def decoder(self, request: Request) -> "Decoder":
        """A decoder of one answer."""
        return Decoder(stream=isinstance(request, Chat) and request.stream)

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an error status means; a limit says when it ends in a header of its own."""
        named = {"retry-after": headers["ratelimit-reset"]} if status == 429 and "ratelimit-reset" in headers else {}  # noqa: PLR2004
        return failure_of(status, {**named, **headers}, body)


def _place(name: str) -> tuple[str, dict[str, Any]]:
    """The path that makes a prediction of a model, of a version of it, or of a bare version, and what the body says."""
    model, _, version = name.partition(":")
    if version or _VERSION.fullmatch(name):
        return "/predictions", {"version": version or name}
    return f"/models/{quote(model, safe='/')}/predictions", {}


def _input(request: Chat) -> dict[str, Any]:
    """What most language models there take."""
    require_no_logprobs(request)
    images = [part for message in request.messages for part in message.parts if isinstance(part, Image)]
    texts = _without_images(request) if images else request
    if len(images) > 1:
        raise ProviderFailure("bad_request", "a prediction takes one image", hint="one image a request")
    sampling = request.sampling
    return {
        "prompt": prompt_of(texts),
        "image": image_url(images[0]) if images else None,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_output_tokens,
        "stop_sequences": ",".join(sampling.stop) or None,
        "seed": sampling.seed,
    }


def _without_images(request: Chat) -> Chat:
    texts = ((message, tuple(p for p in message.parts if not isinstance(p, Image))) for message in request.messages)
    return replace(request, messages=tuple(replace(message, parts=parts) for message, parts in texts))


@record
class Prediction:
    """What a provider says of a prediction. ``status``: queued, running, succeeded, failed or canceled.

    A status that is not known (``status_raw`` is the provider's own word) is one of a prediction that runs.
    """

    id: str
    status: str
    status_raw: str
    stream_url: str | None = None
    cancel_url: str | None = None


def prediction_of(body: Mapping[str, Any]) -> Prediction:
    """A prediction as it came; KeyError and TypeError for anything else."""
    raw, urls = str(body["status"]), body.get("urls") or {}
    return Prediction(str(body["id"]), _STATUSES.get(raw, "running"), raw, urls.get("stream"), urls.get("cancel"))


class Decoder(AnswerDecoder, Begins):
    """Frames of one prediction, from its making to its end, to deltas."""

    __slots__ = ("_stream", "_streamed", "cancel")
    kind = "a prediction"

    def __init__(self, *, stream: bool = False) -> None:
        super().__init__()
        self._stream = stream
        self._streamed = False
        self.cancel: HttpParts | None = None

    def _load(self, frame: Frame) -> Any:
        """The text of an event, or the object that it is, None for what is no part of the answer."""
        if frame.event == "output":
            return frame.data.decode()
        if frame.event == "error":
            raise failure_inside(_complaint(frame.data))
        if frame.event not in ("", "done"):
            return None
        data = json_of(frame)
        # The error of a prediction says how it ended; any other is one of the request.
        return data if isinstance(data, dict) and {"id", "status"} <= data.keys() else object_of(frame)

    def _read(self, data: Any, frame: Frame, deltas: list[Delta]) -> None:
        if isinstance(data, str):
            self._say(data, deltas)
        elif frame.event == "done":
            self._last(data.get("reason") or "succeeded", None)
        elif data is not None:
            self._prediction(data, deltas)

    def _last(self, status: str, error: Any) -> None:
        """The end."""
        self.cancel = None
        if status != "succeeded":
            message = "the prediction was canceled" if status == "canceled" else f"the prediction ended as {status}"
            message = str(error)[:LONGEST] if error else message
            raise ProviderFailure("server_error", message)
        self._raw = status
        self.complete = self.done = True

    def _prediction(self, body: dict[str, Any], deltas: list[Delta]) -> None:
        found = prediction_of(body)
        self._name(body.get("model"), deltas)
        if found.status not in _ENDS:
            self.cancel = HttpParts("POST", str(found.cancel_url)) if found.cancel_url else None
            self.follow = self._next(body, found)
            return
        if found.status == "succeeded":
            self._output(body.get("output"), deltas)
            self._usage(body.get("metrics"), deltas)
        self._last(found.status, body.get("error"))

    def _next(self, body: dict[str, Any], found: Prediction) -> HttpParts:
        if self._stream and found.stream_url and not self._streamed:
            self._streamed = True
            return HttpParts("GET", found.stream_url, stream=True, headers={"accept": "text/event-stream"})
        return HttpParts("GET", str(body["urls"]["get"]), delay=POLL_SECONDS)

    def _output(self, output: Any, deltas: list[Delta]) -> None:
        """Text, or its pieces; anything else as JSON."""
        if isinstance(output, list) and all(isinstance(piece, str) for piece in output):
            output = "".join(output)
        self._say(output if isinstance(output, str) or output is None else orjson.dumps(output).decode(), deltas)

    def _usage(self, metrics: Any, deltas: list[Delta]) -> None:
        told = metrics if isinstance(metrics, dict) else {}
        read, written = (count_of(told.get(f"{name}_token_count")) for name in ("input", "output"))
        if read is not None or written is not None:
            deltas.append(Usage(input=read, output=written))


def _complaint(data: bytes) -> Any:
    """What an event of an error says, as JSON or in words."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return {"detail": data.decode()}
