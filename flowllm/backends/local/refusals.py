"""What encoders refuse of a request whatever its texts say: told before a run by checks, in a run as its failure."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flowllm.backends.local.layout import Description
from flowllm.backends.local.words import POOLINGS
from flowllm.core.card import Refusal
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.request import Chat, Embed, Request, Rerank
from flowllm.text.misfits import misfits

_EXTRA = "extra"


class Extra(BaseModel):
    """What ``extra`` of a node says of vectors, over the model's files; ``prompt`` stands before every text."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    pooling: Literal["mean", "cls", "last", "max", "mean_sqrt_len", "weighted_mean"] | None = None
    normalize: bool | None = None
    prompt: str | None = None


def refused(one: Refusal, model: str) -> ProviderFailure:
    """A refusal as the failure of a run."""
    return ProviderFailure(one.code, one.message, facts=ProviderFacts("local", model), hint=one.hint)


def refusals(request: Request, found: Description) -> Iterator[Refusal]:
    """Why an encoder of the request's task would refuse it."""
    if isinstance(request, Embed):
        yield from of_vectors(request.extra, found)
    elif isinstance(request, Rerank) or found.task == "classify":
        yield from _unread(request.extra, "ranks" if isinstance(request, Rerank) else "chooses among labels")
    if isinstance(request, Chat) and found.task == "classify":
        yield from _of_choices(request, found.labels)


def of_vectors(extra: Mapping[str, Any], found: Description) -> Iterator[Refusal]:
    """What is wrong with the ``extra`` of vectors, and that it has to name a pooling where no file does."""
    try:
        said = Extra.model_validate(dict(extra))
    except ValidationError as error:
        for one in misfits(error, extra, Extra, "`extra` of a local model", {"prompt": "'query: '"}):
            yield Refusal(one.code, one.message, one.hint, (_EXTRA, *one.steps), one.part == "key")
        return
    if not (found.pooled or said.pooling or found.pooling):
        message = f"the files of {found.folder.name} do not say how vectors of tokens become one"
        yield Refusal("missing_field", message, f"extra: {{pooling: mean}}, one of {', '.join(POOLINGS)}", (_EXTRA,))


def _unread(extra: Mapping[str, Any], does: str) -> Iterator[Refusal]:
    for word in extra:
        message = f"a local model that {does} reads nothing in `extra`, and this has `{word}`"
        yield Refusal("unknown_field", message, "leave `extra` out", (_EXTRA, word), is_key=True)


def _of_choices(request: Chat, labels: tuple[str, ...]) -> Iterator[Refusal]:
    """That a classifier is to choose among its labels, and among no others."""
    hint = f"choices: [{', '.join(labels[:20])}]"
    if not request.choices:
        message = f"`{request.model}` chooses among labels, and this call has no `choices`"
        yield Refusal("capability_mismatch", message, hint)
        return
    known = set(map(plain, labels))
    unknown = [choice for choice in request.choices if plain(choice) not in known]
    if unknown:
        message = f"`{request.model}` knows no label {', '.join(unknown)}"
        yield Refusal("capability_mismatch", message, hint, ("choices",))


def plain(label: str) -> str:
    """A label as it is compared: letters and digits alone, in lower case."""
    return "".join(filter(str.isalnum, label.casefold())) or label
