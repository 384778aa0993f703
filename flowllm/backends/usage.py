"""Token counts of answers in the formats of OpenAI, wherever the dialects put them, and of headers."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from flowllm.backends.billing import amount_of, lifetimes_of, media_of, reported_by, searches_of, word_of
from flowllm.core.delta import Usage

_CACHED = ("prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens", "num_cached_tokens")

_HEADER = "x-amzn-bedrock-"
_DIGITS = 16


def usage_of(usage: dict[str, Any], service: Any = None) -> Usage:
    """A ``usage`` object; a number that cannot be a count (negative, text) is unknown.

    ``service`` is the class of service that stands beside it.
    """
    prompt = _details(usage, "prompt_tokens_details") or _details(usage, "prompt_token_details")
    answer = _details(usage, "completion_tokens_details")
    cached = (prompt.get("cached_tokens"), *(usage.get(name) for name in _CACHED))
    written = (prompt.get("cache_write_tokens"), usage.get("cache_creation_input_tokens"))
    reasoning = _first((answer.get("reasoning_tokens"), usage.get("reasoning_tokens")))
    return Usage(
        input=_first((usage.get("prompt_tokens"),)),
        output=_output(usage, reasoning),
        cached_input=_first(cached),
        cache_write=_first(written),
        reasoning=reasoning,
        classes=_classes(usage, prompt, answer),
        written=lifetimes_of(usage.get("cache_creation")),
        units=_units(usage),
        service=word_of(service or usage.get("service_tier")),
        variant=word_of(usage.get("search_context_size")),
        reported=reported_by(usage),
    )


def _classes(usage: Mapping[str, Any], prompt: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, int]:
    media = media_of("input", prompt, prompt.get("cached_tokens_details")) if prompt else {}
    if answer:
        media |= media_of("output", answer)
    citations = _first((usage.get("citation_tokens"),))
    return {**media, "citations": citations} if citations else media


def _units(usage: Mapping[str, Any]) -> dict[str, int | Decimal]:
    seconds = amount_of(usage.get("prompt_audio_seconds"))
    searches = searches_of(usage)
    return {**searches, "input_seconds": seconds} if seconds else searches


def read_of(usage: dict[str, Any]) -> Usage:
    """A ``usage`` object where nothing is written: embeddings and ranks."""
    return Usage(input=input_of(usage), output=output_of(usage), reported=reported_by(usage))


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
    """Some count the thinking beside the answer; then only the total holds all three.

    Where the total says nothing, thinking that is longer than the answer cannot be part of it, and neither can the
    thinking of Perplexity, which counts the citations that it read and bills all of these apart.
    """
    prompt, output, total = map(usage.get, ("prompt_tokens", "completion_tokens", "total_tokens"))
    apart = reasoning and isinstance(prompt, int) and isinstance(output, int)
    if apart and reasoning is not None and total == prompt + output + reasoning:  # type: ignore[operator]
        return _first((output + reasoning,))  # type: ignore[operator]
    outside = "citation_tokens" in usage or (isinstance(output, int) and (reasoning or 0) > output)
    if apart and reasoning is not None and outside:
        return _first((output + reasoning,))  # type: ignore[operator]
    return _first((output,))


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _first(values: tuple[Any, ...]) -> int | None:
    for value in values:
        if type(value) is int and value >= 0:
            return value
    return None
