"""`flowllm models list --local` and `flowllm models show local/NAME`: the models of this machine."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowllm.cli.models_rows import word
from flowllm.cli.tables import size
from flowllm.core.errors import Problem

if TYPE_CHECKING:
    from flowllm.api import Environment
    from flowllm.api.local import LocalModel
    from flowllm.cli.render import Screen
    from flowllm.core.errors import FlowError

HEAD = ("model", "task", "precision", "window", "size", "layout")


def list_local(environment: "Environment", words: Sequence[str], screen: "Screen", *, as_json: bool) -> int:
    """One row a model; those that cannot be used say why."""
    from flowllm.api.local import local_models, missing_folders

    found = [one for one in local_models(environment) if all(said.lower() in one.name.lower() for said in words)]
    if as_json:
        screen.json({"models": [_data(one) for one in found]})
    elif not found:
        said = f"no local model's name holds {' and '.join(words)}" if words else "there are no models on this machine"
        screen.note(f"{said}; a model is a folder in ./models, in $FLOWLLM_MODELS or in {_own()}")
    else:
        screen.table([HEAD, *map(_cells, found)], right=frozenset({3, 4}))
        screen.problems([_problem(one.name, one.error) for one in found if one.error])
    for fault in missing_folders(environment):
        screen.note(fault)
    return 0


def show_local(environment: "Environment", name: str, screen: "Screen", *, as_json: bool) -> int:
    """What a model is, and what really runs it: it is loaded for that."""
    from flowllm.api.local import describe_local

    facts = {"model": name, **describe_local(environment, name)}
    if as_json:
        screen.json(facts)
    else:
        screen.table(list(_lines(facts)))
    return 0


def is_local(environment: "Environment", name: str) -> bool:
    """Whether a model runs from a folder of this machine."""
    from flowllm.api.housed import PROVIDER

    provider = name.partition("/")[0]
    return provider == PROVIDER and environment.catalog.providers[provider].local


def _own() -> str:
    from flowllm.backends.local.places import own_folder

    return str(own_folder())


def _problem(name: str, error: "FlowError") -> Problem:
    return Problem(error.code, error.message, f"local/{name}", error.origin, error.hint)


def _data(one: "LocalModel") -> dict[str, Any]:
    from flowllm.api.local import model_facts

    facts = {} if one.description is None else model_facts(one.description)
    told = one.error
    error = None if told is None else {"code": told.code, "message": told.message, "hint": told.hint}
    return {"model": f"local/{one.name}", "folder": str(one.folder), **facts, "error": error}


def _cells(one: "LocalModel") -> tuple[str, ...]:
    found = one.description
    if found is None:
        return f"local/{one.name}", one.error.code if one.error else "", "", "", "", ""
    return f"local/{one.name}", found.task, found.precision, word(found.window), size(found.size), found.layout


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    shown = {**facts, "size": size(facts["size"]), "runs on": facts["provider"]}
    for name, value in shown.items():
        if name != "provider" and value not in (None, [], ""):
            yield name, word(value)
