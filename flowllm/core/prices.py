"""What providers bill by, as data: the prices of a model in every dimension.

All amounts are exact decimals of US dollars for one unit. Which unit follows from what is billed:
tokens for what a model reads and writes, and the units of `UNITS` for the rest.
"""

from collections.abc import Mapping
from decimal import Context, Decimal
from typing import Final

from flowllm.core.record import record

EXACT: Final = Context(prec=400)
"""Arithmetic in which no amount is ever rounded, whatever the context of the thread is."""

TOKENS: Final = (
    "input", "cached_input", "cache_write", "output", "reasoning",
    "input_audio", "cached_audio", "output_audio",
    "input_image", "cached_image", "output_image",
    "input_video", "output_video", "citations",
)  # fmt: skip
"""What is billed by the token. ``input`` is plain: neither cached nor written, no sound and no picture."""

UNITS: Final = {
    "requests": "request", "queries": "query", "searches": "search", "maps_searches": "search",
    "pages": "page", "sessions": "session",
    "input_characters": "character", "output_characters": "character",
    "input_seconds": "second", "output_seconds": "second",
    "input_images": "image", "output_images": "image",
    "input_pixels": "pixel", "output_pixels": "pixel",
    "input_video_seconds": "second", "output_video_seconds": "second",
}  # fmt: skip
"""What is billed by another unit, and the unit."""


@record
class Rate:
    """Dollars for one unit of ``item``, where all the conditions beside it hold.

    ``above``: for prompts with more tokens than this, and then for the whole request, never for the excess
    alone. ``service`` is the class of service (batch, flex, priority), empty for the standard one.
    ``lifetime`` is how long a cache write lives (5m, 30m, 1h, 12h), ``variant`` a size, quality, resolution
    or amount of context that the provider prices apart.
    """

    item: str
    amount: Decimal
    above: int = 0
    service: str = ""
    lifetime: str = ""
    variant: str = ""


@record
class Multiplier:
    """A factor on all tokens of a request served in a region or at a speed; applied last."""

    factor: Decimal
    region: str = ""
    speed: str = ""


TIME_OF_DAY: Final = r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00"
"""How `Hours` writes a time, as a regular expression."""


@record
class Hours:
    """Prices of a time of day. ``start`` and ``end`` are hours of UTC as ``16:30``; ``weekdays`` 0 is Monday.

    ``rates`` replace those of the same item and conditions while it lasts.
    """

    start: str
    end: str
    rates: tuple[Rate, ...]
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)


@record
class Prices:
    """Every price of a model. An item that is not among the rates has no price that is known.

    ``reached``: a step of ``above`` begins at its number of tokens, not above it. ``source`` is the page that
    tells the prices, ``as_of`` the day when somebody last looked (YYYY-MM-DD), ``version`` the table they are from.
    ``unpriced_region`` is a region that is asked and has prices of its own, which are not known: these are another's.
    """

    rates: tuple[Rate, ...]
    multipliers: tuple[Multiplier, ...] = ()
    hours: tuple[Hours, ...] = ()
    reached: bool = False
    source: str = ""
    as_of: str = ""
    version: str = ""
    unpriced_region: str = ""


def is_plain(rate: Rate) -> bool:
    """Whether a price holds without any condition."""
    return not (rate.above or rate.service or rate.lifetime or rate.variant)


def per_million(amounts: Mapping[str, Decimal], *, source: str = "", as_of: str = "", version: str = "") -> Prices:
    """Prices from dollars for a million tokens, by the words of `TOKENS`, with no conditions."""
    rates = tuple(Rate(item, amount.scaleb(-6, context=EXACT)) for item, amount in amounts.items())
    return Prices(rates, source=source, as_of=as_of, version=version)


def in_millions(prices: Prices) -> dict[str, Decimal]:
    """Dollars for a million tokens by item, of those that have a price without conditions."""
    plain = (rate for rate in prices.rates if rate.item in TOKENS and is_plain(rate))
    return {rate.item: rate.amount.scaleb(6, context=EXACT) for rate in plain}
