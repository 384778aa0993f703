"""What nodes surely ask of models, and what the models' backends say of it before anything runs."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flowllm.compiler.findings import Findings
from flowllm.compiler.fixed_text import fixed_text_of
from flowllm.compiler.frames import Unit
from flowllm.core.card import ModelCard, Refusal
from flowllm.core.errors import CODES, Problem
from flowllm.core.request import Request
from flowllm.core.slot import PromptTemplate


def foreseen(unit: Unit, model: str) -> Sequence[Request]:
    """What the unit surely sends to a model; messages that may be blank are left out."""
    prompts = {name: value for name, value in unit.node.fields.items() if isinstance(value, PromptTemplate)}
    known = {name: _messages(prompt) for name, prompt in prompts.items()}
    return unit.instance.foreseen(model, known) if unit.instance else ()


def _messages(prompt: PromptTemplate) -> list[dict[str, Any]]:
    said = [(message.role, fixed_text_of(message)) for message in prompt.messages]
    return [{"role": role, "content": text} for role, text in said if text.strip()]


def check_refusals(
    unit: Unit, models: Mapping[str, ModelCard], findings: Findings, fallbacks: Iterable[str] = ()
) -> None:
    """Report what the models that the unit may ask would refuse of it.

    ``extra`` is written for one provider. What those of ``fallbacks`` refuse of it is a warning: the call goes on as
    far as other models answer.
    """
    for name, card in models.items():
        for request in foreseen(unit, name) if card.foresight else ():
            for one in card.foresight.refusals(request) if card.foresight else ():
                findings.add(_problem(unit, one, spare=name in fallbacks))


def _problem(unit: Unit, one: Refusal, *, spare: bool) -> Problem:
    field = ".".join(map(str, one.steps))
    place = unit.node.key_place(field) if one.is_key else unit.node.place(field)
    where = f"{unit.id}.{field}" if field else unit.id
    if spare and one.steps[:1] == ("extra",):
        message = f"{one.message}, so that as a fallback it would not answer"
        return Problem(one.code, message, where, place, one.hint, "warning")
    return Problem(one.code, one.message, where, place, one.hint, CODES[one.code].severity)


def tokens_of(unit: Unit, model: str, card: ModelCard, room: int) -> int | None:
    """The tokens of what is fixed of the unit's longest request, by the model's backend.

    None where that does not tell, or what it tells is surely within ``room``.
    """
    told = [_tokens(card, request, room) for request in foreseen(unit, model)] if card.foresight else []
    return max((tokens for tokens in told if tokens is not None), default=None)


def _tokens(card: ModelCard, request: Request, room: int) -> int | None:
    assert card.foresight is not None
    most = card.foresight.most_tokens(request)
    return None if most is not None and most <= room else card.foresight.tokens(request)
