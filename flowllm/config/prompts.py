"""Templates and prompts as written to `Template` and `PromptTemplate`."""

from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.parsing import Parsing, shown
from flowllm.config.words import LIFETIMES, ROLES, closest
from flowllm.core.slot import ImageOf, MessageTemplate, PromptTemplate, Template
from flowllm.text.slots import parse_slot

_KEPT = "prompt_cache"
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
    """A prompt: a text is one user message; a list has ``{role: text}`` or ``{role: parts}``.

    ``prompt_cache`` beside the role marks the end of what the provider is to keep.
    """
    if raw is None:
        return None
    if not isinstance(raw, list):
        template = parse_template(raw, marks, where, parsing)
        return PromptTemplate((MessageTemplate("user", (template,)),))
    messages = (_message(item, marks.at(index), f"{where}[{index}]", parsing) for index, item in enumerate(raw))
    return PromptTemplate(tuple(message for message in messages if message))


def _message(raw: object, marks: Marks, where: str, parsing: Parsing) -> MessageTemplate | None:
    written = [key for key in raw if key != _KEPT] if isinstance(raw, dict) else []
    if not isinstance(raw, dict) or len(written) != 1:
        parsing.wrong(
            "bad_value", f"a message is one `role: text`, not {shown(raw, marks)}", where, marks.text, _MESSAGES
        )
        return None
    role = written[0]
    content, inner = raw[role], marks.at(role)
    if role not in ROLES:
        parsing.wrong("bad_value", f"`{role}` is not a role of a message", where, inner.key, closest(role, ROLES))
        return None
    kept = _kept(raw, marks, where, parsing)
    if not isinstance(content, list):
        return MessageTemplate(role, (parse_template(content, inner, f"{where}.{role}", parsing),), kept)
    parts = (_part(part, inner.at(index), f"{where}.{role}[{index}]", parsing) for index, part in enumerate(content))
    return MessageTemplate(role, tuple(part for part in parts if part), kept)


def _kept(raw: dict[Any, Any], marks: Marks, where: str, parsing: Parsing) -> str:
    """For how long the provider is to keep what ends here, empty where nothing is said."""
    kept = raw.get(_KEPT)
    if kept is None or kept in LIFETIMES:
        return kept or ""
    place = marks.at(_KEPT).text
    parsing.wrong("bad_value", f"{_KEPT} is 5m or 1h, not {shown(kept, marks.at(_KEPT))}", where, place, f"{_KEPT}: 5m")
    return ""


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
