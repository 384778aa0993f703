"""Templates and prompts as written to `Template` and `PromptTemplate`."""

from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.parsing import Parsing, shown
from flowllm.config.words import ROLES, closest
from flowllm.core.slot import ImageOf, MessageTemplate, PromptTemplate, Template
from flowllm.text.slots import parse_slot

_MESSAGES = "write a text, or a list like [{system: Be brief.}, {user: '{{ inputs.question }}'}]"


def parse_template(raw: object, marks: Marks, where: str, parsing: Parsing) -> Template:
    """A body of text, or ``{file: path}``."""
    if isinstance(raw, str):
        return Template(raw, marks.text)
    if isinstance(raw, dict) and set(raw) == {"file"}:
        text, origin = parsing.file(raw["file"], f"{where}.file", marks.at("file").text)
        return Template(text, origin)
    word = marks.raw if marks.raw is not None else "..."
    message = f"{shown(raw, marks)} is not a text"
    parsing.wrong("bad_value", message, where, marks.text, f'quote it: "{word}"')
    return Template("", marks.text)


def parse_prompt(raw: object, marks: Marks, where: str, parsing: Parsing) -> PromptTemplate | None:
    """A prompt: a text is one user message; a list has ``{role: text}`` or ``{role: parts}``."""
    if raw is None:
        return None
    if not isinstance(raw, list):
        template = parse_template(raw, marks, where, parsing)
        return PromptTemplate((MessageTemplate("user", (template,)),))
    messages = (_message(item, marks.at(index), f"{where}[{index}]", parsing) for index, item in enumerate(raw))
    return PromptTemplate(tuple(message for message in messages if message))


def _message(raw: object, marks: Marks, where: str, parsing: Parsing) -> MessageTemplate | None:
    if not isinstance(raw, dict) or len(raw) != 1:
        parsing.wrong(
            "bad_value", f"a message is one `role: text`, not {shown(raw, marks)}", where, marks.text, _MESSAGES
        )
        return None
    ((role, content),) = raw.items()
    inner = marks.at(role)
    if role not in ROLES:
        parsing.wrong("bad_value", f"`{role}` is not a role of a message", where, inner.key, closest(role, ROLES))
        return None
    if not isinstance(content, list):
        return MessageTemplate(role, (parse_template(content, inner, f"{where}.{role}", parsing),))
    parts = (_part(part, inner.at(index), f"{where}.{role}[{index}]", parsing) for index, part in enumerate(content))
    return MessageTemplate(role, tuple(part for part in parts if part))


def _part(raw: object, marks: Marks, where: str, parsing: Parsing) -> Template | ImageOf | None:
    if isinstance(raw, str):
        return parse_template(raw, marks, where, parsing)
    if isinstance(raw, dict) and len(raw) == 1:
        ((name, content),) = raw.items()
        inner: Any = marks.at(name)
        if name == "text":
            return parse_template(content, inner, f"{where}.text", parsing)
        if name == "image":
            return ImageOf(parse_slot(content, inner.place, f"{where}.image", parsing.problems.append))
    parsing.wrong(
        "bad_value",
        f"a part of a message is a text, `text: ...` or `image: ...`, not {shown(raw, marks)}",
        where,
        marks.text,
        "- {image: inputs.photo}",
    )
    return None
