"""Paths: ``chunks.parts``, ``inputs.docs[0].id``, ``inputs.docs[].text``.

A path is a name and steps: ``.key`` of a mapping, ``[0]`` an item of a list, ``[]`` every item of a
list (what follows is read of each, so ``a[].b[].c`` is a list of lists). A missing key, a place
outside a list and a step into null fail with the code ``template_failed``; nothing is guessed.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.slot import EVERY, Path

Step = str | int | None
Getter = Callable[[Mapping[str, Any]], Any]

NAME = r"[^\W\d]\w*"
_PATH = re.compile(rf"({NAME})((?:\.{NAME}|\[[0-9]{{0,9}}\])*)")
_STEP = re.compile(rf"\.({NAME})|\[([0-9]*)\]")
_SHOWN = 10
_MISSES = (KeyError, IndexError, TypeError)


def parse_path(text: str, origin: Origin = UNKNOWN) -> Path | None:
    """The path that ``text`` is, wholly and without blanks around it, else None."""
    match = _PATH.fullmatch(text)
    if match is None:
        return None
    steps = tuple(_step(key, index) for key, index in _STEP.findall(match[2]))
    return Path(match[1], steps, origin)


def _step(key: str, index: str) -> Step:
    if key:
        return key
    return int(index) if index else EVERY


def follow(path: Path, names: Mapping[str, Any]) -> Any:
    """The value at ``path``. Raises `NodeFailure` that names the missing part and what is there."""
    if path.root not in names:
        raise _failure(path, f"`{path.root}` is not known here", _known("the names are", names))
    return _walk(path, 0, names[path.root])


def getter(path: Path) -> Getter:
    """``follow`` for one path, as fast as it goes."""
    if EVERY in path.steps:
        return lambda names: follow(path, names)
    return _direct(path, path.root, path.steps)


def _direct(path: Path, root: str, steps: tuple[Any, ...]) -> Getter:
    # Plain subscription is right whenever it succeeds; `follow` finds the words when it does not.
    if len(steps) == 1:
        return _direct_one(path, root, steps[0])

    def get(names: Mapping[str, Any]) -> Any:
        try:
            value = names[root]
            for step in steps:
                value = value[step]
        except _MISSES:
            return follow(path, names)
        return value

    return get


def _direct_one(path: Path, root: str, step: Any) -> Getter:
    def get(names: Mapping[str, Any]) -> Any:
        try:
            return names[root][step]
        except _MISSES:
            return follow(path, names)

    return get


def _walk(path: Path, start: int, value: Any) -> Any:
    for at in range(start, len(path.steps)):
        step = path.steps[at]
        if step is EVERY:
            return _each(path, at, value)
        found, value = look(value, step)
        if not found:
            before = Path(path.root, path.steps[:at])
            raise _failure(path, f"`{before}` {value}", "")
    return value


def _each(path: Path, at: int, value: Any) -> list[Any]:
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__iter__"):
        before = Path(path.root, path.steps[:at])
        raise _failure(path, f"`{before}` is {what(value)}, not a list", "")
    return [_walk(path, at + 1, item) for item in value]


def look(value: Any, step: str | int) -> tuple[bool, Any]:
    """Whether ``value`` has ``step``, and what it is; else why not, in words that go after a name.

    A string is looked up in mappings alone, an integer in lists and texts: no attribute of a
    Python object is ever reached.
    """
    if isinstance(value, Mapping):
        return (True, value[step]) if step in value else (False, _no_key(value, step))
    if isinstance(step, str) or not hasattr(value, "__getitem__"):
        return False, f"is {what(value)} and has no {_name(step)}"
    try:
        return True, value[step]
    except _MISSES:
        return False, f"has {_count(value)} and no {_name(step)}"


def _no_key(value: Mapping[str, Any], step: str | int) -> str:
    if not value:
        return f"is an empty mapping and has no {_name(step)}"
    return f"has no {_name(step)}; {_known('its keys are', value)}"


def _name(step: str | int) -> str:
    return f"`{step}`" if isinstance(step, str) else f"item [{step}]"


def _known(start: str, names: Mapping[str, Any]) -> str:
    shown = ", ".join(f"`{name}`" for name in list(names)[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{start} {shown}{more}" if shown else ""


def _count(value: Any) -> str:
    noun = "character" if isinstance(value, str) else "item"
    return f"{len(value)} {noun}" + ("" if len(value) == 1 else "s")


def what(value: Any) -> str:
    """The kind of a value in the words of YAML."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, (int, float)):
        return "a number"
    return "a mapping" if isinstance(value, Mapping) else "a list" if hasattr(value, "__len__") else "a value"


def _failure(path: Path, said: str, known: str) -> NodeFailure:
    whole = "" if said.startswith(f"`{path}`") else f"`{path}`: "
    return NodeFailure("template_failed", f"{whole}{said}{'; ' if known else ''}{known}", origin=path.origin)
