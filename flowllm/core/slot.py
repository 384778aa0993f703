"""What is evaluated while a pipeline runs: slots, templates and prompts, as parsed and before compiling.

A slot gives a value, a template gives text, a prompt gives messages. All are plain data with the
place where they were written; ``flowllm.text`` parses and evaluates them.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any, Final

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.record import record

EVERY = None
"""A step of a path that stands for every item of a list (``docs[].text``)."""


@record
class Path:
    """``chunks.parts``, ``inputs.docs[0].id``, ``inputs.docs[].text``.

    ``steps`` after ``root``: a string is a key, an integer an index, `EVERY` each item.
    """

    root: str
    steps: tuple[str | int | None, ...] = ()
    origin: Origin = field(default=UNKNOWN, compare=False)

    def __str__(self) -> str:
        words = [f".{s}" if isinstance(s, str) else "[]" if s is EVERY else f"[{s}]" for s in self.steps]
        return self.root + "".join(words)


@record
class Expression:
    """The inside of one ``{{ ... }}``: gives a value, not text."""

    source: str
    origin: Origin = field(default=UNKNOWN, compare=False)


@record
class Literal:
    """``{const: ...}``, a number, a boolean or null."""

    value: Any
    origin: Origin = field(default=UNKNOWN, compare=False)


@record
class ListOf:
    """A list of slots."""

    items: tuple["Slot", ...]
    origin: Origin = field(default=UNKNOWN, compare=False)


@record
class MapOf:
    """A mapping of slots."""

    items: Mapping[str, "Slot"]
    origin: Origin = field(default=UNKNOWN, compare=False)


UNREADABLE: Final = object()
"""The value of a `Literal` that stands for a slot whose fault is reported: nothing else is said of it."""

Slot = Path | Expression | Literal | ListOf | MapOf


@record
class Template:
    """A body of text with ``{{ }}`` and ``{% %}``; ``origin`` is where its first character stands."""

    source: str
    origin: Origin = field(default=UNKNOWN, compare=False)


@record
class ImageOf:
    """An image of a message: a slot whose value is a data URL, an https URL or {media_type, data}."""

    slot: Slot


@record
class MessageTemplate:
    """One message of a prompt. A message whose text renders to blank is left out.

    ``prompt_cache`` (5m or 1h) marks its end as that of what the provider is to keep.
    """

    role: str
    parts: tuple[Template | ImageOf, ...]
    prompt_cache: str = ""


@record
class PromptTemplate:
    """A whole prompt: messages in order. A bare string in YAML is one user message."""

    messages: tuple[MessageTemplate, ...]


@record
class Late:
    """Slots that the node itself evaluates, with names of its own (rules of `validate`, `value`)."""

    slots: Mapping[str, Slot]
    names: tuple[str, ...] = ()


Evaluable = Slot | Template | PromptTemplate | Late
