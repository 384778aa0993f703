"""What decoders of all formats share: their skeleton, reading JSON, the meaning of end marks, counts, and failures."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar

import orjson

from flowllm.backends.failures import failure_inside, snippet
from flowllm.backends.framing import Frame
from flowllm.backends.lone_surrogates import Halves, marked, mended
from flowllm.backends.wire import HttpParts
from flowllm.core.delta import Delta, Finish, Meta, Text
from flowllm.core.errors import ProviderFacts, ProviderFailure

_WORD = re.compile(r"\s*\S+|\s+")
_FINISH = {
    reason: meaning
    for meaning, reasons in {
        "stop": (
            "stop eos eos_token endoftext end_turn stop_sequence stop_criteria_met complete finish finished completed"
            " succeeded"
        ),
        "length": "length max_tokens max_output_tokens token_limit model_context_window_exceeded",
        "tool_calls": "tool_calls function_call tool_use tool_call",
        "content_filter": (
            "content_filter content_filtered refusal guardrail guardrail_intervened safety sensitive error_toxic"
            " recitation blocklist prohibited_content spii image_safety model_armor intervened"
        ),
        "error": "error failed malformed_function_call unexpected_tool_call malformed_model_output malformed_tool_use",
    }.items()
    for reason in reasons.split()
}


class AnswerDecoder(ABC):
    """Frames of one answer to deltas; a format says in `_read` what it makes of a frame.

    Whatever fails while a frame is read is raised with the text so far: a `ProviderFailure` as it is,
    an AttributeError, IndexError, KeyError or TypeError as an answer that is not of its format.
    """

    __slots__ = (
        "_called", "_citations", "_halves", "_named", "_raw", "_refusal", "_text", "complete", "done", "follow",
    )  # fmt: skip

    kind: ClassVar[str] = "an answer"
    """What the format calls its answer, for messages."""
    mark: ClassVar[bytes] = b""
    """The data that stands for the end of a stream, where the format has some."""

    def __init__(self) -> None:
        self._text: list[str] = []
        self._refusal: list[str] = []
        self._called = False
        self._halves: Halves | None = None
        self._citations = 0
        self._named = False
        self._raw: str | None = None
        self.complete = False
        self.done = False
        self.follow: HttpParts | None = None

    @property
    def partial_text(self) -> str:
        """The text so far."""
        return "".join(self._text) + (self._halves.text if self._halves else "")

    def feed(self, frame: Frame) -> Iterable[Delta]:
        """The deltas of one frame."""
        if self._halves is not None:
            return self._mended(frame, marked(frame.data), self._halves)
        if frame.data == self.mark:
            self.done = self.complete = True
            return ()
        deltas: list[Delta] = []
        try:
            self._read(self._load(frame), frame, deltas)
        except ProviderFailure as found:
            sound = marked(frame.data) if found.code == "invalid_response" else None
            if sound is not None:
                return self._mended(frame, sound, Halves())
            failure = found
        except (AttributeError, IndexError, KeyError, TypeError):
            failure = invalid(frame, f"is not of the shape of {self.kind}")
        else:
            return deltas
        raise with_text(failure, self.partial_text)

    def _mended(self, frame: Frame, sound: bytes | None, halves: Halves) -> Iterable[Delta]:
        """The deltas of a frame of an answer with lone surrogates; the first half of a pair waits for the second.

        ``sound`` is the data of the frame with its own marked, where it has some.
        """
        self._halves, before = None, len(self._text)
        try:
            deltas = self.feed(frame if sound is None else replace(frame, data=sound))
        except ProviderFailure as found:
            failure = found
        else:
            told = halves.joined(deltas, last=frame.whole)
            self._text[before:] = [delta.text for delta in told if type(delta) is Text]
            return told
        finally:
            self._halves = halves
        self._text[before:] = [mended("".join(self._text[before:]))]
        failure = ProviderFailure(failure.code, mended(failure.message), facts=failure.facts, hint=failure.hint)
        raise with_text(failure, self.partial_text)

    def broke_off(self) -> None:
        """The body ended inside of a frame: an answer without an end mark is not complete."""
        self.complete = self.done or (self.complete and self._raw is not None)

    def finish(self) -> Iterable[Delta]:
        """What only the end tells: the refusal where there was no text, the number of citations, the end mark."""
        if not self.complete:
            raise interrupted(self.partial_text)
        deltas = [*self._held()]
        if self._refusal and not any(self._text):
            deltas.append(Text("".join(self._refusal)))
        if self._citations:
            deltas.append(Meta(citations=self._citations))
        if self._halves is not None:
            deltas = [*self._halves.rest(), *self._halves.joined(deltas, last=True)]
        deltas.append(Finish(meaning_of(self._raw, called=self._called), self._raw))
        return deltas

    def _load(self, frame: Frame) -> Any:
        """What the frame holds, an object by default; errors inside are raised."""
        return object_of(frame)

    @abstractmethod
    def _read(self, data: Any, frame: Frame, deltas: list[Delta]) -> None:
        """Append the deltas of what `_load` gave."""

    def _held(self) -> Iterable[Delta]:
        """What was held back until the end."""
        return ()

    def _say(self, text: Any, deltas: list[Delta]) -> None:
        if text:
            text = str(text)
            self._text.append(text)
            deltas.append(Text(text))

    def _name(self, model: Any, deltas: list[Delta]) -> None:
        """The model that answers, the first time that it is named."""
        if model and not self._named:
            self._named = True
            deltas.append(Meta(model=str(model)))

    def _end(self, raw: Any) -> None:
        """The end mark where there is one: the answer may end here."""
        if raw:
            self._raw = str(raw)
            self.complete = True


class BodyDecoder(ABC):
    """The one frame of an answer without text to deltas; a format says in `_deltas` what it makes of it."""

    partial_text = ""

    def __init__(self) -> None:
        self.complete = False
        self.done = False
        self.follow: HttpParts | None = None

    def feed(self, frame: Frame) -> Iterable[Delta]:
        """The deltas of the body."""
        deltas = self._deltas(frame)
        self.complete = self.done = True
        return deltas

    def finish(self) -> Iterable[Delta]:
        """The end mark; there is none when nothing came."""
        if not self.complete:
            raise ProviderFailure("empty_response", "the answer is empty")
        return (Finish("stop"),)

    @abstractmethod
    def _deltas(self, frame: Frame) -> Iterable[Delta]:
        """The deltas of the body."""


def simulated(deltas: Iterable[Delta]) -> Iterator[Delta]:
    """The deltas of an answer that came whole as a stream tells them: text word by word, and said to be so."""
    told = False
    for delta in deltas:
        if not told and type(delta) is not Meta:
            told = True
            yield Meta(simulated=True)
        if type(delta) is Text:
            yield from map(Text, _WORD.findall(delta.text))
        else:
            yield delta


def meaning_of(raw: str | None, *, called: bool) -> str | None:
    """The end mark of a provider in our words; an answer with calls that just stopped wants their results."""
    meaning = _FINISH.get(raw.lower(), "other") if raw else None
    return "tool_calls" if called and meaning in (None, "stop") else meaning


def count_of(value: Any, *others: Any) -> int | None:
    """The first that can be a count; a negative number, a broken one or text is none."""
    if type(value) is int and value >= 0:
        return value
    if type(value) is float and value >= 0 and value.is_integer():
        return int(value)
    return count_of(*others) if others else None


def json_of(frame: Frame) -> Any:
    """The JSON of a frame; `ProviderFailure` ``invalid_response`` for anything else."""
    try:
        return orjson.loads(frame.data)
    except orjson.JSONDecodeError:
        raise invalid(frame, "is no JSON") from None


def object_of(frame: Frame) -> dict[str, Any]:
    """The JSON object of a frame; an error object, bare or in a list, is raised as what it means."""
    data = json_of(frame)
    inner = data[0] if isinstance(data, list) and data else data
    if isinstance(inner, dict) and (inner.get("error") or frame.event == "error"):
        raise failure_inside(inner)
    if not isinstance(data, dict):
        raise invalid(frame, "is no JSON object")
    return data


def invalid(frame: Frame, what: str) -> ProviderFailure:
    """An answer that is not of its format; ``what`` follows "the answer"."""
    return ProviderFailure("invalid_response", f"the answer {what}: {snippet(frame.data)}")


def with_text(failure: ProviderFailure, text: str) -> ProviderFailure:
    """The failure with the text that came before it."""
    facts = replace(failure.facts, partial_text=text)
    return ProviderFailure(failure.code, failure.message, facts=facts, hint=failure.hint)


def interrupted(partial_text: str) -> ProviderFailure:
    """A stream without its end mark."""
    facts = ProviderFacts(partial_text=partial_text)
    return ProviderFailure("stream_interrupted", "the answer broke off before its end", facts=facts)
