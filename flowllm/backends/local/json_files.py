"""JSON files of a model: of bounded size, and an object where one is needed; a mark of UTF-8 before it is no part."""

import os
import stat
from pathlib import Path
from typing import Any

import orjson

from flowllm.backends.local.fields import misfit
from flowllm.core.errors import SetupError

LIMIT = 64 * 2**20
"""Bytes of a file at most; the tokenizers of large vocabularies have some 30 MB."""


def read_text(path: Path) -> str | None:
    """The text of a file, None where there is none."""
    try:
        with open(path, encoding="utf-8-sig", opener=_at_once) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise bad(path, "is no plain file")
            if facts.st_size > LIMIT:
                raise bad(path, f"is larger than {LIMIT // 2**20} MiB")
            return file.read(LIMIT)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise bad(path, f"cannot be read: {error}") from None


def _at_once(path: str, flags: int) -> int:
    """Open a file; a pipe is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(path: Path) -> Any:
    """The value in a file, None where there is none; `SetupError` for what is no JSON."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise bad(path, f"is no JSON: {error}") from None


def read_object(path: Path) -> dict[str, Any]:
    """The object in a file, empty where there is none; what is read of it is of its type (`fields`)."""
    value = read_json(path)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise bad(path, "holds no JSON object")
    if why := misfit(path.name, value):
        raise bad(path, f"is wrong: {why}")
    return value


def bad(path: Path, why: str) -> SetupError:
    """A file that is not what it should be."""
    return SetupError("bad_model_file", f"{path} {why}")
