"""A plan made ready to run in this process: evaluables compiled, kinds made, policies parsed and ordered.

Everything that can be worked out once is worked out here, so that a step costs little when it runs.
What is bound holds nothing of one run, thread or event loop, so one serves them all; what a run brings
(backends, services, clock) is its `Engine`.
"""

import inspect
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from random import Random
from typing import Any

from flowllm.compiler.call_policies import fallbacks
from flowllm.compiler.candidates import asked, candidates
from flowllm.compiler.explain import certain
from flowllm.compiler.plan_json import digest
from flowllm.core.errors import NodeFailure, SetupError
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node
from flowllm.core.plan import Plan, Step
from flowllm.core.policy import Policy, Services
from flowllm.core.record import record
from flowllm.core.scope import Call, Clock, SystemClock
from flowllm.core.spec import Schema
from flowllm.policies.chain import ordered, parse_policy
from flowllm.runtime.inputs import misfit
from flowllm.text.slots import compile_evaluable

Names = Mapping[str, Any]
Evaluate = Callable[[Names], Any]


@record
class Engine:
    """What a plan runs on. ``kinds`` are those that it is bound to; ``backends`` answers for every model;
    ``check_model`` raises `SetupError` when a model cannot be asked (its key is missing), without asking it.
    """

    kinds: Kinds
    backends: Call
    services: Services = field(default_factory=Services)
    clock: Clock = field(default_factory=SystemClock)
    random: Random = field(default_factory=Random)
    check_model: Callable[[str], None] = lambda model: None


@record
class BoundRescue:
    """A compiled ``when_failed``."""

    ports: tuple[tuple[str, Evaluate], ...]
    needs: tuple[int, ...]


@record
class BoundStep:
    """A step ready to run. ``inline``: sync, without a timeout, so it needs no task of its own.

    ``roots`` are the names that a region's body reads from outside; ``models`` the named groups.
    ``policies`` are those of its call with the fixed model and those after it in its group, empty where no
    model is asked; ``policies_of`` where an expression chooses, by the models after the first.
    """

    step: Step
    control: str
    run: Callable[..., Any] | None
    inputs: tuple[tuple[str, Evaluate], ...]
    inline: bool
    takes_scope: bool
    empty_ports: Mapping[str, None]
    params: Any
    cases: Mapping[str, Evaluate]
    default: Evaluate | None
    rescue: BoundRescue | None
    body: "BoundFrame | None"
    captures: tuple[tuple[str, Evaluate], ...]
    roots: tuple[str, ...]
    timeout: float | None
    policies: tuple[Policy, ...]
    policies_of: Mapping[tuple[str, ...], tuple[Policy, ...]]
    models: Mapping[str, Any]


@record
class BoundFrame:
    """A frame ready to run. ``rank`` orders ready steps by id; ``by_rank`` is its inverse.

    ``asks`` are the models that its steps can ask, those inside regions included.
    """

    plan: Plan
    steps: tuple[BoundStep, ...]
    outputs: Mapping[str, Evaluate]
    rank: tuple[int, ...]
    by_rank: tuple[int, ...]
    index: Mapping[str, int]
    roots: frozenset[int]
    digest: str
    asks: tuple[str, ...]


def bind_frame(plan: Plan, kinds: Kinds, models: Mapping[str, Any] | None = None) -> BoundFrame:
    """Bind a plan and the bodies of its regions. ``models`` are the groups of the frames around it."""
    groups = {**(models or {}), **plan.models}
    by_rank = tuple(sorted(range(len(plan.steps)), key=lambda i: plan.steps[i].id))
    rank = [0] * len(by_rank)
    for position, index in enumerate(by_rank):
        rank[index] = position
    steps = tuple(_bind_step(step, kinds, groups) for step in plan.steps)
    return BoundFrame(
        plan=plan,
        steps=steps,
        outputs={name: compile_evaluable(slot) for name, slot in plan.outputs.items()},
        rank=tuple(rank),
        by_rank=by_rank,
        index={step.id: i for i, step in enumerate(plan.steps)},
        roots=frozenset(plan.roots),
        digest=plan.digest or digest(plan),
        asks=tuple(sorted({model for bound in steps for model in _asks(bound, groups)})),
    )


def _asks(bound: BoundStep, groups: Mapping[str, Any]) -> Iterator[str]:
    """Every model that a step can ask, or the steps inside it."""
    yield from asked(bound.step, groups)
    if bound.body is not None:
        yield from bound.body.asks


