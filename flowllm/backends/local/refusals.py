"""What encoders refuse of a request whatever its texts say: told before a run by checks, in a run as its failure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flowllm.backends.local.layout import Description
from flowllm.backends.local.words import POOLINGS
from flowllm.core.card import Refusal
from flowllm.core.request import Chat, Embed, Request, Rerank
from flowllm.text.misfits import misfits

_EXTRA = "extra"
_BETWEEN = re.compile(r"(?<=[^\W_])[\s_-]+(?=[^\W_])")
"""What only parts two words; a sign at an end of a label is part of it, as in ``C++`` and ``-1``."""


class Extra(BaseModel):
    """What ``extra`` of a node says of vectors, over the model's files; ``prompt`` stands before every text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pooling: Literal["mean", "cls", "last", "max", "mean_sqrt_len", "weighted_mean"] | None = None
    normalize: bool | None = None
    prompt: str | None = None


ASKS: Mapping[str, type[Request]] = {"embed": Embed, "rerank": Rerank, "classify": Chat, "chat": Chat}
"""What a model is asked for, by its task."""


def refusals(request: Request, found: Description) -> Iterator[Refusal]:
    """Why an encoder of the request's task would refuse it."""
    if isinstance(request, Embed):
        yield from of_vectors(request.model, request.extra, found)
        yield from of_length(request, _length(found))
    elif isinstance(request, Rerank) or found.task == "classify":
        yield from _unread(request, "ranks" if isinstance(request, Rerank) else "chooses among labels")
    if isinstance(request, Chat) and found.task == "classify":
        yield from _of_choices(request, found.labels)


def of_vectors(model: str, extra: Mapping[str, Any], found: Description) -> Iterator[Refusal]:
    """What is wrong with the ``extra`` of vectors, and that it has to name a pooling where no file does."""
    try:
        said = Extra.model_validate(dict(extra))
    except ValidationError as error:
        for one in misfits(error, extra, Extra, f"`extra` of `{model}`", {"prompt": "'query: '"}):
            yield Refusal(one.code, one.message, one.hint, (_EXTRA, *one.steps), one.part == "key")
        return
    if not (found.pooled or said.pooling or found.pooling):
        message = f"the files of `{model}` do not say how vectors of tokens become one"
        yield Refusal("missing_field", message, f"extra: {{pooling: mean}}, one of {', '.join(POOLINGS)}", (_EXTRA,))


def of_length(request: Embed, length: int | None) -> Iterator[Refusal]:
    """That longer vectors are asked for than the model makes; nothing where their length is not known."""
    if length is not None and request.dimensions is not None and request.dimensions > length:
        message = f"`{request.model}` makes vectors of {length} numbers, and {request.dimensions} were asked for"
        yield Refusal("capability_mismatch", message, f"dimensions: {length}", ("dimensions",))


def _length(found: Description) -> int | None:
    """How many numbers a vector has, where the graph says it."""
    name = found.pooled or found.tokens
    return next((size for port in found.outputs if port.name == name for size in port.shape[-1:]), None)


def _unread(request: Request, does: str) -> Iterator[Refusal]:
    for word in request.extra:
        message = f"`{request.model}` {does} and reads nothing in `extra`, and this has `{word}`"
        yield Refusal("unknown_field", message, "leave `extra` out", (_EXTRA, word), is_key=True)


def _of_choices(request: Chat, labels: tuple[str, ...]) -> Iterator[Refusal]:
    """That a classifier is to choose among its labels, and among no others."""
    hint = f"choices: [{', '.join(labels[:20])}]"
    if not request.choices:
        message = f"`{request.model}` chooses among labels, and this call has no `choices`"
        yield Refusal("capability_mismatch", message, hint)
        return
    spelled = {choice: _spelled(choice, labels) for choice in request.choices}
    meant = [fitting[0] for fitting in spelled.values() if len(fitting) == 1]
    for told, some in (
        ("knows no label", [choice for choice, fitting in spelled.items() if not fitting]),
        ("has several labels spelled like", [choice for choice, fitting in spelled.items() if len(fitting) > 1]),
        ("is asked twice for the label", sorted({label for label in meant if meant.count(label) > 1})),
    ):
        if some:
            yield Refusal("capability_mismatch", f"`{request.model}` {told} {', '.join(some)}", hint, ("choices",))


def meant_label(choice: str, labels: Sequence[str]) -> str | None:
    """The label that a choice spells: to the letter, else in any case, else with other signs between its words.

    None where none is spelled so, or more than one.
    """
    fitting = _spelled(choice, labels)
    return fitting[0] if len(fitting) == 1 else None


def _spelled(choice: str, labels: Sequence[str]) -> list[str]:
    """The labels that are spelled like a choice, in the closest way in which any is."""
    found = ([label for label in labels if form(label) == form(choice)] for form in (str, str.casefold, _words))
    return next(filter(None, found), [])


def _words(label: str) -> str:
    return _BETWEEN.sub(" ", label.casefold())
