"""`flowllm models`: the models that are known by name, their windows and prices."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.cli.models_sync import SyncModels
from flowllm.cli.options import Command
from flowllm.core.errors import UsageError
from flowllm.core.prices import in_millions
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.api import Environment
    from flowllm.cli.render import Screen
    from flowllm.core.card import ModelCard

HELP = "Show models: list. Take their facts from a published table: sync."
UNKNOWN = "?"


@record(kw_only=True)
class ListModels(Command):
    """List models that are known, or what a provider lists now. Prices are US dollars for a million tokens."""

    words: Annotated[
        list[str] | None, typer.Argument(metavar="WORD", help="Only models whose name holds every word.")
    ] = None
    live: Annotated[
        str | None,
        typer.Option(
            metavar="PROVIDER", help="Ask a provider, at no cost, what it lists.", autocompletion=completion.providers
        ),
    ] = None

    def carry_out(self, screen: "Screen") -> int:
        """Print one row a model."""
        from flowllm.cli.opening import here, sound_here

        if self.live is not None:
            self._show(_live_rows(here(), self.live, screen), screen)
            return 0
        environment, faults = sound_here()
        self._show(model_rows(environment), screen)
        screen.problems(faults)
        return UsageError.exit if faults else 0

    def _show(self, known: Iterator[dict[str, Any]], screen: "Screen") -> None:
        words = [word.lower() for word in self.words or ()]
        rows = [row for row in known if all(w in row["model"].lower() for w in words)]
        if self.as_json:
            screen.json({"models": rows})
            return
        if not rows:
            screen.note(f"no model's name holds {' and '.join(words)}; `flowllm models list` shows all")
            return
        names = ("model", "tasks", "context", "output", "input $", "output $", "supports")
        screen.table([names, *map(_cells, rows)], right=frozenset({2, 3, 4, 5}))


def model_rows(environment: "Environment") -> Iterator[dict[str, Any]]:
    """What is known of each model; None is unknown."""
    for name, provider in environment.catalog.providers.items():
        for model, card in provider.models.items():
            yield {"model": f"{name}/{model}", **_facts(card)}
        if not provider.models:
            yield {"model": f"{name}/...", **_facts(None)}


def _live_rows(environment: "Environment", name: str, screen: "Screen") -> Iterator[dict[str, Any]]:
    """The models that a provider lists now, with what is known of them."""
    from flowllm.api.probing import live_models
    from flowllm.api.sync import run_sync

    listed = run_sync(live_models(environment, name))
    for model in listed.names:
        yield {"model": f"{name}/{model}", **_facts(environment.catalog.model(f"{name}/{model}"))}
    if listed.more:
        screen.note(f"{name} lists more models than these {len(listed.names)}")


def _facts(card: "ModelCard | None") -> dict[str, Any]:
    if card is None:
        return dict.fromkeys(("tasks", "context", "output", "supports", "price", "checked"))
    return {
        "tasks": sorted(card.tasks),
        "context": card.context,
        "output": card.output,
        "supports": None if card.supports is None else sorted(card.supports),
        "price": None if card.prices is None else {name: f"{p:f}" for name, p in in_millions(card.prices).items()},
        "checked": card.checked or None,
    }


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    price = row["price"] or {}
    return (
        row["model"],
        _listed(row["tasks"]),
        _number(row["context"]),
        _number(row["output"]),
        price.get("input", UNKNOWN),
        price.get("output", UNKNOWN),
        _listed(row["supports"]),
    )


def _listed(words: list[str] | None) -> str:
    return UNKNOWN if words is None else ", ".join(words)


def _number(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


COMMANDS = {"list": ListModels, "sync": SyncModels}
