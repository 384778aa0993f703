"""Providers and models of this machine that a pipeline names and that are not here: where they are sought."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowllm.api.housed import PROVIDER
from flowllm.catalog.registry import NAME
from flowllm.config import project_of
from flowllm.core.errors import FlowError, PipelineInvalid, Problem

if TYPE_CHECKING:
    from flowllm.api.environment import Environment
    from flowllm.core.origin import Origin
    from flowllm.core.plan import Plan


def absent_models(environment: "Environment", plan: "Plan") -> Iterator[Problem]:
    """A note for each node that may ask a model of this machine which is not there or cannot be used.

    That nothing can run here is told once, and mistakes in the device's file are the errors that they are.
    """
    local = list(_local_models(plan))
    if not local:
        return
    from flowllm.api.local import require_device, shelf_of

    here = list(_faults(lambda: require_device(environment)))
    for number, (node, origin, name) in enumerate(local):
        own = _faults(lambda name=name: shelf_of(environment).describe(name))  # type: ignore[misc]
        for problem in ([] if number else here) + [one for one in own if one not in here]:
            yield problem if problem.where else replace(problem, where=node, origin=origin)


def _local_models(plan: "Plan") -> Iterator[tuple[str, "Origin", str]]:
    """Nodes, their places and the names of models of this machine that they may ask."""
    from flowllm.compiler.candidates import asked
    from flowllm.compiler.estimate import asking

    for node, step, _, groups in asking(plan):
        for provider, _, name in (model.partition("/") for model in asked(step, groups)):
            if provider == PROVIDER:
                yield node, step.asked_at, name


def _faults(look: Callable[[], object]) -> Iterator[Problem]:
    """What a look has to say against local models: mistakes that were written are errors, all else is a note."""
    try:
        look()
    except PipelineInvalid as error:
        yield from error.problems
    except FlowError as error:
        yield Problem(error.code, error.message, hint=error.hint, severity="note")


def with_places(error: FlowError, project: Path) -> FlowError:
    """The error with hints that say which folder was searched for the providers that are not there."""
    if not isinstance(error, PipelineInvalid) or all(one.code != "unknown_provider" for one in error.problems):
        return error
    return PipelineInvalid(_placed(problem, project) for problem in error.problems)


def _placed(problem: Problem, project: Path) -> Problem:
    if problem.code != "unknown_provider" or not NAME.fullmatch(problem.named):
        return problem
    file = f"providers/{problem.named}.yaml"
    here = project_of(Path.cwd() / "pipeline.yaml")
    if here.resolve() != project.resolve() and (here / file).is_file():
        hint = f"{here / file} is of another project than the pipeline; its own would be {project / file}"
        return replace(problem, hint=hint)
    if problem.hint.startswith("did you mean"):
        return problem
    where = file if project.resolve() == Path.cwd().resolve() else project / file
    return replace(problem, hint=f"its file would be {where}; `flowllm providers list` names those that are there")
