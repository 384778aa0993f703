"""What a run used and cost, counted from its events: for each node, each model, and in all.

A node's name is its address without items and attempts: ``docs[3]/sure#2/ask`` counts for
``docs/sure/ask``. A cost that is not known is counted, never taken for nothing.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import field, fields, replace
from decimal import Decimal
from operator import add, attrgetter
from typing import Any, ClassVar

from flowllm.core.delta import Usage
from flowllm.core.event import CacheHit, CacheMiss, CallFailed, CallFinished, CallRetried, Cost, Event, StepFinished
from flowllm.core.record import record

_CENT = Decimal("0.01")
_COUNTERS = r"\[\d+\]|#\d+"


@record
class Row:
    """Counts of calls, tokens, dollars, seconds. ``unpriced`` calls are not part of ``cost``; of
    ``uncounted`` ones among them no tokens are known either.

    ``calls`` are complete answers, ``failed`` requests that gave none; ``saved`` is what answers
    from the cache had cost; ``seconds`` is the time spent in steps, summed; ``simulated`` calls were
    asked for as streams and came whole. ``told`` are answers with which the provider said a cost,
    ``reported`` is the sum of these, and ``compared`` what the same answers are part of ``cost`` with.
    """

    calls: int = 0
    failed: int = 0
    retries: int = 0
    cache_hits: int = 0
    cache_misses: int = 0
    input: int = 0
    output: int = 0
    cached_input: int = 0
    reasoning: int = 0
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    uncounted: int = 0
    estimated: int = 0
    saved: Decimal = Decimal(0)
    steps: int = 0
    seconds: float = 0.0
    simulated: int = 0
    told: int = 0
    reported: Decimal = Decimal(0)
    compared: Decimal = Decimal(0)

    def plus(self, other: "Row") -> "Row":
        """The sum of two rows."""
        return Row(*map(add, _values(self), _values(other)))

    def to_data(self) -> dict[str, Any]:
        """As JSON-like data, without what is 0; money as text."""
        values = zip(_NAMES, _values(self), strict=True)
        return {name: f"{v:f}" if isinstance(v, Decimal) else v for name, v in values if v}


_NAMES = tuple(found.name for found in fields(Row))
_values = attrgetter(*_NAMES)


@record
class Summary:
    """A run so far."""

    total: Row = Row()
    nodes: Mapping[str, Row] = field(default_factory=dict)
    models: Mapping[str, Row] = field(default_factory=dict)
    prices: tuple[str, ...] = ()
    """The tables, or the days, that the prices of this run are from."""

    def differs(self) -> bool:
        """Whether providers say another cost than was counted for the same answers: by a cent, or by 1 %."""
        gap = abs(self.total.reported - self.total.compared)
        return gap > _CENT or gap * 100 > self.total.reported

    def cost(self) -> str | None:
        """Dollars in plain decimals; None when the price of a call is not known."""
        return None if self.total.unpriced else f"{self.total.cost:f}"

    def to_data(self) -> dict[str, Any]:
        """The keys ``usage``, ``cost``, ``nodes`` and ``cache`` of ``--json``."""
        total = self.total
        usage = {"calls": total.calls, "input": total.input, "output": total.output, "cached_input": total.cached_input}
        return {
            "usage": {**usage, "reasoning": total.reasoning, "retries": total.retries, "failed": total.failed},
            "cost": {"total": self.cost(), "known": f"{total.cost:f}", "unpriced_calls": total.unpriced}
            | {"reported": f"{total.reported:f}" if total.told else None, "prices": list(self.prices)},
            "nodes": {name: row.to_data() for name, row in self.nodes.items()},
            "cache": {"hits": total.cache_hits, "misses": total.cache_misses, "saved": f"{total.saved:f}"},
        }

    def text(self) -> str:
        """One line for people; empty when nothing was asked of any model."""
        total = self.total
        if not (total.calls or total.failed or total.cache_hits):
            return ""
        parts = [_count(total.calls, "call")]
        parts += [_count(total.failed, "failed request")] if total.failed else []
        parts += [_retries(total.retries)] if total.retries else []
        parts += [f"{total.input:,} + {total.output:,} tokens"] if total.input or total.output else []
        parts += (
            [f"{total.cache_hits} from the cache" + (f" (saved ${_money(total.saved)})" if total.saved else "")]
            if total.cache_hits
            else []
        )
        known = f"${_money(total.cost)}"
        costs = [known] if not total.unpriced else [f"at least {known}"] if total.cost else []
        return ", ".join([*parts, *costs, *self._unknown(), *self._other_costs()])

    def _unknown(self) -> list[str]:
        """Why calls are not part of the cost."""
        uncounted, unpriced = self.total.uncounted, self.total.unpriced - self.total.uncounted
        told = [f"the tokens of {_count(uncounted, 'call')} are not known"] if uncounted else []
        return told + ([f"the price of {_count(unpriced, 'call')} is not known"] if unpriced else [])

    def _other_costs(self) -> list[str]:
        """What the providers say, where that is something else."""
        if not self.differs():
            return []
        here = f" for what is ${self.total.compared:f} here" if self.total.compared else ""
        return [f"the provider's own figure is ${self.total.reported:f}{here}"]


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _retries(number: int) -> str:
    return f"{number} {'retry' if number == 1 else 'retries'}"


def _money(amount: Decimal) -> str:
    """Cents, and below one cent two digits that count."""
    if amount == 0 or amount >= Decimal("0.01"):
        return f"{amount:.2f}"
    return f"{amount:.{1 - amount.adjusted()}f}"


_READ: Mapping[type[Event], Callable[[Any], tuple[Row, str]]] = {
    CallFinished: lambda e: (replace(_used(e.usage, e.cost), calls=1, simulated=int(e.simulated)), e.model),
    CallFailed: lambda e: (replace(_used(e.usage, e.cost) if e.usage else Row(), failed=1), e.model),
    CallRetried: lambda e: (Row(retries=1), e.model),
    CacheHit: lambda e: (Row(cache_hits=1, saved=e.saved or Decimal(0)), ""),
    CacheMiss: lambda _: (Row(cache_misses=1), ""),
    StepFinished: lambda e: (Row(steps=1, seconds=e.seconds), ""),
}
"""What an event counts for, and the model that it counts for too."""


class Ledger:
    """A reader of events that counts."""

    reads: ClassVar[frozenset[type[Event]]] = frozenset(_READ)

    def __init__(self) -> None:
        self._nodes: dict[str, Row] = {}
        self._models: dict[str, Row] = {}
        self._prices: set[str] = set()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        read = _READ.get(type(event))
        if read is None:
            return
        row, model = read(event)
        node = node_of(event.address)
        self._nodes[node] = self._nodes.get(node, Row()).plus(row)
        if model:
            self._prices.add(event.cost.version if isinstance(event, CallFinished | CallFailed) and event.cost else "")
            self._models[model] = self._models.get(model, Row()).plus(row)

    def summary(self) -> Summary:
        """The counts so far."""
        total = functools.reduce(Row.plus, self._nodes.values(), Row())
        return Summary(total, dict(self._nodes), dict(self._models), tuple(sorted(self._prices - {""})))


def node_of(address: str) -> str:
    """The node of an address: without items and attempts."""
    return re.sub(_COUNTERS, "", address)


def _used(usage: Usage | None, cost: Cost | None) -> Row:
    known = usage or Usage()
    total = cost.total if cost else None
    reported = cost.reported if cost else None
    return Row(
        input=known.input or 0,
        output=known.output or 0,
        cached_input=known.cached_input or 0,
        reasoning=known.reasoning or 0,
        cost=total or Decimal(0),
        unpriced=int(total is None),
        uncounted=int(total is None and known.input is None and known.output is None and not known.units),
        estimated=int(known.estimated),
        told=int(reported is not None),
        reported=reported or Decimal(0),
        compared=(total or Decimal(0)) if reported is not None else Decimal(0),
    )
