"""The price fields of the table that LiteLLM publishes, as rates of flowllm.

A field is a stem, then how long a cache write lives, then a step of the prompt's length, then a class of service,
each if it is there: ``cache_creation_input_token_cost_above_1hr_above_200k_tokens_batches``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Context, Decimal
from typing import Any, Final

from flowllm.catalog.registry_rows import MOST_DECIMALS
from flowllm.core.prices import EXACT, TOKENS, Hours, Multiplier, Rate

STEMS: Mapping[str, tuple[str, str]] = {
    "input_cost_per_token": ("input", ""),
    "output_cost_per_token": ("output", ""),
    "cache_read_input_token_cost": ("cached_input", ""),
    "input_cost_per_token_cache_hit": ("cached_input", ""),
    "explicit_cache_read_input_token_cost": ("cached_input", "explicit"),
    "cache_creation_input_token_cost": ("cache_write", ""),
    "cache_creation_input_audio_token_cost": ("cache_write", "audio"),
    "cache_read_input_audio_token_cost": ("cached_audio", ""),
    "cache_read_input_image_token_cost": ("cached_image", ""),
    "input_cost_per_audio_token": ("input_audio", ""),
    "output_cost_per_audio_token": ("output_audio", ""),
    "input_cost_per_image_token": ("input_image", ""),
    "output_cost_per_image_token": ("output_image", ""),
    "input_cost_per_video_token": ("input_video", ""),
    "output_cost_per_video_token": ("output_video", ""),
    "output_cost_per_reasoning_token": ("reasoning", ""),
    "citation_cost_per_token": ("citations", ""),
    "input_cost_per_request": ("requests", ""),
    "input_cost_per_query": ("queries", ""),
    "input_cost_per_character": ("input_characters", ""),
    "output_cost_per_character": ("output_characters", ""),
    "input_cost_per_second": ("input_seconds", ""),
    "input_cost_per_audio_per_second": ("input_seconds", ""),
    "output_cost_per_second": ("output_seconds", ""),
    "input_cost_per_video_per_second": ("input_video_seconds", ""),
    "output_cost_per_video_per_second": ("output_video_seconds", ""),
    "input_cost_per_image": ("input_images", ""),
    "output_cost_per_image": ("output_images", ""),
    "input_cost_per_pixel": ("input_pixels", ""),
    "output_cost_per_pixel": ("output_pixels", ""),
    "ocr_cost_per_page": ("pages", ""),
    "annotation_cost_per_page": ("pages", "annotation"),
    "google_maps_grounding_cost_per_query": ("maps_searches", ""),
    "code_interpreter_cost_per_session": ("sessions", ""),
}
"""What a stem bills, and the variant that it is about; the first of two stems for one price counts."""

UNPRICED = frozenset(
    {"cost_per_second", "guardrail_cost_per_unit", "ocr_cost_per_credit", "input_cost_per_text_message"}
)
"""Prices for what no request of flowllm counts."""

SEARCHES = "search_context_cost_per_query"
TIERS = "tiered_pricing"
OFF_PEAK = "off_peak_pricing"
OWN = "provider_specific_entry"
MULTIPLIERS: Mapping[str, tuple[str, str]] = {
    "regional_processing_uplift_multiplier_eu": ("eu", ""),
    "regional_processing_uplift_multiplier_us": ("us", ""),
    "regional_endpoint_uplift_multiplier": ("regional", ""),
}
OWN_MULTIPLIERS: Mapping[str, tuple[str, str]] = {"us": ("us", ""), "eu": ("eu", ""), "fast": ("", "fast")}
CACHED_SHARES: Mapping[str, Decimal] = {"fireworks_ai": Decimal("0.5")}
"""What a company takes for reading from its cache, as a share of input, where the table has no price for it.