def _bind_step(step: Step, kinds: Kinds, groups: Mapping[str, Any]) -> BoundStep:
    kind = kinds.find(step.kind)
    if kind is None:
        message = f"the kind `{step.kind}` is not installed"
        raise SetupError("missing_extra", message, origin=step.origin)
    node = kind.model_validate(dict(step.params), context=kinds.schema)
    run = getattr(node, "run", None)
    timeout = _timeout(step)
    chosen = {candidates(name, groups)[1:] for name in step.models} if kind.calls else ()
    return BoundStep(
        step=step,
        control=kind.control,
        run=run,
        inputs=_inputs(step, kind, run),
        inline=run is not None and not inspect.iscoroutinefunction(run) and timeout is None,
        takes_scope=run is not None and "scope" in inspect.signature(run).parameters,
        empty_ports=dict.fromkeys(node.output_ports({}, {})) if step.rescue else {},
        params=node,
        cases={name: compile_evaluable(slot) for name, slot in step.cases.items()},
        default=compile_evaluable(step.default) if step.default is not None else None,
        rescue=_bind_rescue(step),
        body=bind_frame(step.body, kinds, groups) if step.body else None,
        captures=tuple((str(path), compile_evaluable(path)) for path in step.captures),
        roots=tuple(sorted({path.root for path in step.captures})),
        timeout=timeout,
        models=groups,
        policies=_policies(step, candidates(step.model, groups)[1:]) if kind.calls else (),
        policies_of={spare: _policies(step, spare) for spare in chosen},
    )


def _inputs(step: Step, kind: type[Node], run: Callable[..., Any] | None) -> tuple[tuple[str, Evaluate], ...]:
    """What is evaluated for a step. Open inputs are names of its templates; `run` gets those that it takes."""
    ports = kind.input_ports() if step.unsure else {}
    found = {name: compile_evaluable(value) for name, value in step.inputs.items()}
    for name in step.unsure.keys() & ports.keys():
        found[name] = _held_to(ports[name].schema, found[name], step, name)
    if not kind.open_inputs or run is None:
        return tuple(found.items())
    given = {name: value for name, value in found.items() if name not in kind.model_fields}
    parameters = inspect.signature(run).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        taken = {parameter.name for parameter in parameters}
        found = {name: value for name, value in found.items() if name in taken or name not in given}
    return tuple((name, value if name in given else _beside(value, given)) for name, value in found.items())


def _held_to(schema: Schema, evaluate: Evaluate, step: Step, port: str) -> Evaluate:
    """The same, failing where the value is not of the port's type."""

    def held(names: Names) -> Any:
        value = evaluate(names)
        why = misfit(schema, value)
        if why:
            failure = NodeFailure("type_mismatch", f"`{step.id}` cannot take this as `{port}`: {port}{why[1:]}")
            failure.origin = step.unsure[port]
            raise failure
        return value

    return held


def _beside(evaluate: Evaluate, given: Mapping[str, Evaluate]) -> Evaluate:
    """The same, with what is given to the step as names beside those of its frame."""
    if not given:
        return evaluate
    return lambda names: evaluate(ChainMap({name: value(names) for name, value in given.items()}, names))  # type: ignore[arg-type]


def _timeout(step: Step) -> float | None:
    if step.policies.get("timeout") is None:
        return None
    from flowllm.policies.timeout import Timeout

    policy = parse_policy("timeout", step.policies["timeout"])
    return policy.seconds if isinstance(policy, Timeout) else None


def _bind_rescue(step: Step) -> BoundRescue | None:
    if step.rescue is None:
        return None
    ports = tuple((name, compile_evaluable(slot)) for name, slot in step.rescue.ports.items())
    return BoundRescue(ports, step.rescue.needs)


def _policies(step: Step, spare: tuple[str, ...]) -> tuple[Policy, ...]:
    policies = dict(step.policies)
    if spare:
        policies["fallback"] = [*dict.fromkeys((*spare, *fallbacks(step.policies)))]
    return ordered(policies)


def unconditional(frame: BoundFrame) -> Iterator[BoundStep]:
    """The steps that run in any case, those inside regions included."""
    for index in certain(frame.plan):
        bound = frame.steps[index]
        yield bound
        if bound.body is not None:
            yield from unconditional(bound.body)
