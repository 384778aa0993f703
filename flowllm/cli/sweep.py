"""`flowllm run -m`: one run for each combination of values, in one event loop, and a table of what came out.

The runs share one environment, with its cache, and one budget: ``--max-cost`` is for the whole sweep.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowllm.api import Budget, Environment, Flow, FlowResult, RunOptions
from flowllm.api.finding import find_pipeline
from flowllm.cli.formats import as_data
from flowllm.cli.interrupts import run_async
from flowllm.cli.opening import environment_of
from flowllm.cli.render import internal, problems_of
from flowllm.cli.streams import StdoutRefused
from flowllm.core.errors import FlowError, UsageError
from flowllm.core.record import record

if TYPE_CHECKING:
    from pathlib import Path

    from flowllm.cli.render import Screen
    from flowllm.cli.run import Run

AT_ONCE = 8
LIMIT = 10_000
SHOWN = 60


@record
class Combination:
    """One run of a sweep: the words that set it apart, and what came of it."""

    words: tuple[str, ...]
    result: FlowResult | None
    error: FlowError | None
    seconds: float

    def to_data(self) -> dict[str, Any]:
        """One item of ``runs``, which ``--json`` prints."""
        row: dict[str, Any] = {"overrides": list(self.words), "seconds": round(self.seconds, 3)}
        if self.result is not None:
            return row | self.result.to_data()
        assert self.error is not None
        return row | {"errors": [as_data(problem) for problem in problems_of(self.error)], "exit": self.error.exit}


def sweep(command: "Run", screen: "Screen") -> int:
    """Run every combination; a failing one stops no other. The status is the worst one's."""
    from flowllm.config import expand_sweep

    combinations = expand_sweep(tuple(command.overrides or ()))
    if len(combinations) > LIMIT:
        message = f"{len(combinations)} combinations are more than {LIMIT}"
        raise UsageError("bad_usage", message, hint="sweep over fewer values")
    if command.dry_run or command.events:
        raise UsageError("bad_usage", "-m takes neither --dry-run nor --events", hint="leave one of them out")
    varying = _varying(combinations)
    rows = run_async(_run_all(command, combinations, varying, screen))
    if command.as_json:
        screen.json({"runs": [row.to_data() for row in rows]})
    else:
        shown = _table(rows)
        screen.table(shown, right=frozenset({len(shown[0]) - 3, len(shown[0]) - 2}))
    for row in rows:
        if row.error is not None:
            screen.problems(problems_of(row.error))
            screen.trace(row.error)
    return max((row.error.exit for row in rows if row.error is not None), default=0)


async def _run_all(
    command: "Run", combinations: Sequence[list[str]], varying: Sequence[int], screen: "Screen"
) -> list[Combination]:
    places, shared = asyncio.Semaphore(AT_ONCE), Shared.of(command, screen)

    async def one(words: list[str]) -> Combination:
        async with places:
            return await shared.run(words, tuple(words[i] for i in varying))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(words)) for words in combinations]
    return [task.result() for task in tasks]


@record(frozen=False)
class Shared:
    """What all runs of a sweep have together: where they run, what they may cost, what was read for them."""

    file: "Path"
    environment: Environment
    options: RunOptions
    read: Callable[[Flow], dict[str, Any]]
    inputs: dict[str, Any] | None = None

    @classmethod
    def of(cls, command: "Run", screen: "Screen") -> "Shared":
        """As the command says."""
        file, options = find_pipeline(command.pipeline), command.options()
        options = replace(options, budget=Budget(options.max_cost, options.unknown_price))
        return cls(file, environment_of(file, command.mock), options, lambda flow: command.read_inputs(flow, screen))

    async def run(self, words: list[str], apart: tuple[str, ...]) -> Combination:
        """One run; what fails is told in its row."""
        began = time.monotonic()
        try:
            flow = Flow.load(self.file, words, environment=self.environment)
            result = await flow.arun(self._inputs(flow), self.options)
        except FlowError as error:
            return Combination(apart, None, error, time.monotonic() - began)
        except (BrokenPipeError, StdoutRefused):
            raise
        except Exception as error:  # noqa: BLE001  the rows of the others are worth having
            return Combination(apart, None, internal(error), time.monotonic() - began)
        return Combination(apart, result, None, time.monotonic() - began)

    def _inputs(self, flow: Flow) -> dict[str, Any]:
        """The inputs that were read, once, for stdin can be; what an override gives wins."""
        if self.inputs is None:
            self.inputs = self.read(flow)
        return {**self.inputs, **flow.given}


def _varying(combinations: Sequence[list[str]]) -> list[int]:
    """The places of the words that are not the same in all combinations."""
    columns = list(zip(*combinations, strict=True))
    return [i for i, column in enumerate(columns) if len(set(column)) > 1]


def _table(rows: Sequence[Combination]) -> list[list[str]]:
    outputs = list(dict.fromkeys(name for row in rows if row.result for name in row.result.outputs))
    names = [word.partition("=")[0] for word in rows[0].words] if rows else []
    head = [*names, *outputs, "cost", "seconds", "status"]
    body = [[*(word.partition("=")[2] for word in row.words), *_cells(row, outputs)] for row in rows]
    return [head, *body]


def _cells(row: Combination, outputs: Sequence[str]) -> list[str]:
    seconds = f"{row.seconds:.2f}"
    if row.result is None:
        assert row.error is not None
        return [*("" for _ in outputs), "", seconds, row.error.code]
    cost = row.result.cost
    values = [_short(row.result.outputs.get(name)) for name in outputs]
    return [*values, "unknown" if cost is None else f"${cost:f}", seconds, "ok"]


def _short(value: Any) -> str:
    import json

    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "\N{HORIZONTAL ELLIPSIS}"
