"""Paths into an answer, as files of providers write them: those of the language, from ``answer``."""

from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from flowllm.core.errors import NodeFailure
from flowllm.core.slot import Path
from flowllm.text.paths import follow, parse_path

ROOT = "answer"


def _path(text: Any) -> Path:
    """The path that ``text`` is; ValueError for anything else."""
    path = parse_path(text) if isinstance(text, str) else None
    if path is None or path.root != ROOT:
        message = f"a path into the answer begins with `{ROOT}`, as `{ROOT}[0].generated_text` does"
        raise ValueError(message)
    return path


AnswerPath = Annotated[Path, BeforeValidator(_path), WithJsonSchema({"type": "string"})]


def found_at(path: Path | None, answer: Any, missing: Any = None) -> Any:
    """What stands at the path in an answer of JSON, ``missing`` where it leads nowhere."""
    if path is None:
        return missing
    value = answer
    for step in path.steps:
        # Keys of objects are most of what streams are asked for, and most of their events lack some.
        if not isinstance(step, str):
            return _followed(path, answer, missing)
        if not isinstance(value, dict) or step not in value:
            return missing
        value = value[step]
    return value


def _followed(path: Path, answer: Any, missing: Any) -> Any:
    try:
        return follow(path, {ROOT: answer})
    except NodeFailure:
        return missing
