"""Which model suits a need: those that fit, and the best of them with reasons. Unknown is never taken for yes."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, TypeVar

from flowllm.api.environment import Environment
from flowllm.api.model_facts import Model, brief, known_models, listed
from flowllm.api.model_need import Need, Wanted, read_need
from flowllm.api.providers import is_local, key_state
from flowllm.catalog.registry import undated
from flowllm.compiler.capabilities import SOON
from flowllm.core.card import Catalog, ModelCard
from flowllm.core.errors import UsageError
from flowllm.core.prices import EXACT, UNITS
from flowllm.core.record import record

_MADE_UP = "mock"
_LENGTHS: Mapping[str, Callable[[ModelCard], int | None]] = {
    "context": lambda card: card.longest_prompt,
    "output": lambda card: card.output,
}
"""What a need of so many tokens is held against: the whole of ``context`` is to be read."""
_CARRIED = ("chat", "embed", "rerank")
"""Tasks that pipelines can ask for."""

_MET, _KEY, _STAYS, _NAMED, _LOCAL = 10, 5, 5, 3, 2
_CHEAP = (("0.25", 10), ("0.5", 8), ("1", 7), ("2", 5), ("5", 3), ("10", 1))
"""Points for at most so many dollars for a million tokens, of which three in four are read."""
_LONG = ((1_000_000, 4), (200_000, 3), (128_000, 2), (32_000, 1))
"""Points for reading at least so many tokens."""


@record
class Match:
    """A model that fits; of ``unknown`` nothing is known there."""

    model: Model
    unknown: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """As JSON."""
        return {**brief(self.model), "unknown": list(self.unknown)}


@record
class Recommended:
    """A model and why: its score is the sum of the points of its reasons, none of them below nought."""

    model: Model
    score: int
    reasons: tuple[tuple[int, str], ...]
    unknown: tuple[str, ...] = ()

    def to_data(self) -> dict[str, Any]:
        """As JSON."""
        reasons = [{"points": points, "reason": reason} for points, reason in self.reasons]
        return {**brief(self.model), "score": self.score, "reasons": reasons, "unknown": list(self.unknown)}


Found = TypeVar("Found", Match, Recommended)


def find(environment: Environment, need: Need) -> tuple[Match, ...]:
    """The models that fit, the cheapest first; at the end those that a table has for nothing, and without a price.

    A model is there once: of its dated forms and the other ways to its provider the first is meant for all, but where
    ``need.every`` is said.
    """
    found = sorted(_fitting(environment, need, read_need(environment, need)), key=_by_fit(environment.catalog))
    return tuple(found) if need.every else _each_once(environment.catalog, found)


def _fitting(environment: Environment, need: Need, wanted: Wanted) -> Iterator[Match]:
    for model in known_models(environment.catalog, need.provider, every=need.every):
        if not is_meant(environment, model, wanted.task) or (is_past(model, environment.day) and not need.deprecated):
            continue
        unknown = _unknown(model, wanted)
        if unknown is not None and (need.unknown or not unknown):
            yield Match(model, unknown)


def _by_fit(catalog: Catalog) -> Callable[[Match], tuple[Any, ...]]:
    """The best known first, the cheapest of these, and a model before its dated forms and other ways to it."""
    return lambda one: (len(one.unknown), *_by_price(one.model)[:2], _is_form(catalog, one.model), one.model.name)


def _is_form(catalog: Catalog, model: Model) -> bool:
    return _meant(catalog, model) != model.name


def _meant(catalog: Catalog, model: Model) -> str:
    """The name that a model has without its date, at the provider whose entries hold for it."""
    return undated(_other_way(catalog, model) or model.name)


def _each_once(catalog: Catalog, found: Iterable[Found]) -> tuple[Found, ...]:
    meant: dict[str, Found] = {}
    for one in found:
        meant.setdefault(_meant(catalog, one.model), one)
    return tuple(meant.values())


def recommend(environment: Environment, need: Need) -> tuple[Recommended, ...]:
    """The models that fit, the best first, each with the reasons for its score.

    Of a model and its dated forms, and of several ways to ask a provider, the first is meant for all.
    """
    catalog, wanted = environment.catalog, read_need(environment, need)
    named = {model.name for model in listed(catalog)}
    found = [_scored(environment, match, wanted, named) for match in _fitting(environment, need, wanted)]
    found.sort(key=lambda one: (len(one.unknown), -one.score, bool(_other_way(catalog, one.model)),
                                *_by_price(one.model)))  # fmt: skip
    return _each_once(catalog, found)


def _other_way(catalog: Catalog, model: Model) -> str:
    """The model's name at the provider whose entries hold for this one; empty where that is itself."""
    provider, _, id_ = model.name.partition("/")
    card = catalog.providers.get(provider)
    return f"{card.registry}/{id_}" if card is not None and card.registry not in ("", provider) else ""


def is_meant(environment: Environment, model: Model, task: str) -> bool:
    """Whether the provider is one to ask for this: it makes no answers up, and its formats are not for other tasks."""
    provider = model.name.partition("/")[0]
    if provider == _MADE_UP or not model.askable:
        return provider != _MADE_UP
    wires = environment.catalog.providers[provider].wire
    return not wires or task in wires or task not in _CARRIED


