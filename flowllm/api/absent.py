"""Providers and models of this machine that a pipeline names and that are not here: where they are sought."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flowllm.api.housed import PROVIDER
from flowllm.catalog.registry import NAME
from flowllm.config import project_of
from flowllm.core.errors import FlowError, PipelineInvalid, Problem

if TYPE_CHECKING:
    from flowllm.api.environment import Environment
    from flowllm.core.plan import Plan


def absent_models(environment: "Environment", plan: "Plan") -> Iterator[Problem]:
    """A note for each node that may ask a model of this machine which is not there or cannot be used."""
    from flowllm.compiler.candidates import asked
    from flowllm.compiler.estimate import asking

    for node, step, _, groups in asking(plan):
        for provider, _, name in (model.partition("/") for model in asked(step, groups)):
            if provider == PROVIDER and (error := _unusable(environment, name)) is not None:
                yield Problem(error.code, error.message, node, step.origin, error.hint, "note")


def _unusable(environment: "Environment", name: str) -> FlowError | None:
    """Why a model of this machine cannot be asked, as far as its files tell it."""
    from flowllm.api.local import shelf_of

    try:
        shelf_of(environment).describe(name)
    except FlowError as error:
        return error
    return None


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
