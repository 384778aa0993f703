"""`flowllm run --dry-run`: the run walked through with made-up answers, and what it would ask for and cost.

Low is one answer of no length for each request that the rehearsal made; high is the longest answer that
each may give, as often as the regions around it may repeat it. What cannot be bounded is unknown, never 0.
"""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from flowllm.compiler.candidates import asked
from flowllm.compiler.estimate import Estimate, Price, asking, free, total_of, totalled
from flowllm.core.delta import Usage
from flowllm.core.errors import Failure
from flowllm.core.event import CallFinished, Event
from flowllm.sinks.ledger import node_of

if TYPE_CHECKING:
    from flowllm.api import Flow
    from flowllm.cli.render import Screen
    from flowllm.cli.run import Run
    from flowllm.core.plan import Plan


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
        screen.table(_table([*rows, total]), right=frozenset({2, 3, 4}))
    screen.note("no model was asked; tokens are estimated")
    return 0


def estimates(plan: "Plan", seen: list[CallFinished], price: Price) -> Iterator[Estimate]:
    """One row for each node that asks a model, in the order of the plan."""
    by_node: dict[str, list[CallFinished]] = {}
    for event in seen:
        by_node.setdefault(node_of(event.address), []).append(event)
    for node, step, times, groups in asking(plan):
        events = by_node.get(node, [])
        if events:
            yield _row(node, events, times.attempts, price)
        else:
            models = asked(step, groups)
            high = Decimal(0) if free(models, price) else None
            yield Estimate(node, models, 0, None, None, None, Decimal(0), high, reached=False)


def _row(node: str, events: list[CallFinished], times: int, price: Price) -> Estimate:
    usages = [event.usage or Usage() for event in events]
    lows = [price(event.model, replace(usage, output=0)).total for event, usage in zip(events, usages, strict=True)]
    highs = [event.cost.total for event in events]
    high = total_of(highs)
    return Estimate(
        node,
        tuple(dict.fromkeys(event.model for event in events)),
        len(events),
        len(events) * times,
        total_of([usage.input for usage in usages]),
        total_of([usage.output for usage in usages]),
        total_of(lows),
        None if high is None else high * times,
    )


def _table(rows: list[Estimate]) -> list[tuple[str, ...]]:
    head = ("node", "model", "calls", "tokens in", "tokens out up to", "cost")
    return [head, *map(_cells, rows)]


def _cells(row: Estimate) -> tuple[str, ...]:
    models = " or ".join(row.models)
    if not row.reached:
        return row.node, models, "0 or more", "", "", f"{money(Decimal(0))} to {money(row.high)}"
    calls = str(row.calls) if row.most_calls == row.calls else f"{row.calls} to {_count(row.most_calls)}"
    return row.node, models, calls, _count(row.input), _count(row.output), cost_range(row)


def cost_range(row: Estimate) -> str:
    """The cost from low to high, in words."""
    return money(row.low) if row.low == row.high else f"{money(row.low)} to {money(row.high)}"


def _count(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def money(amount: Decimal | None) -> str:
    """Dollars, exact."""
    return "unknown" if amount is None else f"${amount.normalize():f}" if amount else "$0"
