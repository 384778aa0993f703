"""How texts are split before a vocabulary of the tiktoken format is applied: patterns that makers publish, by name.

A file of that format holds tokens and ranks alone. Patterns are chosen by name and never read from a file, so that
none of a stranger's runs; the engine is that of the package tiktoken.
"""

from typing import Final

_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BLANKS = (r"\s+(?!\S)", r"\s+")
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"

PATTERNS: Final = {
    "cl100k": "|".join((_ENDINGS, _BEFORE + r"\p{L}+", r"\p{N}{1,3}", _SIGNS, r"\s*[\r\n]+", *_BLANKS)),
    "o200k": "|".join(
        (
            f"{_BEFORE}{_UPPER}*{_LOWER}+{_ENDINGS}?", f"{_BEFORE}{_UPPER}+{_LOWER}*{_ENDINGS}?", r"\p{N}{1,3}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", *_BLANKS,
        )
    ),
    "qwen": "|".join((_ENDINGS, _BEFORE + r"\p{L}+", r"\p{N}", _SIGNS, r"\s*[\r\n]+", *_BLANKS)),
    "tekken": "|".join(
        (
            f"{_BEFORE}{_UPPER}*{_LOWER}+", f"{_BEFORE}{_UPPER}+{_LOWER}*", r"\p{N}",
            r" ?[^\s\p{L}\p{N}]+[\r\n/]*", r"\s*[\r\n]+", *_BLANKS,
        )
    ),
}  # fmt: skip
"""Those of Llama 3 and of older models of OpenAI are ``cl100k``."""

_HINTS: Final = (("o200k", "o200k"), ("cl100k", "cl100k"), ("qwen", "qwen"), ("tekken", "tekken"), ("llama", "cl100k"))


def pattern_named_in(name: str) -> str:
    """The name of the pattern that a file's or a vocabulary's name tells, empty where it tells none."""
    return next((pattern for part, pattern in _HINTS if part in name.lower()), "")