def is_past(model: Model, day: date) -> bool:
    """Whether the model's day of deprecation has come."""
    return model.card is not None and "" < model.card.deprecated <= day.isoformat()


def _unknown(model: Model, wanted: Wanted) -> tuple[str, ...] | None:
    """What is not known of what is wanted; None where the model is known not to fit."""
    card = model.card
    if card is None:
        return None
    answers = answers_of(model, card, wanted)
    if wanted.task not in card.tasks or False in answers.values():
        return None
    return tuple(word for word, answer in answers.items() if answer is None)


def answers_of(model: Model, card: ModelCard, wanted: Wanted) -> dict[str, bool | None]:
    """Whether a model is known to meet each of `Wanted.names`; None is unknown."""
    answers: dict[str, bool | None] = {word: model.can(word) for word in wanted.supports}
    answers |= {name: _at_least(_LENGTHS[name](card), least) for name, least in wanted.least}
    return answers | {f"{item} price": _at_most(model.all_per_million(item), most) for item, most in wanted.most}


def _at_least(known: int | None, least: int) -> bool | None:
    return None if known is None else known >= least


def _at_most(known: Decimal | None, most: Decimal) -> bool | None:
    return None if known is None else known <= most


def _scored(environment: Environment, match: Match, wanted: Wanted, named: set[str]) -> Recommended:
    model = match.model
    met = [(_MET, f"supports {word}") for word in wanted.supports if model.can(word)]
    met += [(_MET, f"{name}: {known:,} tokens") for name, _ in wanted.least
            if model.card and (known := _LENGTHS[name](model.card))]  # fmt: skip
    told = {
        "needs": met,
        "price": _of_price(model),
        "context": _of_window(model),
        "place": _of_place(environment, model),
        "file": [(_NAMED, "its provider's file names it")] if model.name in named else [],
        "end": [_of_days(environment, model)],
    }
    reasons = tuple(
        (points * wanted.weights.get(word, 1), why) for word, found in told.items() for points, why in found
    )
    return Recommended(model, sum(points for points, _ in reasons), reasons, match.unknown)


def _of_days(environment: Environment, model: Model) -> tuple[int, str]:
    last = model.card.deprecated if model.card else ""
    if last and last <= (environment.day + SOON).isoformat():
        return 0, f"ends on {last}"
    return _STAYS, "no end of it is near"


def _of_price(model: Model) -> list[tuple[int, str]]:
    if beside := model.beside():
        each = " and ".join(f"${rate.amount:f} for each {UNITS[rate.item]}" for rate in beside)
        return [(0, f"{each} is paid beside tokens")]
    blend = blended(model)
    if blend is None:
        return [(0, "no price is known")]
    sides = (("in", model.per_million("input")), ("out", model.per_million("output")))
    told = " and ".join(f"${amount:f} {side}" for side, amount in sides if amount is not None)
    if not blend and not model.free:
        return [(0, "its table tells a price of $0")]
    points = next((points for most, points in _CHEAP if blend <= Decimal(most)), 0)
    return [(points, "costs nothing" if model.free else f"{told} for a million tokens")]


def _of_window(model: Model) -> list[tuple[int, str]]:
    window = model.card.longest_prompt if model.card else None
    points = next((points for least, points in _LONG if (window or 0) >= least), 0)
    return [(points, f"reads {window:,} tokens")] if points else []


def _of_place(environment: Environment, model: Model) -> list[tuple[int, str]]:
    provider, _, id_ = model.name.partition("/")
    if provider not in environment.catalog.providers:
        return [(0, "its provider has no file: no pipeline can ask it")]
    card = environment.catalog.providers[provider]
    key = key_state(environment, card)
    found = [(_KEY if key.found or not card.auth.required else 0, f"key: {key.said}")]
    return [*found, (_LOCAL, "answers on this machine")] if is_local(card) and not card.is_elsewhere(id_) else found


def blended(model: Model) -> Decimal | None:
    """Dollars for a million tokens, of which three in four are read; None is unknown."""
    read, written = model.all_per_million("input"), model.all_per_million("output")
    if read is None or written is None:
        return read if written is None and model.card and "chat" not in model.card.tasks else None
    return EXACT.multiply(EXACT.add(EXACT.multiply(read, Decimal(3)), written), Decimal("0.25"))


def _by_price(model: Model) -> tuple[int, Decimal, str]:
    """The cheapest first. A table's price of nothing is doubtful where the provider takes money: it stands behind."""
    blend = blended(model)
    doubt = 2 if blend is None else int(not blend and not model.free)
    return doubt, blend or Decimal(0), model.name


def first_of(found: tuple[Found, ...], limit: int | None) -> tuple[Found, ...]:
    """The first ones; None is all."""
    if limit is not None and (not isinstance(limit, int) or limit < 0):
        raise UsageError("bad_value", f"`limit` is a number of models from 0 on, not `{limit}`", hint="limit=20")
    return found[:limit]
