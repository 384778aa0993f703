"""How commands show models: names to complete, rows of tables, words for what is known."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowllm.cli import completion
from flowllm.core.prices import UNITS

if TYPE_CHECKING:
    from flowllm.api.model_facts import Model

UNKNOWN = "?"
HEAD = ("model", "tasks", "max input", "max output", "input $", "output $", "supports", "ends")
Name = Annotated[
    str, typer.Argument(metavar="MODEL", help="A model as provider/name.", autocompletion=completion.models)
]
Names = Annotated[
    list[str], typer.Argument(metavar="MODEL", help="Models as provider/name.", autocompletion=completion.models)
]


def cells(model: "Model") -> tuple[str, ...]:
    """A row of a list."""
    card = model.card
    known = None if card is None else sorted(name for name in _MAIN if model.can(name))
    said = known or (None if card is None or card.supports is None else [])
    return (
        model.name,
        word(sorted(card.tasks) if card else None),
        number(card.longest_prompt if card else None),
        number(card.output if card else None),
        *(dollars(model, item) for item in ("input", "output")),
        UNKNOWN if said is None else ", ".join(said),
        card.deprecated if card else "",
    )


_MAIN = ("tools", "json_schema", "images", "reasoning", "audio_input", "pdf")
"""Capabilities that rows of lists have room for."""


def dollars(model: "Model", item: str) -> str:
    """Dollars for a million tokens, with what is paid beside them, or for that unit where tokens cost nothing."""
    amount, side = model.per_million(item), item == "output"
    beside = [
        f"{rate.amount:f}/{UNITS[rate.item]}" for rate in model.beside() if rate.item.startswith("output") == side
    ]
    return " + ".join([*([] if beside and not amount else [UNKNOWN if amount is None else f"{amount:f}"]), *beside])


def number(value: int | None) -> str:
    """A number of tokens."""
    return UNKNOWN if value is None else str(value)


def word(value: Any) -> str:
    """A fact as text; what is not known is said to be unknown."""
    if value is None or value in ([], ""):
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
