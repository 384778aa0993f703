"""Usage to classes of tokens that are disjoint, so that no token is billed twice: pure.

Providers count classes inside of others: what came from the cache is part of the prompt, and sound that came
from the cache part of both. Here each token is in one class alone, and all classes sum to the provider's total by
construction: a class that is told to be larger than what holds it is cut, and the counts are marked as corrected.
"""

from collections.abc import Iterable
from dataclasses import replace

from flowllm.core.delta import Usage
from flowllm.core.prices import TOKENS
from flowllm.core.record import record

Key = tuple[str, str]
"""A word of `core.prices.TOKENS`, and how long a cache write lives, else empty."""

_INPUT: Key = ("input", "")
_CACHED: Key = ("cached_input", "")
_STORED: Key = ("cache_write", "")
_OUTPUT: Key = ("output", "")
_REASONING: Key = ("reasoning", "")
_READ = ("input_audio", "input_image", "input_video")
_WRITTEN = ("reasoning", "output_audio", "output_image", "output_video")
_TOKENS = frozenset(TOKENS)
_KEPT = {"input_audio": "cached_audio", "input_image": "cached_image"}


@record
class Classes:
    """Tokens by class, those of 0 left out. ``read`` and ``written`` say whether that side was counted at all.

    ``strange`` are classes that are none of `core.prices.TOKENS`: what is paid for them is not known.
    """

    counts: dict[Key, int]
    corrected: bool
    read: bool
    written: bool
    strange: bool = False


class _Whole:
    """What classes are taken out of, never more than is left."""

    def __init__(self, size: int | None) -> None:
        self.left = max(0, size or 0)
        self.corrected = (size or 0) < 0

    def take(self, told: int | None) -> int:
        taken = min(max(0, told or 0), self.left)
        self.left -= taken
        self.corrected = self.corrected or taken != (told or 0)
        return taken


def disjoint(usage: Usage) -> Classes:
    """The tokens of ``usage``, each in one class; their sum is input, output and citations.

    Where a provider says what it bills of a side, that is the whole of it, and its classes are not told.
    """
    if usage.billed_input is not None or usage.billed_output is not None:
        usage = _billed(usage)
    if usage.classes or usage.written:
        return _taken(usage)
    read, written = usage.input or 0, usage.output or 0
    cached, stored, reasoning = usage.cached_input or 0, usage.cache_write or 0, usage.reasoning or 0
    if min(cached, stored, reasoning, read - cached - stored, written - reasoning) < 0:
        return _taken(usage)
    counts: dict[Key, int] = {}
    if cached:
        counts[_CACHED] = cached
    if stored:
        counts[_STORED] = stored
    if read := read - cached - stored:
        counts[_INPUT] = read
    if reasoning:
        counts[_REASONING] = reasoning
    if written := written - reasoning:
        counts[_OUTPUT] = written
    return Classes(counts, corrected=False, read=usage.input is not None, written=usage.output is not None)


def _billed(usage: Usage) -> Usage:
    """The usage with what is billed of a side in place of what was counted there."""
    classes = dict(usage.classes)
    if usage.billed_input is not None:
        usage = replace(usage, input=usage.billed_input, cached_input=None, cache_write=None, written={})
        classes = {name: count for name, count in classes.items() if not name.startswith(("input", "cached"))}
    if usage.billed_output is not None:
        usage = replace(usage, output=usage.billed_output, reasoning=None)
        classes = {name: count for name, count in classes.items() if not name.startswith("output")}
    return replace(usage, classes=classes)


def _taken(usage: Usage) -> Classes:
    """The same where classes are told, or do not fit into what holds them."""
    counts: dict[Key, int] = {}
    wholes = [*_read(usage, counts), _written(usage, counts), _citations(usage, counts)]
    corrected = any(whole.corrected for whole in wholes)
    known = {key: count for key, count in counts.items() if count}
    return Classes(known, corrected, _is_told(usage.input), _is_told(usage.output), not usage.classes.keys() <= _TOKENS)


def _is_told(count: int | None) -> bool:
    """Whether a side was counted: a number below nought counts nothing."""
    return count is not None and count >= 0


def _read(usage: Usage, counts: dict[Key, int]) -> Iterable[_Whole]:
    told, prompt = usage.classes, _Whole(usage.input)
    cached = _Whole(prompt.take(usage.cached_input))
    for name in _KEPT.values():
        counts[name, ""] = cached.take(told.get(name))
    counts["cached_input", ""] = cached.left
    stored = _Whole(prompt.take(sum(usage.written.values()) if usage.cache_write is None else usage.cache_write))
    for lifetime, count in usage.written.items():
        counts["cache_write", lifetime] = stored.take(count)
    counts["cache_write", ""] = counts.get(("cache_write", ""), 0) + stored.left
    for name in _READ:
        fresh = told.get(name, 0) - counts.get((_KEPT.get(name, ""), ""), 0)
        counts[name, ""] = prompt.take(fresh)
    counts["input", ""] = prompt.left
    return prompt, cached, stored


def _written(usage: Usage, counts: dict[Key, int]) -> _Whole:
    answer = _Whole(usage.output)
    counts["reasoning", ""] = answer.take(usage.reasoning)
    for name in _WRITTEN[1:]:
        counts[name, ""] = answer.take(usage.classes.get(name))
    counts["output", ""] = answer.left
    return answer


def _citations(usage: Usage, counts: dict[Key, int]) -> _Whole:
    whole = _Whole(usage.classes.get("citations"))
    counts["citations", ""] = whole.left
    return whole
