"""One line of a registry file: a model as compact JSON, and back.

A price is ``[item, amount]`` or ``[item, amount, {conditions}]``: the item is a word of `core.prices`, the amount
a plain decimal text of US dollars for one unit, the conditions are the fields of a `Rate`. What is not known is
not written. ``supports`` and ``lacks`` are what a model is known to do and known not to do.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from flowllm.core.card import ModelCard
from flowllm.core.prices import TIME_OF_DAY, TOKENS, UNITS, Hours, Multiplier, Prices, Rate
from flowllm.core.record import record

TASKS = {"chat": "chat", "responses": "chat", "completion": "chat", "embed": "embed", "rerank": "rerank", "": "chat"}
"""What can be asked of a model by its mode; a mode that is not here is its own task."""

MOST_DECIMALS = 30
"""The most digits behind the point of an amount."""

_AMOUNT = rf"\d{{1,9}}(\.\d{{1,{MOST_DECIMALS}}})?"
_CONDITIONS: Mapping[str, type] = {"above": int, "service": str, "lifetime": str, "variant": str}
_NUMBERS = ("context", "max_input", "output")
_WORDS = ("mode", "family", "released", "deprecated", "source")
_SETS = {"supports": "supports", "lacks": "lacks", "tasks": "tasks"}
_LISTS = {"reads": "modalities", "writes": "output_modalities"}
_PRICED = ("prices", "multipliers", "hours", "reached")
KEYS = frozenset({*_NUMBERS, *_WORDS, *_SETS, *_LISTS, *_PRICED})


@record
class Head:
    """Where the entries of a registry file are from: the table's name, version and licence, and its day."""

    table: str
    version: str
    as_of: str
    licence: str = ""

    @property
    def title(self) -> str:
        """The table with its version, as prices name it."""
        return f"{self.table} {self.version}".strip()


def tasks_of(mode: str) -> frozenset[str]:
    """What can be asked of a model that works in ``mode``."""
    return frozenset({TASKS.get(mode, mode)})


