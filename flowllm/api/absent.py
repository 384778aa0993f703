"""Providers that a pipeline names and its project does not have: where their files would be, and where they are."""

from dataclasses import replace
from pathlib import Path

from flowllm.catalog.registry import NAME
from flowllm.config import project_of
from flowllm.core.errors import FlowError, PipelineInvalid, Problem


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
