"""How many tokens a text or a conversation is: exact where a tokenizer is at hand, else an estimate.

`count_tokens` counts a text or messages for a model, `count_request` what is about to be sent to one. A `Counter`
counts texts alone: that of a tokenizer (`token_files`) where one is given, else the estimate of the model's family
(`token_estimate`, `token_families`); messages are counted from it with what the family adds to them, and images by
their maker's rule (`image_tokens`). `count` and `ESTIMATE` are the estimate for no model in particular: linear, and
``count(a + b)`` is ``count(a) + count(b)`` but for the word that is cut where they meet.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

from flowllm.core.request import Chat, Embed, Message, Request, Rerank, Text
from flowllm.text.image_tokens import UNKNOWN as IMAGE
from flowllm.text.image_tokens import image_tokens
from flowllm.text.token_estimate import Estimate, estimate_for
from flowllm.text.token_families import GENERAL, Family, family_of

__all__ = [
    "ESTIMATE", "IMAGE", "LARGE", "MESSAGE", "REPLY", "Count", "Counter", "Estimate", "compact_json", "count",
    "count_message", "count_request", "count_tokens", "counter_for", "length", "most_tokens",
]  # fmt: skip

MESSAGE: Final = GENERAL.message
"""Tokens that a message costs beside its content: its role and its marks."""
REPLY: Final = GENERAL.request
"""Tokens that open the answer, once a conversation."""
LARGE: Final = 32 * 1024
"""Characters from which counting is work for a thread."""


class Count(NamedTuple):
    """Tokens, and whether they are what the model's own tokenizer says, with its own template where it is messages."""

    n: int
    exact: bool


class Counter(Protocol):
    """Counts tokens. ``exact`` says whether it is the tokenizer of the model that will read the text."""

    @property
    def exact(self) -> bool:
        """Whether it is the model's own tokenizer."""
        ...

    def count(self, text: str) -> int:
        """The tokens of a text, 0 for an empty one."""
        ...


_BYTES: Final = 4
"""The most bytes of a character, each of which is at most one token."""


def most_tokens(text: str) -> int:
    """What no tokenizer counts more than: bytes at the finest, of a text that is spelled out at the longest."""
    return _BYTES * len(unicodedata.normalize("NFKD", text))


ESTIMATE: Final = estimate_for(GENERAL.vocabulary, GENERAL.factor)


def counter_for(model: str | None) -> Counter:
    """The estimate of the model's family, named ``provider/name``; the general one for None."""
    family = family_of(model) if model else GENERAL
    return estimate_for(family.vocabulary, family.factor)


def count(text: str) -> int:
    """The estimated tokens of a text."""
    return ESTIMATE.count(text)


def count_tokens(
    content: str | Sequence[Mapping[str, Any]],
    model: str | None = None,
    *,
    tools: Iterable[Mapping[str, Any]] = (),
    counter: Counter | None = None,
) -> Count:
    """The tokens of a text, or of messages as they stand in ports with the tools that are offered."""
    used = counter or counter_for(model)
    if isinstance(content, str):
        return Count(used.count(content), used.exact)
    family = family_of(model) if model else GENERAL
    found = family.request + sum(count_message(message, used, family, model or "") for message in content)
    schemas = list(map(compact_json, tools))
    if schemas:
        found += family.tools + sum(map(used.count, schemas)) * family.schema // 100
    return Count(found, exact=False)


def count_request(request: Request) -> int:
    """The estimated tokens of a request as it would be sent: its texts, images, calls, thoughts, schema and tools."""
    counter = counter_for(request.model)
    match request:
        case Chat(messages=messages, tools=tools, schema=schema):
            turns = [_as_in_ports(message) for message in messages]
            offered = [
                {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in tools
            ]
            asked = counter.count(compact_json(schema)) if schema is not None else 0
            return count_tokens(turns, request.model, tools=offered, counter=counter).n + asked
        case Embed(texts=texts):
            return sum(map(counter.count, texts))
        case Rerank(query=query, documents=documents):
            return sum(map(counter.count, (query, *documents)))


def length(request: Request) -> int:
    """About how many characters `count_request` reads; images, of which it reads the beginning, are none."""
    match request:
        case Chat(messages=messages):
            return sum(len(part.text) for message in messages for part in message.parts if isinstance(part, Text))
        case Embed(texts=texts):
            return sum(map(len, texts))
        case Rerank(query=query, documents=documents):
            return len(query) + sum(map(len, documents))


def _as_in_ports(message: Message) -> dict[str, Any]:
    """A turn as it stands in ports; what was thought before it is sent back as text."""
    parts: list[dict[str, Any]] = [{"text": thought.text} for thought in message.thoughts if thought.text]
    for part in message.parts:
        if isinstance(part, Text):
            parts.append({"text": part.text})
        else:
            parts.append({"image": {"data": part.data} if part.data else {"url": part.url}})
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls]
    return {"content": parts, "tool_calls": calls}


def compact_json(value: Mapping[str, Any]) -> str:
    """JSON as requests carry it and as tokens are counted: UTF-8 without blanks."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=dict)


def count_message(
    message: Mapping[str, Any], counter: Counter = ESTIMATE, family: Family = GENERAL, model: str = ""
) -> int:
    """The tokens of one message as it stands in ports: content, tool calls and what the family adds."""
    content = message.get("content") or ""
    parts: Sequence[Any] = [{"text": content}] if isinstance(content, str) else content
    calls = message.get("tool_calls") or ()
    words = [str(part["text"]) for part in parts if "text" in part]
    words += [f"{call.get('name', '')} {call.get('arguments', '')}" for call in calls]
    images: list[Mapping[str, Any]] = [part.get("image") or {} for part in parts if "text" not in part]
    seen = sum(image_tokens(image, family.images, model)[0] for image in images)
    return family.message + sum(map(counter.count, words)) + seen
