"""What JSON cannot hold though Python can: found where values come in, before a run stumbles over it."""

import math
from collections.abc import Mapping


def fault_of(value: object) -> str:
    """Why one scalar is no JSON, as the end of a sentence; empty where it is fine."""
    if isinstance(value, str):
        return "" if value.isascii() or is_whole(value) else "holds half of a character (a lone surrogate)"
    if isinstance(value, float) and not math.isfinite(value):
        return "is no number that JSON knows"
    return ""


def is_whole(text: str) -> bool:
    """Whether every character of a text is whole, so that it can be written as UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def find_fault(value: object) -> tuple[str, str]:
    """The first part of a value that JSON cannot hold, as a path (``[0].name``), and why; both empty without one."""
    waiting: list[tuple[str, object]] = [("", value)]
    seen: set[int] = set()
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str | float):
            if why := fault_of(item):
                return path, why
        elif isinstance(item, Mapping | list | tuple) and id(item) not in seen:
            seen.add(id(item))
            waiting.extend(_parts(path, item))
            if isinstance(item, Mapping) and any(isinstance(key, str) and fault_of(key) for key in item):
                return path, "has a key that holds half of a character (a lone surrogate)"
    return "", ""


def _parts(path: str, item: Mapping[object, object] | list[object] | tuple[object, ...]) -> list[tuple[str, object]]:
    if isinstance(item, Mapping):
        return [(f"{path}.{key}".lstrip("."), inner) for key, inner in item.items() if not _is_plain(inner)]
    return [(f"{path}[{index}]", inner) for index, inner in enumerate(item) if not _is_plain(inner)]


def _is_plain(value: object) -> bool:
    """Scalars that cannot be at fault; most are, and their paths need not be made."""
    return value is None or isinstance(value, int) or (isinstance(value, str | float) and not fault_of(value))
