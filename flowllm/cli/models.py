"""`flowllm models`: the models that are known by name, their windows, capabilities and prices."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.models_choice import CompareModels, FindModels, RecommendModels
from flowllm.cli.models_count import CountTokens
from flowllm.cli.models_local import is_local, list_local, show_local
from flowllm.cli.models_price import PriceModel
from flowllm.cli.models_rows import HEAD, Name, cells, word
from flowllm.cli.models_sync import SyncModels
from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.api import Environment
    from flowllm.api.model_facts import Model
    from flowllm.cli.render import Screen

HELP = "Show, choose and price models, count their tokens: list, show, find, compare, recommend, price, count, sync."
SHOWN = 50


@record(kw_only=True)
class ListModels(Command):
    """List models that provider files name; with a word, a provider or --all all that are known.

    Prices are US dollars for a million tokens, or for the unit behind a slash; `?` is unknown.
    """

    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Only models whose name holds every word.")
    ] = None
    provider: Annotated[
        str | None,
        typer.Option(metavar="PROVIDER", help="All models of one provider.", autocompletion=completion.providers),
    ] = None
    every: Annotated[
        bool, typer.Option("--all", help="Also models of providers that have no file, which no pipeline can ask.")
    ] = False
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="The most rows of the table; 0 is all.")] = SHOWN
    live: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER", help="Ask a provider, at no cost, what it lists.", autocompletion=completion.providers
        ),
    ] = None

    local: Annotated[bool, typer.Option("--local", help="The models of this machine, with what their files say.")] = (
        False
    )

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a model."""
        from flowllm.api import models
        from flowllm.cli.opening import here, sound_here

        if self.local:
            return list_local(here(), self.words or (), screen, as_json=self.as_json)
        if self.live is not None:
            words = [said.lower() for said in self.words or ()]
            found = _live(here(), self.live, screen)
            self._show([one for one in found if all(said in one.name.lower() for said in words)], screen)
            return 0
        environment, faults = (here(), []) if self.provider else sound_here()
        _ = environment.catalog.providers.get(self.provider or "")  # One that is asked for must not be broken.
        chosen = models.list(self.words or (), provider=self.provider or "", every=self.every, environment=environment)
        self._show(chosen, screen, self._elsewhere(environment))
        if not (self.words or self.provider or self.every or self.as_json):
            screen.note(_more(environment, len(chosen)))
        screen.problems(faults)
        return 0

    def _elsewhere(self, environment: "Environment") -> str:
        """Where else to look, in words; nothing where all has been looked at."""
        if self.every or self.provider:
            return ""
        known = environment.catalog.registry.names() if environment.catalog.registry else ()
        named = next((said for said in self.words or () if said in known), "")
        if named:
            return f"; `flowllm models list --provider {named}` shows those of `{named}`"
        return "; `flowllm models list --all WORD` looks among all"

    def _show(self, found: "Sequence[Model]", screen: "Screen", more: str = "") -> None:
        from flowllm.api.model_facts import brief

        if self.as_json:
            screen.json({"models": [brief(model) for model in found]})
        elif not found:
            said = f"no model's name holds {' and '.join(self.words)}" if self.words else "no model is known there"
            screen.note(said + more)
        else:
            shown = found[: self.limit or None]
            screen.table([HEAD, *map(cells, shown)], right=frozenset({2, 3, 4, 5}))
            if len(shown) < len(found):
                screen.note(f"{len(shown)} of {len(found):,} models are shown; --limit 0 shows all")


def _more(environment: "Environment", named: int) -> str:
    from flowllm.api.model_facts import ids_of

    providers = environment.catalog.providers
    known = sum(len(ids_of(environment.catalog, name)) for name in providers)
    return (
        f"{named} models that provider files name, of {known:,} that are known of {len(providers)} providers; "
        "a word, --provider NAME or --all shows others"
    )


def _live(environment: "Environment", name: str, screen: "Screen") -> "Iterator[Model]":
    """The models that a provider lists now, with what is known of them."""
    from flowllm.api.model_facts import model_of
    from flowllm.api.probing import live_models
    from flowllm.api.sync import run_sync

    listed = run_sync(live_models(environment, name))
    for model in listed.names:
        yield model_of(environment.catalog, f"{name}/{model}")
    if listed.more:
        screen.note(f"{name} lists more models than these {len(listed.names)}")


@record(kw_only=True)
class ShowModel(Command):
    """Show all that is known of a model: window, capabilities, days, and every price with its conditions."""

    model: Name

    def carry_out(self, screen: "Screen") -> int:
        """Print the facts, one a line; what is not known is said to be unknown."""
        from flowllm.api import models
        from flowllm.cli.opening import here

        if is_local(here(), self.model):
            return show_local(here(), self.model, screen, as_json=self.as_json)
        facts = models.show(self.model, environment=here()).facts()
        if self.as_json:
            screen.json(facts)
        else:
            screen.table(list(_lines(facts)))
        return 0


def _lines(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Facts as names and texts."""
    yield from ((name, word(facts[name])) for name in ("model", "tasks", "mode", "family"))
    least = "" if facts["context_is_whole"] or facts["context"] is None else "at least "
    yield "context", f"{least}{word(facts['context'])}"
    for title, name in (("max input", "max_input"), ("max output", "output"), ("reads", "reads"), ("writes", "writes")):
        yield title, word(facts[name])
    for answer, title in ((True, "supports"), (False, "lacks"), (None, "unknown")):
        named = [name for name, known in facts["capabilities"].items() if known is answer]
        yield title, ", ".join(named) or "nothing"
    yield from ((name, word(facts[name])) for name in ("released", "deprecated"))
    yield from _prices(facts)
    for name in ("source", "prices_from", "prices_as_of", "checked", "places"):
        if facts[name]:
            yield name.replace("_", " "), word(facts[name])
    if not facts["askable"]:
        yield "askable", "no: its provider has no file"


def _prices(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if facts["free"]:
        yield "price", "it costs nothing"
    elif not facts["prices"]:
        yield "price", "unknown"
    for rate in facts["prices"]:
        yield f"price of {rate['item']}", price_in_words(rate)
    for one in facts["multipliers"]:
        yield "multiplier", f"x {one['factor']} for {' and '.join(filter(None, (one['region'], one['speed'])))}"
    for hours in facts["hours"]:
        days = "every day" if len(hours["weekdays"]) == 7 else f"on days {word(hours['weekdays'])} from Monday, 0"  # noqa: PLR2004  a week
        for rate in hours["prices"]:
            yield f"price of {rate['item']}", f"{price_in_words(rate)}, {hours['start']} to {hours['end']} UTC {days}"


def price_in_words(rate: dict[str, Any]) -> str:
    """A price and what it holds for."""
    amount = (
        f"${rate['per_million']} per million tokens" if rate["per_million"] else f"${rate['amount']} per {rate['unit']}"
    )
    steps = [f"prompts {'from' if rate['inclusive'] else 'above'} {rate['above']:,} tokens"] if rate["above"] else []
    return ", ".join([amount, *steps, *filter(None, (rate["service"], rate["lifetime"], rate["variant"]))])


COMMANDS = {
    "list": ListModels,
    "show": ShowModel,
    "find": FindModels,
    "compare": CompareModels,
    "recommend": RecommendModels,
    "price": PriceModel,
    "count": CountTokens,
    "sync": SyncModels,
}
