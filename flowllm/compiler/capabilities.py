"""What a node asks of a model against what is known of it: capabilities, lengths, its last day.

What is not known is passed over in silence. The day comes from outside: compiling reads no clock.
"""

from collections.abc import Mapping
from datetime import date, timedelta

from flowllm.backends.calling import LOGPROBS, ONE_CALL
from flowllm.compiler.findings import Findings
from flowllm.compiler.fixed_text import fixed_text
from flowllm.compiler.foreseen import tokens_of
from flowllm.compiler.frames import Unit
from flowllm.core.card import ModelCard
from flowllm.core.record import record
from flowllm.core.slot import ImageOf, PromptTemplate

MARGIN = 2
"""How far an estimated prompt may be from what a model's own tokenizer says."""

SOON = timedelta(days=90)
"""How long before its last day a model is spoken of."""


def needs_of(unit: Unit) -> frozenset[str]:
    """What the model has to be able to do, as far as the node says so."""
    found = set()
    if unit.params.get("tools"):
        found.add("tools")
    if unit.params.get("schema") is not None:
        found.add("json_schema")
    if unit.params.get("reasoning") not in (None, "none"):
        found.add("reasoning")
    prompts = [value for value in unit.node.fields.values() if isinstance(value, PromptTemplate)]
    images = any(isinstance(part, ImageOf) for prompt in prompts for m in prompt.messages for part in m.parts)
    if images or "images" in unit.node.fields:
        found.add("images")
    return frozenset(found)


def said_by(unit: Unit) -> frozenset[str]:
    """What the node asks that not every format has a word for."""
    said = {LOGPROBS} if unit.params.get("logprobs") is not None else set()
    one_call = unit.params.get("parallel_tool_calls") is False and unit.params.get("tools")
    return frozenset(said | {ONE_CALL} if one_call else said)


def check_lengths(unit: Unit, models: Mapping[str, ModelCard], findings: Findings) -> None:
    """Report prompts and answers that are longer than the models that the unit may ask can take."""
    longest = unit.params.get("max_output_tokens") or 0
    for name, card in models.items():
        if card.output and longest > card.output:
            message = f"`max_output_tokens` is {longest:,}, and `{name}` writes at most {card.output:,}"
            place, hint = unit.node.place("max_output_tokens"), f"max_output_tokens: {card.output}"
            findings.report("over_output_limit", message, f"{unit.id}.max_output_tokens", place, hint)
    for field, value in unit.node.fields.items():
        text = fixed_text(value) if isinstance(value, PromptTemplate) else ""
        for name, card in models.items() if text else ():
            if card.window:
                _check_window(unit, field, text, (name, card), findings)


def _too_little(card: ModelCard, tokens: int, answer: int) -> tuple[int, int] | None:
    """The window that so many tokens do not fit in, and how many of it the answer may take; None where they fit."""
    if card.context is not None and tokens + answer > card.context:
        return card.context, answer
    return (card.max_input, 0) if card.max_input is not None and tokens > card.max_input else None


@record
class _Counted:
    """The tokens of what is fixed of a prompt, how that is said, and how far the count may be off."""

    tokens: int
    said: str
    margin: int = 1


def _counted(unit: Unit, text: str, name: str, card: ModelCard, answer: int) -> _Counted | None:
    """None where it is surely not too long."""
    from flowllm.text.token_files import best_counter
    from flowllm.text.tokens import most_tokens

    room = min(card.longest_prompt or 0, (card.window or 0) - answer)
    whole = tokens_of(unit, name, card, room)
    if whole is not None:
        return _Counted(whole, f"{whole:,} tokens with the model's chat template")
    if _too_little(card, most_tokens(text), answer) is None:
        return None
    counter = best_counter(card, name)
    tokens = counter.count(text)
    return (
        _Counted(tokens, f"{tokens:,} tokens")
        if counter.exact
        else _Counted(tokens, f"about {tokens:,} tokens", MARGIN)
    )


def _check_window(unit: Unit, field: str, text: str, model: tuple[str, ModelCard], findings: Findings) -> None:
    """Where the count is an estimate, what is an error lies outside by a wide margin."""
    (name, card), longest = model, unit.params.get("max_output_tokens") or 0
    counted = _counted(unit, text, name, card, longest)
    if counted is None:
        return
    where, place = f"{unit.id}.{field}", unit.node.place(field)
    hint = "shorten it, or choose a model with a larger window"
    if counted.tokens > counted.margin * (card.longest_prompt or 0):
        message = f"the fixed text has {counted.said}, and `{name}` reads {card.longest_prompt:,}"
        findings.report("context_too_long", message, where, place, hint)
    elif (broken := _too_little(card, counted.tokens, longest)) is not None:
        window, answer = broken
        more = f" and the answer may have {answer:,}" if answer else ""
        message = f"the fixed text has {counted.said}{more}, the window of `{name}` {window:,}"
        findings.report("over_window", message, where, place, hint)


def last_day(name: str, card: ModelCard, today: date | None) -> tuple[str, str] | None:
    """The code and the message for a model that its provider ends soon or has ended; None for others."""
    if today is None or not card.deprecated:
        return None
    try:
        day = date.fromisoformat(card.deprecated)
    except ValueError:
        return None
    if day <= today:
        return "model_ended", f"`{name}` is deprecated since {card.deprecated} and may answer no more"
    left = (day - today).days
    if day - today > SOON:
        return None
    return "model_ends", f"`{name}` is deprecated from {card.deprecated} on, in {left} day{'s' * (left > 1)}"
