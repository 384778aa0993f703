"""What a prompt says whatever is given to it."""

from flowllm.core.slot import MessageTemplate, PromptTemplate, Template
from flowllm.text.templates import parsed


def fixed_text(prompt: PromptTemplate) -> str:
    """The fixed text of all messages; nothing is known of templates with statements."""
    return "".join(map(fixed_text_of, prompt.messages))


def fixed_text_of(message: MessageTemplate) -> str:
    """The same of one message."""
    templates = [part for part in message.parts if isinstance(part, Template)]
    pieces = [piece for template in templates for piece in parsed(template.source).pieces or ()]
    return "".join(piece for piece in pieces if isinstance(piece, str))
