"""What is known of models, as data: the facts of one, and all of those that are known.

What provider files say and what the registry tells are one here (`Catalog.model`). Unknown stays unknown: None,
never False and never 0. Nothing here asks a network.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any

from flowllm.api.environment import Environment
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.errors import FlowError, UsageError
from flowllm.core.nearest import did_you_mean, nearest
from flowllm.core.prices import EXACT, TOKENS, UNITS, Prices, Rate, in_millions
from flowllm.core.record import record
from flowllm.pricing.bounds import paid_beside
from flowllm.pricing.cost import is_free

CAPABILITIES = (
    "tools", "json_schema", "images", "reasoning", "caching", "pdf", "audio_input", "audio_output", "video_input",
    "web_search", "computer_use", "tool_choice", "forced_tools", "parallel_tools", "tool_search", "system_messages",
    "prefill", "sampling", "streaming", "url_context", "image_size",
)  # fmt: skip
"""What models are told to do or not to do."""

TASKS = (
    "chat", "embed", "rerank", "image", "image_edit", "video", "speech", "transcription", "realtime", "search",
    "ocr", "moderation", "evaluation", "decisions", "extraction", "vector_store", "guardrail",
)  # fmt: skip
"""What models are made for."""

_SEEN = {"images": "image", "audio_input": "audio", "video_input": "video"}
_MADE = {"audio_output": "audio"}
_NOTHING = Decimal(0)
_TOLD = (
    "tasks", "context", "context_is_whole", "max_input", "output", "supports", "price", "beside", "checked",
    "deprecated", "free",
)  # fmt: skip


@record
class Model:
    """A model by its name, ``provider/model``, and all that is known of it; ``card`` is None where nothing is.

    ``free``: it costs nothing, whatever is asked. ``askable``: its provider has a file, so pipelines can ask it.
    ``places`` are those that have prices of their own, such as regions.
    """

    name: str
    card: ModelCard | None
    free: bool = False
    askable: bool = True
    places: tuple[str, ...] = ()

    def can(self, capability: str) -> bool | None:
        """Whether it is known to do something, or not to; None is unknown."""
        card = self.card
        if card is None:
            return None
        told = card.can(capability)
        seen = _SEEN.get(capability) in card.modalities or _MADE.get(capability) in card.output_modalities
        return True if told is None and seen else told

    def per_million(self, item: str) -> Decimal | None:
        """Dollars for a million tokens of ``input`` or ``output``, without conditions; None is unknown."""
        if self.free:
            return _NOTHING
        return in_millions(self.card.prices).get(item) if self.card and self.card.prices else None

    def beside(self) -> tuple[Rate, ...]:
        """What each request is paid for beside tokens, or instead of them: each unit at its cheapest."""
        return () if self.free else paid_beside(self.card)

    def all_per_million(self, item: str) -> Decimal | None:
        """The same; None also where something is paid beside tokens, for it is no price of theirs."""
        return None if self.beside() else self.per_million(item)

    def facts(self) -> dict[str, Any]:
        """All that is known, as JSON; null is unknown, amounts are decimal texts of US dollars."""
        card = self.card or ModelCard(self.name.partition("/")[2], tasks=frozenset())
        prices = card.prices or Prices(())
        return {
            **brief(self),
            "mode": card.mode or None,
            "family": card.family or None,
            "capabilities": {word: self.can(word) for word in _named(card)},
            "reads": list(card.modalities),
            "writes": list(card.output_modalities),
            "released": card.released or None,
            "prices": [_rate(rate, reached=prices.reached) for rate in prices.rates],
            "multipliers": [{"factor": f"{m.factor:f}", "region": m.region, "speed": m.speed}
                            for m in prices.multipliers],
            "hours": [{"start": h.start, "end": h.end, "weekdays": list(h.weekdays),
                       "prices": [_rate(rate, reached=prices.reached) for rate in h.rates]} for h in prices.hours],
            "source": card.source or prices.source or None,
            "prices_from": prices.version or None,
            "prices_as_of": prices.as_of or None,
            "places": list(self.places),
            "askable": self.askable,
        }  # fmt: skip


def brief(model: Model) -> dict[str, Any]:
    """What a list says of a model; None is unknown."""
    card = model.card
    known: dict[str, Any] = dict.fromkeys(_TOLD)
    if card is not None:
        known |= {
            "tasks": sorted(card.tasks),
            "context": card.window,
            "context_is_whole": None if card.window is None else card.context is not None,
            "max_input": card.longest_prompt,
            "output": card.output,
            "supports": None if card.supports is None else sorted(card.supports),
            "price": None if card.prices is None else {name: f"{p:f}" for name, p in in_millions(card.prices).items()},
            "beside": {rate.item: f"{rate.amount:f}" for rate in model.beside()},
            "checked": card.checked or None,
            "deprecated": card.deprecated or None,
        }
    return {"model": model.name, **known, "free": model.free}


def _named(card: ModelCard) -> list[str]:
    """The capabilities to speak of: those of the house, then what a provider file names besides."""
    return list(dict.fromkeys((*CAPABILITIES, *sorted((card.supports or frozenset()) | (card.lacks or frozenset())))))


def _rate(rate: Rate, *, reached: bool) -> dict[str, Any]:
    million = f"{_plain(rate.amount.scaleb(6, context=EXACT)):f}" if rate.item in TOKENS else None
    return {
        "item": rate.item,
        "unit": UNITS.get(rate.item, "token"),
        "amount": f"{rate.amount:f}",
        "per_million": million,
        "above": rate.above or None,
        "inclusive": bool(reached and rate.above),
        "service": rate.service,
        "lifetime": rate.lifetime,
        "variant": rate.variant,
    }


def _plain(amount: Decimal) -> Decimal:
    return amount.normalize(EXACT) if amount else _NOTHING


def show(environment: Environment, name: str) -> Model:
    """All that is known of ``provider/model``; `UsageError` where that is nothing."""
    provider, slash, id_ = str(name).partition("/")
    catalog = environment.catalog
    if not slash or not id_:
        raise UsageError("unknown_model", f"there is no model `{name}`", hint=_by_id(catalog, name))
    known = [*catalog.providers, *(catalog.registry.names() if catalog.registry else ())]
    if provider not in known:
        hint = did_you_mean(provider, known, "flowllm providers list")
        raise UsageError("unknown_provider", f"nothing is known of the provider `{provider}`", hint=hint)
    found = model_of(catalog, name)
    if found.card is None and not _is_made_here(catalog, provider):
        near = near_model(catalog, name)
        hint = f"did you mean `{near}`?" if near else f"flowllm models list --provider {provider}"
        raise UsageError("unknown_model", f"nothing is known of `{name}`", hint=hint)
    return found


def model_named(environment: Environment, name: str) -> Model:
    """The model, also one of which nothing is known where its provider has a file; `UsageError` for other names."""
    provider, _, id_ = str(name).partition("/")
    known = id_ and provider in environment.catalog.providers
    return model_of(environment.catalog, name) if known else show(environment, name)


def near_model(catalog: Catalog, name: str) -> str:
    """The model of the same provider whose name is nearest to one that is not known; empty where none is near."""
    provider, _, id_ = name.partition("/")
    near = nearest(id_, ids_of(catalog, provider))
    return f"{provider}/{near}" if near else ""


def _is_made_here(catalog: Catalog, provider: str) -> bool:
    """Whether a provider takes models by any name and none of them costs anything."""
    card = catalog.providers.get(provider)
    return card is not None and card.open_models and (card.local or card.free)


def _by_id(catalog: Catalog, name: str) -> str:
    """A hint for a model that is named without its provider; what a provider file itself names goes first."""
    own = next((model.name for model in listed(catalog) if model.name.endswith(f"/{name}")), "") if name else ""
    if own:
        return f"did you mean `{own}`?"
    for provider in catalog.providers:
        with suppress(FlowError):  # a provider that nothing asks for may be broken
            if name and name in ids_of(catalog, provider):
                return f"did you mean `{provider}/{name}`?"
    alike = nearest(str(name), ids := {model.name.partition("/")[2]: model.name for model in listed(catalog)})
    if alike:
        return f"did you mean `{ids[alike]}`?"
    return "a model is written provider/model, for example openai/gpt-5.4-mini; flowllm models list WORD finds more"


def model_of(catalog: Catalog, name: str) -> Model:
    """A model with what is known of it, which may be nothing; raises for a broken provider file."""
    provider, _, id_ = name.partition("/")
    card = catalog.providers.get(provider)
    known = catalog.model(name)
    entries = _entries(catalog, provider, card)
    places = tuple(one.removesuffix(f"/{id_}") for one in entries if one.endswith(f"/{id_}"))
    return Model(name, known, is_free(card, known, id_), card is not None, places)


def _entries(catalog: Catalog, provider: str, card: ProviderCard | None) -> Mapping[str, ModelCard]:
    """What the registry has of a provider. Models of this process have no entry there."""
    if catalog.registry is None or (card is not None and card.local):
        return {}
    return catalog.registry.models((card.registry if card else "") or provider)


def ids_of(catalog: Catalog, provider: str) -> list[str]:
    """Every model that is known of a provider, those of its file first; entries of one place only are left out."""
    card = catalog.providers.get(provider)
    entries = _entries(catalog, provider, card)
    own = card.models if card else {}
    return list(dict.fromkeys((*own, *(one for one in entries if one.partition("/")[2] not in entries))))


def models_of(catalog: Catalog, provider: str) -> Iterator[Model]:
    """Every model that is known of a provider; made-up ones have none."""
    card = catalog.providers.get(provider)
    for id_ in ids_of(catalog, provider):
        name = f"{provider}/{id_}"
        known = catalog.model(name)
        yield Model(name, known, is_free(card, known, id_), card is not None)


def providers_of(catalog: Catalog, only: str = "", *, every: bool = False) -> list[str]:
    """Providers by name: one, or those that have a file, or with ``every`` also those that the registry alone knows."""
    tabled = catalog.registry.names() if catalog.registry else []
    known = list(dict.fromkeys((*catalog.providers, *tabled)))
    if only:
        if only not in known:
            hint = did_you_mean(only, known, "flowllm providers list")
            raise UsageError("unknown_provider", f"nothing is known of the provider `{only}`", hint=hint)
        return [only]
    return known if every else list(catalog.providers)


def listed(catalog: Catalog) -> Iterator[Model]:
    """The models that provider files themselves name; the registry is read for these alone."""
    for provider in catalog.providers:
        with suppress(FlowError):  # a provider that nothing asks for may be broken
            card = catalog.providers[provider]
            for id_ in card.models:
                known = catalog.model(f"{provider}/{id_}")
                yield Model(f"{provider}/{id_}", known, is_free(card, known, id_))


def known_models(catalog: Catalog, only: str = "", *, every: bool = False) -> Iterator[Model]:
    """Every model of these providers; those with a broken file are passed over."""
    for provider in providers_of(catalog, only, every=every):
        with suppress(FlowError):
            yield from models_of(catalog, provider)
