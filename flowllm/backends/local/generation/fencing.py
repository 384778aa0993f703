"""Words of a conversation that spell a model's special tokens stay words.

A chat template writes the marks that begin and end turns; the same letters inside of a message, or of what is told of
a tool, would be read as such marks, so that a document could speak in another's name. Each is cut in two by a
character that occurs nowhere else while the template runs; the tokenizer then reads what stands between the cuts
piece by piece.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowllm.core.request import Chat, Message, Part, Text, Thought, Tool, ToolUse

Read = Callable[[str], Sequence[int]]
_PRIVATE = range(0xF0000, 0xFFFFD)


class Fence:
    """For one tokenizer; ``marks`` are its special tokens as text."""

    def __init__(self, marks: Collection[str]) -> None:
        # What follows its first character is not taken up: another mark may begin there.
        begun = [f"{re.escape(mark[0])}(?={re.escape(mark[1:])})" for mark in marks if len(mark) > 1]
        self._marks = re.compile("|".join(begun)) if begun else None

    def cut(self, request: Chat) -> tuple[Chat, str]:
        """The request with its marks cut, and what they are cut with: empty where there is none."""
        marks = self._marks
        if marks is None or not any(marks.search(text) for text in _texts(request)):
            return request, ""
        seam = _unused("".join(_texts(request)))

        def split(text: str) -> str:
            return marks.sub(lambda found: found[0] + seam, text)

        messages = tuple(_changed(message, split) for message in request.messages)
        return replace(request, messages=messages, tools=tuple(_told(tool, split) for tool in request.tools)), seam


def tokens_of(text: str, seam: str, ids: Read, further_ids: Read) -> list[int]:
    """The tokens of a prompt, no mark read across a seam; ``further_ids`` reads what stands behind one."""
    first, *further = text.split(seam) if seam else [text]
    return [*ids(first), *(token for piece in further for token in further_ids(piece))]


def _texts(request: Chat) -> list[str]:
    """Everything that others may have written."""
    texts: list[str] = []
    for message in request.messages:
        texts += [message.text, message.tool_call_id, *(thought.text for thought in message.thoughts)]
        texts += [text for call in message.tool_calls for text in (call.name, call.arguments, call.id)]
    for tool in request.tools:
        texts += [tool.name, tool.description, *_words(tool.parameters)]
    return texts


def _changed(message: Message, change: Callable[[str], str]) -> Message:
    def part(old: Part) -> Part:
        return replace(old, text=change(old.text)) if isinstance(old, Text) else old

    def call(old: ToolUse) -> ToolUse:
        return replace(old, name=change(old.name), arguments=change(old.arguments), id=change(old.id))

    def thought(old: Thought) -> Thought:
        return replace(old, text=change(old.text))

    return replace(
        message,
        parts=tuple(map(part, message.parts)),
        tool_calls=tuple(map(call, message.tool_calls)),
        thoughts=tuple(map(thought, message.thoughts)),
        tool_call_id=change(message.tool_call_id),
    )


def _told(tool: Tool, change: Callable[[str], str]) -> Tool:
    parameters = _every(tool.parameters, change)
    return replace(tool, name=change(tool.name), description=change(tool.description), parameters=parameters)


def _words(value: Any) -> list[str]:
    """The texts in a JSON value, keys among them."""
    if isinstance(value, str):
        return [value]
    held = [*value, *value.values()] if isinstance(value, Mapping) else value
    return [text for one in held for text in _words(one)] if isinstance(held, list | tuple) else []


def _every(value: Any, change: Callable[[str], str]) -> Any:
    """A JSON value with its texts changed, keys among them."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_every(key, change): _every(held, change) for key, held in value.items()}
    return [_every(held, change) for held in value] if isinstance(value, list | tuple) else value


def _unused(text: str) -> str:
    """A character that does not occur; there are more of them than a text without order would use up."""
    taken = set(text)
    return next((chr(code) for code in _PRIVATE if chr(code) not in taken), chr(_PRIVATE[-1]))
