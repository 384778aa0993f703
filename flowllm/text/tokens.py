"""How many tokens a text or a conversation is: an estimate, or an exact count where a tokenizer is registered.

A `Counter` counts texts; messages are counted from it by fixed overheads (`count_message`). The
estimate needs no model file: a quarter of a token for an ASCII letter or blank, a half for other ASCII,
Latin, Greek and Cyrillic letters, one for CJK and most other scripts, two for signs outside the basic
plane; rounded up. English prose comes to about 3.9 characters a token. It grows with the text, and
``count(a + b)`` is ``count(a) + count(b)`` or one less. Linear: 10 MB take a tenth of a second.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from flowllm.core.request import Chat, Embed, Request, Rerank

MESSAGE = 4
"""Tokens that a message costs beside its content: its role and its marks."""
REPLY = 3
"""Tokens that open the answer, once a conversation."""
IMAGE = 800
"""Tokens of an image whose size is not known."""


class Counter(Protocol):
    """Counts tokens. ``exact`` says whether it is the tokenizer of the model that will read the text."""

    exact: bool

    def count(self, text: str) -> int:
        """The tokens of a text, 0 for an empty one."""
        ...


class Estimate:
    """The counter that needs no tokenizer."""

    exact = False

    def count(self, text: str) -> int:
        """The estimated tokens of a text."""
        if not text:
            return 0
        data = text.encode("utf-8", "surrogatepass")
        quarters = len(data) + _held(data, _DENSE)
        if len(data) > len(text):
            quarters += _held(data, _THREE_BYTES) + 4 * _held(data, _FOUR_BYTES)
        return -(-quarters // 4)


_DENSE = bytes(i for i in range(128) if not (chr(i).isalpha() or i == ord(" ")))
_THREE_BYTES, _FOUR_BYTES = bytes(range(0xE0, 0xF0)), bytes(range(0xF0, 0xF8))


def _held(data: bytes, wanted: bytes) -> int:
    return len(data) - len(data.translate(None, wanted))


ESTIMATE = Estimate()
_counters: dict[str, Counter] = {}


def register(model: str, counter: Counter) -> None:
    """Count with ``counter`` for a model named ``provider/name``, or for every one of ``provider/``."""
    _counters[model] = counter


def counter_for(model: str | None) -> Counter:
    """The counter registered for the model, else for its provider, else the estimate."""
    if not model:
        return ESTIMATE
    provider = model.partition("/")[0] + "/"
    return _counters.get(model) or _counters.get(provider) or ESTIMATE


def count(text: str) -> int:
    """The estimated tokens of a text."""
    return ESTIMATE.count(text)


def count_request(request: Request) -> int:
    """The estimated tokens of all texts of a request."""
    match request:
        case Chat(messages=messages):
            return sum(count(message.text) for message in messages)
        case Embed(texts=texts):
            return sum(map(count, texts))
        case Rerank(query=query, documents=documents):
            return sum(map(count, (query, *documents)))


def count_message(message: Mapping[str, Any], counter: Counter = ESTIMATE) -> int:
    """The tokens of one message as it stands in ports: content, tool calls and overhead."""
    content = message.get("content") or ""
    parts = [{"text": content}] if isinstance(content, str) else content
    calls = message.get("tool_calls") or ()
    words = [str(part["text"]) for part in parts if "text" in part]
    words += [f"{call.get('name', '')} {call.get('arguments', '')}" for call in calls]
    images = sum("text" not in part for part in parts)
    return MESSAGE + sum(map(counter.count, words)) + IMAGE * images
