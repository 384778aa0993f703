"""The contract of a wire: one format of requests and answers, without any I/O.

``flowllm/backends/wire/NAME.py`` holds the wire that provider files call ``NAME``: a class ``Wire``
made for one provider, and a pydantic model ``Quirks``, the closed vocabulary of what providers that
speak it do differently. A wire turns a `Request` into `HttpParts` and frames into deltas; what a
provider does differently is a quirk, never a test of its name.
"""

import importlib
import importlib.util
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flowllm.backends.framing import Frame, JsonForm
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.delta import Delta
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Request


@dataclass(frozen=True, slots=True)
class HttpParts:
    """A request but for its server and its secrets. ``path`` starts with a slash, ``body`` is JSON.

    ``json`` says what an answer that begins as JSON is: one whole body, lines, or the items of an array.
    """

    method: str
    path: str
    body: bytes
    stream: bool = False
    json: JsonForm = "whole"


class Decoder(Protocol):
    """Frames of one answer to deltas.

    ``done``: the end mark came and nothing more is to be expected; ``complete``: the answer could
    end here. Errors inside the answer are raised as `ProviderFailure` with the text so far.
    """

    done: bool
    complete: bool
    partial_text: str

    def feed(self, frame: Frame) -> Iterable[Delta]:
        """The deltas of one frame."""
        ...

    def finish(self) -> Iterable[Delta]:
        """The deltas that only the end tells; `stream_interrupted` when the end mark is missing."""
        ...


class Wire(Protocol):
    """A format as one provider speaks it."""

    def encode(self, request: Request) -> HttpParts:
        """The request in this format."""
        ...

    def decoder(self, request: Request) -> Decoder:
        """A decoder for one answer to ``request``."""
        ...

    def decode_error(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """What an answer with a status of 400 or more means."""
        ...


def find_wire(name: str, card: ProviderCard) -> Wire:
    """The wire ``name`` for one provider; its quirks must have been checked."""
    wire: Wire = _module(name).Wire(card)
    return wire


def model_of(card: ProviderCard, model: str) -> tuple[str, ModelCard | None]:
    """The provider's own name of ``provider/name``, and what is known of it."""
    name = model.removeprefix(f"{card.name}/")
    return name, card.models.get(name)


def check_quirks(wires: Iterable[str], quirks: Mapping[str, Any]) -> Sequence[str]:
    """What is wrong with ``quirks`` of a provider that speaks ``wires``: one sentence each."""
    from pydantic import ValidationError

    unknown = [name for name in wires if not _exists(name)]
    if unknown:
        return [f"`{name}` is no wire that is installed" for name in unknown]
    models = [_module(name).Quirks for name in dict.fromkeys(wires)]
    known = {word for model in models for word in model.model_fields}
    problems = [
        f"`{word}` is no quirk of {' or '.join(dict.fromkeys(wires))}; known are {', '.join(sorted(known))}"
        for word in quirks
        if word not in known
    ]
    for model in models:
        try:
            model.model_validate(own_quirks(model, quirks))
        except ValidationError as error:
            problems += [f"the quirk `{'.'.join(map(str, e['loc']))}`: {e['msg']}" for e in error.errors()]
    return problems


def own_quirks(model: Any, quirks: Mapping[str, Any]) -> dict[str, Any]:
    """Those words of ``quirks`` that the pydantic model has fields for."""
    return {word: value for word, value in quirks.items() if word in model.model_fields}


def _exists(name: str) -> bool:
    return name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}") is not None


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
