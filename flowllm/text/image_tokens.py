"""What an image costs in tokens, by the rules that makers publish, from its width and height.

    rule             models                     source
    openai           GPT and o models           platform.openai.com/docs/guides/images-vision (tiles, or patches)
    anthropic        Claude                     docs.anthropic.com/en/docs/build-with-claude/vision (area / 750)
    anthropic-large  Claude since Opus 4.7      the same page (up to 2576 pixels a side and 4784 tokens)
    gemini           Gemini                     ai.google.dev/gemini-api/docs/tokens (258 a tile; 3: 1120 an image)
    gemma            Gemma 3                    ai.google.dev/gemma/docs/core (256 an image)
    qwen             Qwen-VL                    github.com/QwenLM/Qwen2.5-VL (28 pixels a token, up to 1280 tokens)

Where the size or the rule is not known it is `UNKNOWN`, and not exact.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from flowllm.text.image_sizes import Size, size_of_image

Detail = Literal["low", "high", "auto"]
UNKNOWN: Final = 800
"""Tokens of an image whose size, or whose model's rule, is not known."""

_SHORT, _LONG, _TILE = 768, 2048, 512
_TILES: Final = (  # base and tile, of the first that the name holds
    ("4o-mini", 2833, 5667), ("gpt-5", 70, 140), ("o1", 75, 150), ("o3", 75, 150), ("computer-use", 65, 129),
    ("", 85, 170),
)  # fmt: skip
_PATCHES: Final = (("4.1-mini", 162), ("4.1-nano", 246), ("o4-mini", 172), ("5-mini", 162), ("5-nano", 246))
"""Hundredths of a token for a patch of 32 pixels, of models that count these."""
_PATCH, _MOST_PATCHES = 32, 1536
_SMALL = 384
"""Pixels a side up to which an image is one tile for Gemini."""


def image_tokens(image: Mapping[str, Any], rule: str, model: str = "", detail: Detail = "auto") -> tuple[int, bool]:
    """The tokens of ``{"media_type", "data"}`` or ``{"url"}``, and whether the rule and the size are known."""
    if rule == "gemma":
        return 256, True
    size, count = size_of_image(image), _RULES.get(rule)
    if rule == "openai" and detail == "low" and not _patch_rate(model):
        return _tile_rates(model)[0], True
    return (UNKNOWN, False) if size is None or count is None else (count(size, model, detail), True)


def _openai(size: Size, model: str, detail: Detail) -> int:
    rate = _patch_rate(model)
    return _patches(size) * rate // 100 if rate else _tiles(size, *_tile_rates(model))


def _patch_rate(model: str) -> int:
    return next((rate for part, rate in _PATCHES if part in model), 0)


def _tile_rates(model: str) -> tuple[int, int]:
    return next((base, tile) for part, base, tile in _TILES if part in model)


def _tiles(size: Size, base: int, tile: int) -> int:
    """Shrunk to fit 2048 pixels square, then to 768 on the shorter side; tiles are 512 square."""
    scale = min(1.0, _LONG / max(size))
    scale = min(scale, _SHORT / min(size))
    wide, high = (math.ceil(round(side * scale, 3) / _TILE) for side in size)
    return base + tile * wide * high


def _patches(size: Size) -> int:
    """Patches of 32 pixels; where they are over 1536 the image is shrunk until they are not."""
    wide, high = (math.ceil(side / _PATCH) for side in size)
    if wide * high <= _MOST_PATCHES:
        return wide * high
    width, height = size
    scale = math.sqrt(_PATCH**2 * _MOST_PATCHES / (width * height))
    columns, rows = width * scale / _PATCH, height * scale / _PATCH
    scale *= min(max(1, math.floor(columns)) / columns, max(1, math.floor(rows)) / rows)
    found = math.ceil(round(width * scale / _PATCH, 3)) * math.ceil(round(height * scale / _PATCH, 3))
    return min(found, _MOST_PATCHES)


def _by_area(longest: int, most: int) -> Callable[[Size, str, Detail], int]:
    def count(size: Size, model: str, detail: Detail) -> int:
        scale = min(1.0, longest / max(size))
        return min(most, math.ceil(size[0] * scale * size[1] * scale / 750))

    return count


def _gemini(size: Size, model: str, detail: Detail) -> int:
    if "gemini-3" in model:
        return 280 if detail == "low" else 1120
    if max(size) <= _SMALL:
        return 258
    unit = min(max(256, min(size) / 1.5), 768)
    return 258 * math.ceil(size[0] / unit) * math.ceil(size[1] / unit)


def _qwen(size: Size, model: str, detail: Detail) -> int:
    side = 32 if "qwen3" in model else 28
    wide, high = (max(1, round(length / side)) for length in size)
    return min(max(4, wide * high), 1280) + 2


_RULES: Final[Mapping[str, Callable[[Size, str, Detail], int]]] = {
    "openai": _openai,
    "anthropic": _by_area(1568, 1600),
    "anthropic-large": _by_area(2576, 4784),
    "gemini": _gemini,
    "qwen": _qwen,
}