Fireworks: "the default discount is 50 %" (https://docs.fireworks.ai/guides/prompt-caching).
"""

MOST_PER_TOKEN = Decimal("0.1")
MOST = Decimal(1_000_000)
MOST_TOKENS = 100_000_000

_SERVICES = {"batches": "batch"} | {word: word for word in ("flex", "priority", "balanced", "ultrafast", "decisions")}
_FIELD = re.compile(
    r"(?P<stem>.+?)(_above_(?P<hours>1|12)hr)?(_above_(?P<step>\d{1,5})k_tokens)?"
    rf"(_(?P<service>{'|'.join(_SERVICES)}))?"
)
_SIZED = re.compile(r"(output_cost_per_second|output_cost_per_image)_(?P<variant>\d+p|[0-9.]+k|\d+)", re.IGNORECASE)
_LONG = re.compile(r"(input_cost_per_video_per_second)_above_(?P<variant>\d+s)_interval")
_DIGITS: Final = Context(prec=15)
"""Binary floats hold so many digits of a decimal for sure; what is written beyond is their noise."""
_MOST_HOURS = 240
"""Prices of times of day of one entry: registry files tell all of them for each span."""
_ZONES = {"": 0, "UTC": 0, "Asia/Shanghai": 8}
_DAY = 24 * 60
_WEEK = 7


def rate_of(field: str, amount: Decimal) -> Rate | None:
    """The rate that a price field tells; None for a field that is none."""
    sized = _SIZED.fullmatch(field) or _LONG.fullmatch(field)
    if sized:
        prefix = "above " if field.endswith("_interval") else ""
        return Rate(STEMS[sized[1]][0], amount, variant=prefix + sized["variant"])
    match = _FIELD.fullmatch(field)
    if match is None or match["stem"] not in STEMS:
        return None
    item, variant = STEMS[match["stem"]]
    return Rate(
        item,
        amount,
        above=int(match["step"] or 0) * 1000,
        service=_SERVICES.get(match["service"] or "", ""),
        lifetime=f"{match['hours']}h" if match["hours"] else "",
        variant=variant,
    )


def amount_of(value: int | Decimal) -> Decimal:
    """A number as it was meant: to 15 significant digits, so 0.1 micro-dollars where 1.0000000000000001e-07 is told."""
    return _DIGITS.create_decimal(value)


def with_cached(rates: list[Rate], company: str) -> Iterator[Rate]:
    """The rates, and the share of input for reading from the cache where the company has one and the table no price."""
    yield from rates
    share = CACHED_SHARES.get(company)
    if share is not None and not any(rate.item == "cached_input" and not rate.service for rate in rates):
        for rate in rates:
            amount = EXACT.multiply(rate.amount, share)
            if rate.item == "input" and not rate.service and is_price(amount, "cached_input"):
                yield replace(rate, item="cached_input", amount=amount)


def is_price(value: Any, item: str) -> bool:
    """Whether a number can be a price of an item: not negative, not beyond all reason, and such as files hold."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return False
    number = Decimal(value)
    most = MOST_PER_TOKEN if item in TOKENS else MOST
    # The exponent is looked at first: a short text can name a number that no memory holds.
    small = number.is_finite() and (number == 0 or -MOST_DECIMALS < number.adjusted() < 10)  # noqa: PLR2004
    return small and 0 <= number <= most and -int(_DIGITS.normalize(number).as_tuple().exponent) <= MOST_DECIMALS


def searches(told: Any) -> Iterator[tuple[str, Any]]:
    """The variants of a search and what each costs; one without a variant where all cost the same."""
    sizes = {str(key).removeprefix("search_context_size_"): value for key, value in told.items()}
    first = next(iter(sizes.values()))
    if all(value == first for value in sizes.values()):
        yield "", first
    else:
        yield from sizes.items()


def is_count(value: Any) -> bool:
    """Whether a number can be one of tokens."""
    return isinstance(value, int | Decimal) and not isinstance(value, bool) and 0 <= value <= MOST_TOKENS


def span_of(tier: Any) -> tuple[int, str] | None:
    """Above how many tokens a tier holds, and for which number of results; None for what is no tier."""
    if not isinstance(tier, Mapping):
        return None
    tokens, results = tier.get("range"), tier.get("max_results_range")
    span = tokens if tokens is not None else results
    if not isinstance(span, list) or not span or not all(is_count(one) for one in span):
        return None
    return (int(span[0]), "") if tokens is not None else (0, f"results {'-'.join(str(int(one)) for one in span)}")


def hours_of(told: Mapping[str, Any], rates: tuple[Rate, ...]) -> Iterator[Hours]:
    """The times of day at which other prices hold, in UTC; ValueError for a zone or a time that is not known."""
    zone = _ZONES[str(told.get("weekday_timezone", ""))]
    for window in told["windows"]:
        spans = window["hours_utc"]
        days = [_day(day) for day in window["weekdays"]]
        for span in [spans] if isinstance(spans, str) else spans:
            begin, _, end = span.partition("-")
            for first, last, shift in _split(_minutes(begin), _minutes(end) or _DAY, _DAY - zone * 60):
                weekdays = tuple(sorted((day + shift) % 7 for day in days))
                yield Hours(_time(first), _time(last), rates, weekdays)


def is_short(told: Mapping[str, Any], rates: tuple[Rate, ...]) -> bool:
    """Whether the prices of times of day are so few that somebody may have meant them."""
    windows = told["windows"]
    spans = sum(1 if isinstance(one["hours_utc"], str) else len(one["hours_utc"]) for one in windows)
    return spans * max(1, len(rates)) <= _MOST_HOURS and all(len(one["weekdays"]) <= _WEEK for one in windows)


def _split(first: int, last: int, border: int) -> Iterator[tuple[int, int, int]]:
    """A span of a day of UTC, cut where a zone east of it begins its next day, which is one day earlier in UTC.

    A span that ends before it begins goes on past midnight; the hours after it belong to the day on which it began.
    """
    if first < last:
        if first < min(last, border):
            yield first, min(last, border), 0
        if max(first, border) < last:
            yield max(first, border), last, -1
    elif border == _DAY:
        yield first, last, 0
    else:
        if first < border:
            yield first, border, 0
        yield max(first, border), last, -1


def _day(told: Any) -> int:
    """A day of the week from 0, told as 1 (Monday) to 7."""
    if type(told) is not int or not 1 <= told <= 7:  # noqa: PLR2004  days
        raise ValueError(told)
    return told - 1


def _minutes(text: str) -> int:
    hour, _, minute = text.partition(":")
    if not (0 <= int(hour) <= 24 and 0 <= int(minute) < 60):  # noqa: PLR2004  a clock
        raise ValueError(text)
    return int(hour) * 60 + int(minute)


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def multipliers_of(row: Mapping[str, Any]) -> Iterator[tuple[str, Any, Multiplier | None]]:
    """The factors that a row tells: the field, its number, and what it multiplies if it is a factor that can be."""
    own = row.get(OWN)
    told = [(field, row[field], where) for field, where in MULTIPLIERS.items() if field in row]
    if isinstance(own, Mapping):
        told += [(OWN, own[word], where) for word, where in OWN_MULTIPLIERS.items() if word in own]
    for field, value, (region, speed) in told:
        sound = is_price(value, "requests") and 0 < value < 100  # noqa: PLR2004  no factor is beyond
        yield field, value, Multiplier(amount_of(value), region, speed) if sound else None
