"""What a run gave and what it used."""

import json
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from flowllm.core.plan import Plan
from flowllm.core.record import record
from flowllm.runtime import Result
from flowllm.runtime.plain import plain
from flowllm.sinks.ledger import Ledger, Summary


@record
class FlowResult:
    """The outputs of a run, as JSON-like data, with its id, duration in seconds, and what it used.

    ``shown`` names the output that is the run's text, None when there is none.
    """

    run: str
    outputs: Mapping[str, Any]
    seconds: float
    summary: Summary
    shown: str | None = None

    @classmethod
    def of(cls, result: Result, plan: Plan, ledger: Ledger) -> "FlowResult":
        """From what the runtime and the ledger say."""
        return cls(result.run, plain(result.outputs), result.seconds, ledger.summary(), shown_output(plan))

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        said = self.summary.text() or "no calls"
        return f"<FlowResult {self.run}: {', '.join(self.outputs)}; {said}, {self.seconds:.1f} s>"

    def __getitem__(self, output: str) -> Any:
        """One output."""
        return self.outputs[output]

    @property
    def cost(self) -> Decimal | None:
        """US dollars, exact; None when the price of a call is not known."""
        return None if self.summary.total.unpriced else self.summary.total.cost

    @property
    def text(self) -> str:
        """What the command line shows: the shown output when it is a string, else JSON."""
        if self.shown is not None:
            value = self.outputs[self.shown]
            return value if isinstance(value, str) else _json(value)
        return _json(self.outputs)

    def to_data(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {"run": self.run, "outputs": self.outputs, **self.summary.to_data()}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """What a notebook shows."""
        return {"text/plain": self.text, "application/json": self.to_data()}


def shown_output(plan: Plan) -> str | None:
    """The output that is shown as text: ``print``, else the only one."""
    outputs = list(plan.outputs)
    return plan.print or (outputs[0] if len(outputs) == 1 else None)


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    except TypeError:  # an integer beyond 64 bits, or half of a surrogate pair
        return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=2)


def _finite(value: Any) -> Any:
    """The value with null for what JSON has no number for, as orjson writes it."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
