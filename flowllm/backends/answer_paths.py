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


def found_at(path: Path | None, answer: Any) -> Any:
    """What stands at the path, None where it leads nowhere."""
    if path is None:
        return None
    try:
        return follow(path, {ROOT: answer})
    except NodeFailure:
        return None
