"""Token counts of answers in the formats of OpenAI, wherever the dialects put them, and of headers."""

from collections.abc import Mapping
from typing import Any

from flowllm.core.delta import Usage

_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens", "num_cached_tokens")

_HEADER = "x-amzn-bedrock-"
_DIGITS = 16


def usage_of(usage: dict[str, Any]) -> Usage:
    """A ``usage`` object; a number that cannot be a count (negative, text) is unknown."""
    prompt = _details(usage, "prompt_tokens_details") or _details(usage, "prompt_token_details")
    cached = (prompt.get("cached_tokens"), *(usage.get(name) for name in _CACHED))
    written = (prompt.get("cache_write_tokens"), usage.get("cache_creation_input_tokens"))
    reasoning = _first(
        (_details(usage, "completion_tokens_details").get("reasoning_tokens"), usage.get("reasoning_tokens"))
    )
    return Usage(
        input=_first((usage.get("prompt_tokens"),)),
        output=_output(usage, reasoning),
        cached_input=_first(cached),
        cache_write=_first(written),
        reasoning=reasoning,
    )


def input_of(usage: dict[str, Any]) -> int | None:
    """The tokens read where nothing is written: embeddings that give only a total mean the input."""
    return _first((usage.get("prompt_tokens"), usage.get("total_tokens")))


def output_of(usage: dict[str, Any]) -> int | None:
    """The tokens written, without thinking."""
    return _first((usage.get("completion_tokens"),))


def header_usage(headers: Mapping[str, str]) -> Usage | None:
    """What Amazon Bedrock counts beside the body; not every model that it hosts counts inside."""
    names = (f"{_HEADER}{name}-token-count" for name in ("input", "output", "cache-read-input", "cache-write-input"))
    read, written, cached, kept = (_count(headers.get(name, "")) for name in names)
    if read is None:
        return None
    return Usage(read + (cached or 0) + (kept or 0), written, cached, kept)


def _count(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < _DIGITS else None


def _output(usage: dict[str, Any], reasoning: int | None) -> int | None:
    """Some count the thinking beside the answer; then only the total holds all three."""
    prompt, output, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    apart = reasoning and isinstance(prompt, int) and isinstance(output, int)
    if apart and reasoning is not None and total == prompt + output + reasoning:  # type: ignore[operator]
        return _first((output + reasoning,))  # type: ignore[operator]
    return _first((output,))


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _first(values: tuple[Any, ...]) -> int | None:
    return next((n for n in values if isinstance(n, int) and not isinstance(n, bool) and n >= 0), None)
