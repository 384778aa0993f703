"""`flowllm models price`: what a usage costs, line by line."""

import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.models_rows import Name
from flowllm.cli.options import Command
from flowllm.core.prices import EXACT
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.api.model_bill import Bill
    from flowllm.cli.render import Screen
    from flowllm.core.delta import Usage
    from flowllm.core.event import Line


@record(kw_only=True)
class PriceModel(Command):
    """Price a usage, line by line: `input` is the whole prompt, cached tokens and pictures included.

    An unknown price is said to be unknown; with --strict it is an error.
    """

    model: Name
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME=COUNT",
            help="input=300000 output=1000 cached_input=9000 cache_write.1h=500 reasoning=800 searches=2 "
            "input_seconds=60 service=batch region=eu at=2026-11-22T16:30",
        ),
    ] = None
    usage: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="JSON: a usage, or what the provider sent; a stream too. `-` is stdin."),
    ] = None

    def carry_out(self, screen: "Screen") -> int:
        """Print the lines, which sum to the total."""
        from flowllm.api.model_bill import bill
        from flowllm.cli.opening import here
        from flowllm.core.errors import UsageError
        from flowllm.core.shell_line import shell_line

        environment = here()
        if bool(self.words) == (self.usage is not None):
            hint = shell_line("flowllm", "models", "price", self.model, "input=300000", "output=1000")
            raise UsageError("bad_usage", "a usage is told in words or by --usage FILE", hint=hint)
        usage, at, rules = self._usage()
        found = bill(environment, self.model, usage, at)
        found = replace(found, rules=(*rules, *found.rules))
        if self.as_json:
            screen.json(found.to_data())
        else:
            _show(found, screen)
        return UsageError.exit if self.strict and found.cost.total is None else 0

    def _usage(self) -> "tuple[Usage, float | None, tuple[str, ...]]":
        """The usage, when it was, and what is to be said of it."""
        from flowllm.api.model_bill import usage_of_words
        from flowllm.api.model_sent import usage_of_bytes
        from flowllm.cli.opening import here

        if self.usage is None:
            return *usage_of_words(self.words or ()), ()
        sent = usage_of_bytes(here(), self.model, _read(self.usage))
        return sent.usage, None, sent.rules


def _read(path: Path) -> bytes:
    from flowllm.config import read_source_text

    return read_source_text(str(path), sys.stdin.buffer if sys.stdin else None).encode()


def _show(found: "Bill", screen: "Screen") -> None:
    head = ("item", "quantity", "unit", "price $", "amount $", "condition")
    total = ("total", "", "", "", _money(found.cost.total), "")
    screen.table([head, *map(_cells, found.cost.items), total], right=frozenset({1, 3, 4}))
    for rule in found.rules:
        screen.note(rule)
    if found.cost.reported is not None:
        screen.note(f"the provider itself says ${_money(found.cost.reported)}")
    data = found.to_data()
    said = (data["said_of"], data["version"], data["source"])
    screen.note("; ".join(dict.fromkeys(filter(None, said))))


def _cells(line: "Line") -> tuple[str, ...]:
    quantity = f"{line.quantity:,}"
    return line.item, quantity, line.unit, _money(line.price), _money(line.amount), line.condition


def _money(amount: Decimal | None) -> str:
    if amount is None:
        return "unknown"
    return f"{EXACT.normalize(amount):f}" if amount else "0"