def plain(amount: Decimal) -> str:
    """An amount without exponent and without zeros at its end."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def row_of(card: ModelCard) -> dict[str, Any]:
    """A model as one line of a registry file."""
    row: dict[str, Any] = {name: getattr(card, name) for name in (*_NUMBERS, *_WORDS)}
    row |= {key: sorted(getattr(card, name) or ()) for key, name in _SETS.items()}
    row |= {key: list(getattr(card, name)) for key, name in _LISTS.items()}
    if card.tasks == tasks_of(card.mode):
        del row["tasks"]
    if card.prices is not None:
        row |= _prices_row(card.prices)
        row["source"] = card.source or card.prices.source
    return {key: value for key, value in row.items() if value not in (None, "", [], False)}


def _prices_row(prices: Prices) -> dict[str, Any]:
    return {
        "prices": [_rate_row(rate) for rate in prices.rates],
        "multipliers": [
            [plain(one.factor), {name: word for name in ("region", "speed") if (word := getattr(one, name))}]
            for one in prices.multipliers
        ],
        "hours": [
            {"start": one.start, "end": one.end, "weekdays": list(one.weekdays),
             "prices": [_rate_row(rate) for rate in one.rates]}
            for one in prices.hours
        ],
        "reached": prices.reached,
    }  # fmt: skip


def _rate_row(rate: Rate) -> list[Any]:
    conditions = {name: value for name in _CONDITIONS if (value := getattr(rate, name))}
    return [rate.item, plain(rate.amount), *([conditions] if conditions else [])]


def card_of_row(id_: str, row: Any, head: Head) -> ModelCard:
    """The model of one line; ValueError with one sentence for a line that is none."""
    if not isinstance(row, Mapping) or not row.keys() <= KEYS:
        unknown = sorted(row.keys() - KEYS)[:1] if isinstance(row, Mapping) else []
        message = f"an entry has no `{unknown[0]}`" if unknown else "an entry is a mapping"
        raise ValueError(message)
    known = bool({"supports", "lacks"} & row.keys())
    facts: dict[str, Any] = {
        **{name: _number(row.get(name)) for name in _NUMBERS},
        **{name: _word(row.get(name, "")) for name in _WORDS},
        **{name: tuple(_words(row.get(key, ()))) for key, name in _LISTS.items()},
        "tasks": tasks_of(_word(row.get("mode", ""))),
        **({"supports": frozenset(), "lacks": frozenset()} if known else {}),
        **{name: frozenset(_words(row[key])) for key, name in _SETS.items() if key in row},
    }
    return ModelCard(id=id_, **facts, prices=_prices(row, head, facts["source"]), checked=head.as_of)


def _prices(row: Mapping[str, Any], head: Head, source: str) -> Prices | None:
    if "prices" not in row:
        return None
    return Prices(
        rates_of(row["prices"]),
        tuple(_multiplier(one) for one in _list(row.get("multipliers", []))),
        tuple(_hours(one) for one in _list(row.get("hours", []))),
        row.get("reached") is True,
        source,
        head.as_of,
        head.title,
    )


def rates_of(rows: Any) -> tuple[Rate, ...]:
    """Prices as they are written in a registry file; ValueError with one sentence for what is none."""
    return tuple(map(_rate, _list(rows)))


def _rate(row: Any) -> Rate:
    if not isinstance(row, list | tuple) or len(row) not in (2, 3) or row[0] not in (*TOKENS, *UNITS):
        message = "a price is [item, amount] or [item, amount, {conditions}], the item a word of the price list"
        raise ValueError(message)
    conditions = row[2] if len(row) > 2 else {}  # noqa: PLR2004  [item, amount, {conditions}]
    if not isinstance(conditions, Mapping) or not all(
        type(value) is _CONDITIONS.get(name) for name, value in conditions.items()
    ):
        message = f"the conditions of a price are {', '.join(_CONDITIONS)}"
        raise ValueError(message)
    return Rate(row[0], _amount(row[1]), **conditions)


def _multiplier(row: Any) -> Multiplier:
    if not isinstance(row, list) or len(row) != 2 or not isinstance(row[1], Mapping):  # noqa: PLR2004  a pair
        message = "a multiplier is [factor, {region: ..., speed: ...}]"
        raise ValueError(message)
    return Multiplier(_amount(row[0]), _word(row[1].get("region", "")), _word(row[1].get("speed", "")))


def _hours(row: Any) -> Hours:
    times = [row.get(name) for name in ("start", "end")] if isinstance(row, Mapping) else []
    days = row.get("weekdays") if isinstance(row, Mapping) else None
    if not times or not all(isinstance(time, str) and re.fullmatch(TIME_OF_DAY, time, re.ASCII) for time in times):
        message = "a time of day is {start: 16:30, end: 24:00, weekdays: [0, 1], prices: [...]}"
        raise ValueError(message)
    if not isinstance(days, list) or not all(type(day) is int and 0 <= day <= 6 for day in days):  # noqa: PLR2004  a week
        message = "weekdays are numbers from 0, a Monday, to 6"
        raise ValueError(message)
    return Hours(str(times[0]), str(times[1]), rates_of(row.get("prices")), tuple(days))


def _amount(text: Any) -> Decimal:
    if not isinstance(text, str) or not re.fullmatch(_AMOUNT, text, re.ASCII):
        message = "an amount is a plain decimal text such as '0.0000025'"
        raise ValueError(message)
    return Decimal(text)


def _number(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 0):
        message = "a number of tokens is a whole number"
        raise ValueError(message)
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        message = "a word is a text"
        raise ValueError(message)  # noqa: TRY004  the reader reports ValueError alone
    return value


def _words(value: Any) -> Iterable[str]:
    return map(_word, _list(value))


def _list(value: Any) -> Iterable[Any]:
    if not isinstance(value, list | tuple):
        message = "a list is needed"
        raise ValueError(message)  # noqa: TRY004  the reader reports ValueError alone
    return value
