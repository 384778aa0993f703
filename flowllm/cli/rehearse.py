"""`flowllm run --dry-run`: the run walked through with made-up answers, and what it would ask for and cost.

A request that follows from the inputs alone is counted as it was made: low is an answer of no length, high
the longest. Whatever rests on answers, which are made up here, is bounded as `check` bounds it
(`flowllm.compiler.estimate`). What cannot be bounded is unknown, never 0.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flowllm.compiler.estimate import ANSWER, ASKING, ASSUMED, Estimate, asking, foreseen, total_of, totalled
from flowllm.compiler.explain import certain
from flowllm.core.delta import Usage
from flowllm.core.errors import Failure
from flowllm.core.event import CallFinished, Event
from flowllm.pricing.bounds import most

if TYPE_CHECKING:
    from flowllm.api import Flow
    from flowllm.cli.render import Screen
    from flowllm.cli.run import Run
    from flowllm.core.card import Catalog
    from flowllm.core.plan import Plan
    from flowllm.pricing.cost import Pricing


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
    catalog = flow.environment.catalog
    rows = list(estimates(flow.plan, seen, catalog, pricing_of(catalog)))
    total = totalled(rows)
    if command.as_json:
        screen.json({"rehearsal": True, "nodes": [row.to_data() for row in rows], "total": total.to_data()})
    else:
        screen.table(_table([*rows, total]), right=frozenset({2, 3, 4, 6}))
    screen.note("no model was asked; tokens are estimated")
    if is_guessed(total):
        screen.note(ASSUMED)
    return 0


def estimates(plan: "Plan", seen: list[CallFinished], catalog: "Catalog", price: "Pricing") -> Iterator[Estimate]:
    """One row for each node that asks a model, in the order of the plan.

    What was asked is what a run asks where nothing made up led to it; everything else is as `check` foresees it.
    """
    from flowllm.sinks.ledger import node_of

    by_node: dict[str, list[CallFinished]] = {}
    for event in seen:
        by_node.setdefault(node_of(event.address), []).append(event)
    real = set(_real(plan))
    for row in foreseen(plan, catalog, price):
        events = by_node.get(row.node, [])
        yield _row(row.node, events, price) if events and row.node in real else replace(row, reached=bool(events))


def _real(plan: "Plan", prefix: str = "") -> Iterator[str]:
    """Nodes that run in any case, and whose requests follow from the inputs alone, not from answers."""
    told: set[int] = set()
    sure = certain(plan)
    for index, step in enumerate(plan.steps):
        needs = {*step.needs, *step.early, *(need for lazy in step.lazy.values() for need in lazy)}
        needs |= set(step.rescue.needs) if step.rescue else set()
        if not needs <= told:
            continue
        asks = step.kind in ASKING or bool(step.model or step.models)
        if step.body is not None:
            asks = bool(list(asking(step.body)))
            repeats = step.kind == "retry" and step.params.get("attempts") != 1
            if index in sure and not repeats:
                yield from _real(step.body, f"{prefix}{step.id}/")
        elif asks and index in sure:
            yield f"{prefix}{step.id}"
        if not asks:
            told.add(index)


def _row(node: str, events: list[CallFinished], price: "Pricing") -> Estimate:
    usages = [event.usage or Usage() for event in events]
    lows = [price(event.model, replace(usage, output=0)).total for event, usage in zip(events, usages, strict=True)]
    likely = [replace(usage, output=usage.output and min(usage.output, ANSWER)) for usage in usages]
    return Estimate(
        node,
        tuple(dict.fromkeys(event.model for event in events)),
        len(events),
        len(events),
        total_of([usage.input for usage in usages]),
        total_of([usage.output for usage in usages]),
        total_of(lows),
        total_of([most(price, event.model, usage) for event, usage in zip(events, usages, strict=True)]),
        expected=total_of([price(event.model, usage).total for event, usage in zip(events, likely, strict=True)]),
    )


def _table(rows: list[Estimate]) -> list[tuple[str, ...]]:
    head = ("node", "model", "calls", "tokens in", "tokens out up to", "cost", "expected")
    return [head, *map(_cells, rows)]


def _cells(row: Estimate) -> tuple[str, ...]:
    models = " or ".join(row.models)
    calls = str(row.calls) if row.most_calls == row.calls else f"{row.calls} to {_count(row.most_calls)}"
    return row.node, models, calls, _count(row.input), _count(row.output), cost_range(row), money(row.expected)


def cost_range(row: Estimate) -> str:
    """The cost from low to high, in words."""
    return money(row.low) if row.low == row.high else f"{money(row.low)} to {money(row.high)}"


def is_guessed(row: Estimate) -> bool:
    """Whether what is expected says more than the bounds."""
    return row.low != row.high and bool(row.expected)


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def money(amount: Decimal | None) -> str:
    """Dollars, exact."""
    return "unknown" if amount is None else f"${amount.normalize():f}" if amount else "$0"
