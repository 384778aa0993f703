"""Keys of mappings: strings everywhere, each once, none that only looks like another."""

import unicodedata
from collections.abc import Hashable, Iterable
from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.parsing import shown
from flowllm.config.words import Report, has_unseen, visible
from flowllm.core.errors import Problem
from flowllm.core.json_values import fault_of

DEPTH = 64
"""How deep a configuration may nest."""

_PLAIN = (str, int, float, bool, type(None))


def check_keys(value: Any, marks: Marks, report: Report, steps: tuple[str, ...] = ()) -> Any:
    """``value`` with the keys alone that are strings; others are reported as ``bad_key``.

    What needs no change is returned as it is, not copied.
    """
    if isinstance(value, _PLAIN):
        return value if not (why := fault_of(value)) else _refused(value, why, marks, report, steps)
    if len(steps) > DEPTH:
        hint = "write it flatter"
        report(Problem("bad_yaml", f"nested deeper than {DEPTH} levels", where(steps[:4]), marks.value, hint))
        return None
    if isinstance(value, dict):
        return _mapping(value, marks, report, steps)
    if isinstance(value, list | tuple):
        items = [check_keys(item, marks.at(i), report, (*steps, f"[{i}]")) for i, item in enumerate(value)]
        same = isinstance(value, list) and all(map(_is, items, value))
        return value if same else items
    return value


def _mapping(value: dict[Any, Any], marks: Marks, report: Report, steps: tuple[str, ...]) -> dict[Any, Any]:
    changed, found = False, {}
    for key, inner in value.items():
        if type(key) is not str:
            changed = True
            _report_key(key, marks, report, steps)
            continue
        fine = inner.isascii() if type(inner) is str else isinstance(inner, int)
        kept = inner if fine else check_keys(inner, marks.at(key), report, (*steps, key))
        changed = changed or kept is not inner
        found[key] = kept
    if not all(map(str.isascii, found)):
        _check_look(found, marks, report, steps)
    return found if changed else value


def _refused(value: object, why: str, marks: Marks, report: Report, steps: tuple[str, ...]) -> None:
    text = str(value).encode("ascii", "backslashreplace").decode()
    hint = "write the character itself" if isinstance(value, str) else "write a number, or quote it"
    report(Problem("bad_value", f"{shown(text)} {why}", where(steps), marks.text, hint))


def _report_key(key: object, marks: Marks, report: Report, steps: tuple[str, ...]) -> None:
    inner = marks.children.get(key) if isinstance(key, Hashable) else None  # type: ignore[call-overload]
    word = shown(key).strip("`") if inner is None or inner.key_raw is None else inner.key_raw
    message = f"key {word} is not a string; quote it"
    report(Problem("bad_key", message, where(steps), marks.value if inner is None else inner.key, f'"{word}":'))


def _check_look(keys: Iterable[str], marks: Marks, report: Report, steps: tuple[str, ...]) -> None:
    """Unseen characters, and two keys that differ only in how their accents are stored."""
    seen: dict[str, str] = {}
    for key in keys:
        place, normal = marks.at(key).key, unicodedata.normalize("NFC", key)
        if has_unseen(key):
            message = f"key `{visible(key)}` holds a character that cannot be seen"
            report(Problem("bad_key", message, where(steps), place, "type the key again"))
        elif normal in seen:
            message = f"key `{key}` stands here twice, in two Unicode spellings that look the same"
            report(Problem("bad_key", message, where(steps), place, "keep one of them"))
        seen[normal] = key


def where(steps: Iterable[str]) -> str:
    """Steps in the pipeline's own words: a node's path starts with its id."""
    words = list(steps)
    if len(words) > 1 and words[0] == "nodes":
        words = words[1:]
    return ".".join(words).replace(".[", "[")


def _is(one: object, other: object) -> bool:
    return one is other
