"""From a `PipelineSpec` to a `Plan`: all stages in their order, all findings in one go.

Regions, names, order, types, policies and models, advice, lowering. A stage that rests on one that
failed is left out, so that no finding is only the consequence of another.
"""

from collections.abc import Collection, Mapping
from datetime import date

from flowllm.compiler.advice import ReadPaths, advise, needed_units
from flowllm.compiler.binding import Binding
from flowllm.compiler.call_policies import Policies
from flowllm.compiler.checks import TypeCheck
from flowllm.compiler.findings import Findings
from flowllm.compiler.frames import Frame, Unit, build, every_unit, inner_frames
from flowllm.compiler.graph import put_in_order
from flowllm.compiler.interface import prepare
from flowllm.compiler.lower import Lowering
from flowllm.compiler.models import Models, entries
from flowllm.compiler.ownership import find_parents
from flowllm.compiler.pipelines import check_inputs, check_outputs, check_written, missing_inputs
from flowllm.compiler.scope import Scopes
from flowllm.core.card import Catalog
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.kinds import Kinds
from flowllm.core.plan import Plan
from flowllm.core.record import record
from flowllm.core.spec import PipelineSpec, Schema


@record
class Compiled:
    """A plan that can run. ``warnings`` deserve a second look, ``notes`` say what only a run can tell."""

    plan: Plan
    warnings: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()


def compile_spec(
    spec: PipelineSpec,
    *,
    kinds: Kinds,
    catalog: Catalog,
    given: Collection[str] | None = None,
    strict: bool = False,
    today: date | None = None,
) -> Compiled:
    """Check and lower a pipeline and all that it uses.

    ``given`` are the names of inputs that a run would get; None does not ask. ``strict`` makes
    warnings errors. ``today`` is the day by which models count as deprecated; None does not ask.
    Raises `PipelineInvalid` with every problem. Nothing is read or asked: no files, network, keys
    or clock.
    """
    findings = Findings()
    result = _Family(kinds, catalog, {}, today).compile(spec, findings, None)
    if given is not None:
        missing_inputs(spec, given, findings)
    problems = findings.of("error") + (findings.of("warning") if strict else ())
    if problems:
        raise PipelineInvalid(problems)
    assert result.plan is not None
    return Compiled(result.plan, findings.of("warning"), findings.of("note"))


@record
class _Result:
    """A pipeline's plan, if it has one, and what its own compiling found."""

    plan: Plan | None
    found: tuple[Problem, ...] = ()


class _Family:
    """A pipeline and its sub-pipelines; each is compiled once for each model that it would inherit."""

    def __init__(
        self, kinds: Kinds, catalog: Catalog, done: dict[tuple[int, str | None], _Result], today: date | None
    ) -> None:
        self._kinds = kinds
        self._catalog = catalog
        self._done = done
        self._today = today

    def compile(self, spec: PipelineSpec, findings: Findings, inherited: str | None) -> _Result:
        """The plan of one pipeline; None where it has errors."""
        for problem in spec.problems:
            findings.add(problem)
        check_written(spec, findings)
        parents = find_parents(spec.nodes, self._kinds, findings)
        root = build(spec.nodes, parents or {}, self._kinds)
        for unit in every_unit(root):
            self._prepare(unit, spec, findings, inherited)
        check_outputs(spec, {name: unit.ports or () for name, unit in root.units.items()}, findings)
        read = ReadPaths()
        Scopes(spec, root, findings, read, sound=parents is not None).resolve()
        for frame in inner_frames(root) if parents is not None else ():
            put_in_order(frame, findings)
        types = TypeCheck(spec, findings)
        types.frame(root)
        output_types = types.outputs(root) if parents is not None else {}
        models = self._settle(spec, root, findings, inherited)
        if findings.failed:
            return _Result(None)
        advise(root, read, findings)
        return _Result(self._lower(spec, root, models, output_types))

    def _prepare(self, unit: Unit, spec: PipelineSpec, findings: Findings, inherited: str | None) -> None:
        prepare(unit, spec, findings, self._kinds)
        use = unit.node.params.get("use")
        if unit.control == "pipeline" and isinstance(use, str) and use in spec.pipelines:
            inner = spec.pipelines[use]
            result = self._inner(inner, spec.model or inherited)
            for problem in result.found:
                findings.add(problem.within(use) if problem.source.partition(": ")[0] != use else problem)
            unit.plan = result.plan
            unit.ports = result.plan.output_schemas if result.plan else {name: {} for name in inner.outputs}
            check_inputs(unit, inner, findings)

    def _inner(self, spec: PipelineSpec, inherited: str | None) -> _Result:
        key = (id(spec), inherited)
        if key not in self._done:
            findings = Findings()
            result = self.compile(spec, findings, inherited)
            self._done[key] = _Result(result.plan, tuple(findings.all()))
        return self._done[key]

    def _settle(self, spec: PipelineSpec, root: Frame, findings: Findings, inherited: str | None) -> Models:
        """Policies and models of everything that is not folded away."""
        models = Models(spec, self._catalog, findings, inherited, today=self._today)
        policies = Policies(spec, findings)
        needed = needed_units(root)
        dropped = needed_units(root, folded=True) - needed
        binding = Binding(spec, models, findings, needed)
        for unit in every_unit(root):
            policies.settle(unit)
            if unit not in dropped:
                binding.settle(unit)
            if unit in needed:
                policies.check_available(unit)
        return models

    def _lower(self, spec: PipelineSpec, root: Frame, models: Models, types: Mapping[str, Schema]) -> Plan:
        lowering = Lowering(entries(models.used, self._catalog), models.groups)
        steps, index = lowering.frame(root)
        return lowering.sealed(
            Plan(
                name=spec.name,
                steps=steps,
                roots=tuple(sorted(index[name] for name in root.roots)),
                outputs=dict(spec.outputs),
                inputs={name: given.schema for name, given in spec.inputs.items()},
                output_schemas=types,
                models=models.groups,
                print=spec.print,
            )
        )
