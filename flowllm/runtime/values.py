"""How one step gets its ports: its inputs are evaluated, its kind or region does the work, in its time."""

import inspect
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

from flowllm.compiler.candidates import candidates, chosen_by
from flowllm.core.cases import case_text
from flowllm.core.errors import NodeFailure, SetupError
from flowllm.core.event import CallFailed, CallFinished, Event
from flowllm.runtime.bind import BoundStep, Names
from flowllm.runtime.context import Emit, Place
from flowllm.runtime.regions import REGIONS
from flowllm.runtime.work import aside, begin, blank_prompt, blocks, left, ports_of

if TYPE_CHECKING:
    from flowllm.runtime.frame import Frame


async def run_step(frame: "Frame", index: int) -> Mapping[str, Any]:
    """The ports of a step that may wait, within the step's own time."""
    bound = frame.bound.steps[index]
    if bound.timeout is None:
        return await _work(frame, index, frame.place)
    clock, outer = frame.run.clock, frame.place.deadline
    mine = clock.now() + bound.timeout
    deadline = mine if outer is None else min(mine, outer)
    timer = clock.timeout(mine)
    try:
        async with timer:
            return await _work(frame, index, replace(frame.place, deadline=deadline))
    except TimeoutError:
        if not timer.expired():
            raise
        message = f"no result after {bound.timeout:g} s"
        raise NodeFailure("timeout", message) from None


async def _work(frame: "Frame", index: int, place: Place) -> Mapping[str, Any]:
    bound = frame.bound.steps[index]
    arguments = {name: evaluate(frame.names) for name, evaluate in bound.inputs}
    if bound.control:
        return await REGIONS[bound.control](frame, index, place, arguments)
    if bound.policies:
        return await _ask(frame, bound, place, arguments)
    if bound.takes_scope:
        arguments["scope"] = place.scope(frame, bound)
    return await _ports(bound, arguments)


async def _ports(bound: BoundStep, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
    given = await aside(partial(begin, bound, arguments)) if blocks(bound) else begin(bound, arguments)
    if inspect.isawaitable(given):
        try:
            given = await given
        except SystemExit as error:
            raise left(bound, error) from error
    return ports_of(bound, given)


async def _ask(frame: "Frame", bound: BoundStep, place: Place, arguments: dict[str, Any]) -> Mapping[str, Any]:
    run = frame.run
    watch = CostWatch(run.emit)
    first, *spare = models_of(bound, arguments)
    call = run.call(bound.policies_of.get(tuple(spare), bound.policies))
    arguments |= {"model": first, "scope": place.scope(frame, bound, watch.emit, call)}
    try:
        ports = await _ports(bound, arguments)
    except NodeFailure as error:
        raise blank_prompt(bound, frame.names, arguments, error) from error.__cause__
    return {**ports, "cost": watch.total}


def models_of(bound: BoundStep, arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """The models that a step asks, in order; at least one."""
    names = candidates(arguments.get("model") or bound.step.model, bound.models)
    if names:
        return names
    message = f"`{bound.step.id}` needs a model and none is chosen"
    key = "embedder" if bound.step.kind in ("embed", "rerank") else "model"
    raise SetupError("no_model", message, hint=chosen_by(key), origin=bound.step.origin)


_PAID = (CallFinished, CallFailed)


class CostWatch:
    """Passes a step's events on and adds up what its answers cost, broken ones too; None once a price is unknown."""

    __slots__ = ("_emit", "total")

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.total: Decimal | None = Decimal(0)

    def emit(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, _PAID) and event.cost is not None:
            cost = event.cost.total
            self.total = None if cost is None or self.total is None else self.total + cost
        self._emit(event)


def case_of(bound: BoundStep, names: Names) -> str:
    """The case that a route's switch chooses; "" is the default."""
    value = case_text(dict(bound.inputs)["switch"](names))
    if value in bound.cases:
        return value
    if bound.default is None:
        message = f"no case `{value}` and no default"
        raise NodeFailure("no_case", message)
    return ""
