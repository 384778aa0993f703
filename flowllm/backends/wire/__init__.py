"""The contract of a wire: one format of requests and answers, without any I/O.

``flowllm/backends/wire/NAME.py`` holds the wire that provider files call ``NAME``: a class ``Wire``
made for one provider, and a pydantic model ``Quirks``, the closed vocabulary of what providers that
speak it do differently. A wire turns a `Request` into `HttpParts` and frames into deltas; what a
provider does differently is a quirk, never a test of its name. A wire may also be one that `Lists` models or
`Counts` tokens, and a decoder one that `Begins` work.
"""

import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, Protocol, runtime_checkable
from urllib.parse import urljoin

from flowllm.backends.body_words import word_misfits
from flowllm.backends.framing import Frame, JsonForm
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.delta import Delta
from flowllm.core.errors import ProviderFailure
from flowllm.core.nearest import did_you_mean
from flowllm.core.record import record
from flowllm.core.request import Chat, Request
from flowllm.text.misfits import Misfit, misfits, unknown_word


@record
class HttpParts:
    """A request but for its server and its secrets; ``body`` is JSON.

    ``path`` starts with a slash, or is a whole URL of one of the provider's own servers. ``json`` says what
    an answer that begins as JSON is: one whole body, lines, or the items of an array. ``headers``, named in
    lower case, go beside those of the provider. ``delay``: seconds to wait before it is sent.
    """

    method: str
    path: str
    body: bytes = b""
    stream: bool = False
    json: JsonForm = "whole"
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0


class Decoder(Protocol):
    """Frames of one answer to deltas.

    ``done``: the end mark came and nothing more is to be expected; ``complete``: the answer could
    end here. Errors inside the answer are raised as `ProviderFailure` with the text so far. ``follow``:
    the answer goes on in that of another request, to be sent when these frames are at their end; who sends
    it sets it to None.
    """

    done: bool
    complete: bool
    partial_text: str
    follow: HttpParts | None

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


@record
class Listing:
    """Where servers of a format list their models, and how the list is read.

    ``rows`` is the word of the answer that holds a row a model, ``name`` the words of a row that name it, a
    slash between them; ``prefix`` is cut off. An answer without ``rows`` is read as one row.
    """

    path: str
    rows: str
    name: tuple[str, ...] = ("id",)
    prefix: str = ""

    def parts(self, card: ProviderCard) -> HttpParts:
        """The request for the list; the file of a provider may name another place."""
        place = card.endpoints.get("models", self.path)
        return HttpParts("GET", urljoin(f"{card.base_url}/", place) if place.startswith("../") else place)

    def names(self, answer: Any) -> tuple[str, ...]:
        """The models that an answer names; `ProviderFailure` ``invalid_response`` where it is no list of models."""
        try:
            rows = answer if isinstance(answer, list) else answer.get(self.rows, [answer])
            names = ["/".join(row[word] for word in self.name) for row in rows]
        except (AttributeError, KeyError, TypeError):
            raise ProviderFailure("invalid_response", "the answer is no list of models") from None
        return tuple(_shown(name.removeprefix(self.prefix)) for name in names)


def _shown(name: str) -> str:
    """A name as it can be shown anywhere: what a server says may steer a terminal."""
    return name if name.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in name)


@runtime_checkable
class Lists(Protocol):
    """A wire whose servers list their models."""

    models: Listing


@runtime_checkable
class Counts(Protocol):
    """A wire whose servers count the tokens of a chat without answering it."""

    def count(self, request: Chat) -> HttpParts:
        """The question how many tokens ``request`` has."""
        ...

    def counted(self, answer: Any) -> int | None:
        """The tokens that an answer to it tells."""
        ...


def find_wire(name: str, card: ProviderCard) -> Wire:
    """The wire ``name`` for one provider; its quirks must have been checked."""
    wire: Wire = _module(name).Wire(card)
    return wire


def model_of(card: ProviderCard, model: str) -> tuple[str, ModelCard | None]:
    """The provider's own name of ``provider/name``, and what is known of it."""
    name = model.removeprefix(f"{card.name}/")
    return name, card.models.get(name)


class Begins:
    """A decoder of work that goes on at the provider, and costs, although nobody waits for it any more.

    Once a request for it was answered well, no failure is a reason to begin it again: it would be paid twice.
    A class and no protocol: every answer's decoder is asked whether it is one.
    """

    __slots__ = ()

    cancel: HttpParts | None
    """What ends the work; None where there is none to end."""


@runtime_checkable
class Fills(Protocol):
    """Quirks whose texts name settings of their provider."""

    def misfits(self, settings: Iterable[str]) -> Iterable[Misfit]:
        """What is wrong with them where ``settings`` are the settings that there are; steps begin at the quirks."""
        ...


_EXAMPLES = {
    "drop": "[seed]",
    "errors": "{message: error.text}",
    "finish": "{full: length}",
    "rename": "{max_tokens: max_output}",
    "usage": "{input: answer.tokens.read, output: answer.tokens.written}",
}
"""Values of quirks, for hints."""


def check_quirks(
    wires: Iterable[str], quirks: Mapping[str, Any], settings: Iterable[str] | None = None
) -> Sequence[Misfit]:
    """What is wrong with the wires of a provider (steps ``wire, NAME``), else with its quirks (``quirks, WORD``).

    A wire is imported when there are quirks to check. ``settings`` are names; where they are not known, no
    text is looked through for them.
    """
    from pydantic import ValidationError

    names = list(dict.fromkeys(wires))
    unknown = [name for name in names if not _exists(name)]
    if unknown:
        return [_unknown_wire(name) for name in unknown]
    if not quirks:
        return []
    models = [_module(name).Quirks for name in names]
    known = {word for model in models for word in model.model_fields}
    owner = f"{' or '.join(names)} as a wire" if names else "a provider without a wire"
    problems = [unknown_word(word, known, owner, ("quirks", word)) for word in quirks if word not in known]
    for model in models:
        own = own_quirks(model, quirks)
        try:
            made = model.model_validate(own)
        except ValidationError as error:
            found: Iterable[Misfit] = misfits(error, own, model, "quirks", _EXAMPLES)
        else:
            found = made.misfits(settings) if settings is not None and isinstance(made, Fills) else ()
        problems += [replace(one, steps=("quirks", *one.steps)) for one in found]
    if not problems:
        problems = [replace(one, steps=("quirks", *one.steps)) for one in word_misfits(names, quirks)]
    return list(dict.fromkeys(problems))


def wire_names() -> list[str]:
    """The wires that are installed."""
    names = sorted(found.name for found in pkgutil.iter_modules(__path__))
    return [name for name in names if hasattr(_module(name), "Wire")]


def _unknown_wire(name: str) -> Misfit:
    names = wire_names()
    hint = did_you_mean(name, names, f"known wires: {', '.join(names)}")
    return Misfit("bad_value", f"there is no wire `{name}`", ("wire", name), hint)


def own_quirks(model: Any, quirks: Mapping[str, Any]) -> dict[str, Any]:
    """Those words of ``quirks`` that the pydantic model has fields for."""
    return {word: value for word, value in quirks.items() if word in model.model_fields}


def _exists(name: str) -> bool:
    return name.isidentifier() and importlib.util.find_spec(f"{__name__}.{name}") is not None


def _module(name: str) -> Any:
    return importlib.import_module(f"{__name__}.{name}")
