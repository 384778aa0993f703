"""Which vocabulary a model reads, by its name, and what it adds to messages, tools and images.

Names are what makers publish; the first rule whose words are in the name holds. What a provider is called counts
only where the model's own name tells nothing, as `cohere` does of ``cohere/rerank-v3.5``. The numbers beside texts
are from recorded requests with their usage: what the templates of chats add is not published by most makers.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from flowllm.core.record import record


@record
class Family:
    """How a family of models counts.

    ``vocabulary`` is one of `token_tables.COSTS`, ``factor`` what a text costs there in hundredths of it. ``request``
    tokens stand once in a chat, ``message`` with each message, ``tools`` once where there are tools, and a tool costs
    ``schema`` hundredths of its JSON. ``images`` names the rule of `image_tokens`.
    """

    name: str
    vocabulary: str = "general"
    factor: int = 100
    request: int = 3
    message: int = 4
    tools: int = 0
    schema: int = 100
    images: str = ""


GENERAL: Final = Family("general")
_GPT = Family("o200k", "o200k", schema=60, images="openai")

FAMILIES: Final[Mapping[str, Family]] = MappingProxyType(
    {
        family.name: family
        for family in (
            GENERAL,
            _GPT,
            Family("gpt-oss", "o200k", request=64, schema=60),
            Family("cl100k", "cl100k", schema=60, images="openai"),
            Family("claude", "claude", 105, request=4, tools=490, images="anthropic"),
            Family("claude-4.7", "claude", 135, request=4, tools=490, images="anthropic-large"),
            Family("claude-3", "claude", 105, request=4, tools=346, images="anthropic"),
            Family("gemini", "gemini", request=0, message=0, schema=55, images="gemini"),
            Family("gemma", "gemini", request=4, message=5, images="gemma"),
            Family("llama-2", "llama2", request=1),
            Family("llama-3.0", "llama3", request=3),
            Family("llama-3", "llama3", request=31, message=5, tools=110),
            Family("llama-4", "llama3", request=2, message=5, tools=600),
            Family("qwen", "qwen", request=3, message=5, tools=110, images="qwen"),
            Family("deepseek", "deepseek", request=3, tools=210),
            Family("mistral", "mistral", request=6, message=5),
            Family("mistral-v3", "llama2", request=3, message=5),
            Family("cohere", request=490, tools=900),
            Family("grok", request=5, tools=130),
            Family("nova", request=20, tools=390),
        )
    }
)

_RULES: Final = (
    (r"gpt-oss", "gpt-oss"),
    (r"claude.*((opus|sonnet|haiku)-(4[-.][7-9]|[5-9])|fable|mythos)", "claude-4.7"),
    (r"claude(-v?[23]|-instant|.*[23][-.][57]?-?(sonnet|haiku|opus))", "claude-3"),
    (r"claude", "claude"),
    (r"gpt-4o|gpt-4\.[15]|gpt-[5-9]|chatgpt|codex|\bo[134]\b|o200k|gpt-realtime|gpt-audio", "o200k"),
    (r"gpt-?3|gpt-?4|davinci-002|babbage-002|text-embedding-(3|ada)|cl100k", "cl100k"),
    (r"gemini|learnlm", "gemini"),
    (r"gemma", "gemma"),
    (r"llama-?2|(code|tiny|open_?)llama|vicuna|alpaca", "llama-2"),
    (r"llama-?4", "llama-4"),
    (r"llama-?3-[0-9]+b", "llama-3.0"),
    (r"(?<![a-z])llama(?!-?(file|cpp))", "llama-3"),
    (r"qwen|qwq|qvq", "qwen"),
    (r"deepseek", "deepseek"),
    (r"mixtral|mistral-7b|e5-mistral|codestral-22b", "mistral-v3"),
    (r"mistral|ministral|codestral|devstral|magistral|pixtral|voxtral|tekken", "mistral"),
    (r"command-|\bcommand\b|cohere|aya-|embed-v4|embed-(english|multilingual)", "cohere"),
    (r"grok", "grok"),
    (r"\bnova-", "nova"),
)
_LONG = 300


@lru_cache(maxsize=1024)
def family_of(model: str) -> Family:
    """The family of a model named ``provider/name`` or by its name alone; `GENERAL` for one that is not known."""
    words = model[-_LONG:].lower()
    provider, _, name = words.partition("/") if "/" in words else ("", "", words)
    return _named(name) or _named(provider) or GENERAL


def _named(words: str) -> Family | None:
    return next((FAMILIES[name] for pattern, name in _RULES if re.search(pattern, words)), None)
