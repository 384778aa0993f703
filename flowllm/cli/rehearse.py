"""`flowllm run --dry-run`: the run walked through with made-up answers, and what it would ask for and cost.

Low is one answer of no length for each request that the rehearsal made; high is the longest answer that
each may give, as often as the regions around it may repeat it. What cannot be bounded is unknown, never 0.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flowllm.core.delta import Usage
from flowllm.core.errors import Failure
from flowllm.core.event import CallFinished, Cost, Event
from flowllm.sinks.ledger import node_of

if TYPE_CHECKING:
    from flowllm.api import Flow
    from flowllm.cli.render import Screen
    from flowllm.cli.run import Run
    from flowllm.core.plan import Plan, Step

Price = Callable[[str, Usage | None], Cost]
ASKING = ("call", "embed", "rerank")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one node would ask for. Dollars and tokens; None is unknown. ``reached``: the rehearsal came here."""

    node: str
    models: tuple[str, ...] = ()
    calls: int = 0
    most_calls: int | None = 0
    input: int | None = 0
    output: int | None = 0
    low: Decimal | None = Decimal(0)
    high: Decimal | None = Decimal(0)
    reached: bool = True

    def to_data(self) -> dict[str, Any]:
        """As plain data, money as text."""
        return {
            "node": self.node,
            "models": list(self.models),
            "calls": {"low": self.calls, "high": self.most_calls},
            "tokens": {"input": self.input, "output": self.output},
            "cost": {"low": _text(self.low), "high": _text(self.high)},
            "reached": self.reached,
        }


def rehearse(command: "Run", flow: "Flow", inputs: dict[str, Any], screen: "Screen") -> int:
    """Walk through the run and print the table."""
    from flowllm.cli.interrupts import run_async
    from flowllm.pricing.cost import pricing_of

    seen: list[CallFinished] = []

    def read(event: Event) -> None:
        if isinstance(event, CallFinished):
            seen.append(event)

    try:
        run_async(flow.arun(inputs, command.options((read,))))
    except Failure as failure:
        # Answers that are made up may not be good enough for what follows.
        screen.note(f"the rehearsal ended at {failure.address or 'its start'}: {failure.message}")
    rows = list(estimates(flow.plan, seen, pricing_of(flow.environment.catalog)))
    total = totalled(rows)
    if command.as_json:
        screen.json({"rehearsal": True, "nodes": [row.to_data() for row in rows], "total": total.to_data()})
    else:
        screen.text(_table([*rows, total]))
    screen.note("no model was asked; tokens are estimated")
    return 0


def estimates(plan: "Plan", seen: list[CallFinished], price: Price) -> Iterator[Estimate]:
    """One row for each node that asks a model, in the order of the plan."""
    by_node: dict[str, list[CallFinished]] = {}
    for event in seen:
        by_node.setdefault(node_of(event.address), []).append(event)
    for node, step, times in _asking(plan, "", 1):
        events = by_node.get(node, [])
        if events:
            yield _row(node, events, times, price)
        else:
            models = step.models or ((step.model,) if step.model else ())
            yield Estimate(node, models, 0, None, None, None, Decimal(0), _free(models, price), reached=False)


def _asking(plan: "Plan", prefix: str, times: int) -> "Iterator[tuple[str, Step, int]]":
    """Steps that ask a model with their node names, and how often the regions around may repeat them."""
    for step in plan.steps:
        if step.body is not None:
            again = int(step.params.get("attempts") or 3) if step.kind == "retry" else 1
            yield from _asking(step.body, f"{prefix}{step.id}/", times * again)
        elif step.kind in ASKING or step.model:
            yield f"{prefix}{step.id}", step, times


def _row(node: str, events: list[CallFinished], times: int, price: Price) -> Estimate:
    usages = [event.usage or Usage() for event in events]
    lows = [price(event.model, replace(usage, output=0)).total for event, usage in zip(events, usages, strict=True)]
    highs = [event.cost.total for event in events]
    high = _sum(highs)
    return Estimate(
        node,
        tuple(dict.fromkeys(event.model for event in events)),
        len(events),
        len(events) * times,
        _sum([usage.input for usage in usages]),
        _sum([usage.output for usage in usages]),
        _sum(lows),
        None if high is None else high * times,
    )


def _free(models: tuple[str, ...], price: Price) -> Decimal | None:
    """Nothing where every model costs nothing, else unknown."""
    totals = {price(model, Usage(input=1_000_000, output=1_000_000)).total for model in models}
    return Decimal(0) if totals == {Decimal(0)} else None


def _sum(values: list[Any]) -> Any:
    return None if None in values else sum(values)


def totalled(rows: list[Estimate]) -> Estimate:
    """The sum of all rows; unknown where one of them is."""
    known = [row for row in rows if row.reached]
    return Estimate(
        "total",
        (),
        sum(row.calls for row in rows),
        _sum([row.most_calls for row in rows]),
        _sum([row.input for row in known]),
        _sum([row.output for row in known]),
        _sum([row.low for row in rows]),
        _sum([row.high for row in rows]),
    )


def _table(rows: list[Estimate]) -> str:
    from flowllm.cli.tables import table

    head = ("node", "model", "calls", "tokens in", "tokens out up to", "cost")
    return table([head, *map(_cells, rows)], right=frozenset({2, 3, 4}))


def _cells(row: Estimate) -> tuple[str, ...]:
    models = " or ".join(row.models)
    if not row.reached:
        return row.node, models, "0 or more", "", "", f"{_money(Decimal(0))} to {_money(row.high)}"
    calls = str(row.calls) if row.most_calls == row.calls else f"{row.calls} to {_count(row.most_calls)}"
    cost = _money(row.low) if row.low == row.high else f"{_money(row.low)} to {_money(row.high)}"
    return row.node, models, calls, _count(row.input), _count(row.output), cost


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _money(amount: Decimal | None) -> str:
    return "unknown" if amount is None else f"${amount.normalize():f}" if amount else "$0"


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:f}"
