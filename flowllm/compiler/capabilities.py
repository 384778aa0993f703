"""What a node asks of a model against what is known of it: capabilities, lengths, its last day.

What is not known is passed over in silence. The day comes from outside: compiling reads no clock.
"""

from collections.abc import Mapping
from datetime import date, timedelta

from flowllm.backends.calling import LOGPROBS, ONE_CALL
from flowllm.compiler.findings import Findings
from flowllm.compiler.frames import Unit
from flowllm.core.card import ModelCard
from flowllm.core.slot import ImageOf, MessageTemplate, PromptTemplate, Template
from flowllm.text.templates import parsed

MARGIN = 2
"""How far an estimated prompt may be from what a model's own tokenizer says."""

DENSE = 3
"""No character is estimated to have so many tokens."""

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


def fixed_text(prompt: PromptTemplate) -> str:
    """What a prompt says whatever is given to it; nothing is known of templates with statements."""
    return "".join(map(fixed_text_of, prompt.messages))


def fixed_text_of(message: MessageTemplate) -> str:
    """The same of one message."""
    templates = [part for part in message.parts if isinstance(part, Template)]
    pieces = [piece for template in templates for piece in parsed(template.source).pieces or ()]
    return "".join(piece for piece in pieces if isinstance(piece, str))


def check_lengths(unit: Unit, models: Mapping[str, ModelCard], findings: Findings) -> None:
    """Report prompts and answers that are longer than the models that the unit may ask can take."""
    longest = unit.params.get("max_output_tokens") or 0
    for name, card in models.items():
        if card.output and longest > card.output:
            message = f"`max_output_tokens` is {longest:,}, and `{name}` writes at most {card.output:,}"
            place, hint = unit.node.place("max_output_tokens"), f"max_output_tokens: {card.output}"
            findings.report("over_output_limit", message, f"{unit.id}.max_output_tokens", place, hint)
    windows = {name: card for name, card in models.items() if card.window}
    if not windows:
        return
    for field, value in unit.node.fields.items():
        text = fixed_text(value) if isinstance(value, PromptTemplate) else ""
        if text and any(_too_little(card, DENSE * len(text), longest) for card in windows.values()):
            _check_windows(unit, field, text, windows, findings)


def _too_little(card: ModelCard, tokens: int, answer: int) -> tuple[int, int] | None:
    """The window that so many tokens do not fit in, and how many of it the answer may take; None where they fit."""
    if card.context is not None and tokens + answer > card.context:
        return card.context, answer
    return (card.max_input, 0) if card.max_input is not None and tokens > card.max_input else None


def _check_windows(unit: Unit, field: str, text: str, windows: Mapping[str, ModelCard], findings: Findings) -> None:
    """Where the count is an estimate, what is an error lies outside by a wide margin."""
    from flowllm.text.token_files import best_counter

    where, place, hint = (
        f"{unit.id}.{field}",
        unit.node.place(field),
        "shorten it, or choose a model with a larger window",
    )
    longest = unit.params.get("max_output_tokens") or 0
    for name, card in windows.items():
        counter = best_counter(card, name)
        tokens, about, margin = counter.count(text), "" if counter.exact else "about ", 1 if counter.exact else MARGIN
        if tokens > margin * (card.longest_prompt or 0):
            message = f"the fixed text has {about}{tokens} tokens, and `{name}` reads {card.longest_prompt}"
            findings.report("context_too_long", message, where, place, hint)
        elif (broken := _too_little(card, tokens, longest)) is not None:
            window, answer = broken
            more = f" and the answer may have {answer:,}" if answer else ""
            message = f"the fixed text has {about}{tokens:,} tokens{more}, the window of `{name}` {window:,}"
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
