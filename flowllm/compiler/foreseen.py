"""What a node surely asks, for models of this machine, which say by their files what they would refuse of it."""

from collections.abc import Mapping

from flowllm.compiler.findings import Findings
from flowllm.compiler.frames import Unit
from flowllm.core.card import ModelCard
from flowllm.core.request import Chat, Message, Request, Text
from flowllm.core.slot import MessageTemplate, PromptTemplate, Template
from flowllm.text.templates import parsed


def fixed_text(prompt: PromptTemplate) -> str:
    """What a prompt says whatever is given to it; nothing is known of templates with statements."""
    return "".join(map(fixed_text_of, prompt.messages))


def fixed_text_of(message: MessageTemplate) -> str:
    """The same of one message."""
    templates = [part for part in message.parts if isinstance(part, Template)]
    pieces = [piece for template in templates for piece in parsed(template.source).pieces or ()]
    return "".join(piece for piece in pieces if isinstance(piece, str))


def foreseen(unit: Unit, model: str) -> Request | None:
    """What the unit surely sends to a model; messages that may be blank are left out."""
    prompts = [value for value in unit.node.fields.values() if isinstance(value, PromptTemplate)]
    said = [(message.role, fixed_text_of(message)) for prompt in prompts for message in prompt.messages]
    messages = [Message(role, (Text(text),)) for role, text in said if text.strip()]  # type: ignore[arg-type]
    return unit.instance.foreseen(model, messages) if unit.instance else None


def check_refusals(unit: Unit, models: Mapping[str, ModelCard], findings: Findings) -> None:
    """Report what the models that the unit may ask would refuse of it."""
    for name, card in models.items():
        request = foreseen(unit, name) if card.foresight else None
        for one in card.foresight.refusals(request) if card.foresight and request else ():
            field = ".".join(map(str, one.steps))
            place = unit.node.key_place(field) if one.is_key else unit.node.place(field)
            findings.report(one.code, one.message, f"{unit.id}.{field}" if field else unit.id, place, one.hint)


def tokens_of(unit: Unit, model: str, card: ModelCard, beyond: int) -> int | None:
    """The tokens of what is fixed of the prompt, with all that its model writes around it; None: not told."""
    request = foreseen(unit, model) if card.foresight else None
    return card.foresight.tokens(request, beyond) if card.foresight and isinstance(request, Chat) else None
