"""What pydantic refuses in data that users wrote, in their words: the part, what it must be, and a hint."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

from pydantic import BaseModel, ValidationError

from flowllm.core.nearest import did_you_mean
from flowllm.core.record import record
from flowllm.text.wording import as_yaml, shortened

Steps = tuple[str | int, ...]
Part = Literal["key", "value"]

_KINDS: Mapping[str, tuple[str, str]] = {
    "int": ("a whole number", "1"),
    "float": ("a number", "0.5"),
    "decimal": ("a number", "0.5"),
    "string": ("a text", "word"),
    "bool": ("true or false", "true"),
    "dict": ("a mapping", "{name: ...}"),
    "mapping": ("a mapping", "{name: ...}"),
    "model": ("a mapping", "{name: ...}"),
    "list": ("a list", "[word]"),
    "tuple": ("a list", "[word]"),
    "set": ("a list", "[word]"),
    "frozen_set": ("a list", "[word]"),
    "date": ("a day", "2026-11-22"),
    "date_from_datetime": ("a day", "2026-11-22"),
}
_BOUNDS = {"greater_than": ("gt", "above"), "greater_than_equal": ("ge", "at least"), "less_than": ("lt", "below")}
_KEY = "[key]"
_SECRET_LENGTH = 24
_MANY = 12
"""Words beyond which they are told in the hint and not in the sentence."""


class Unfit(ValueError):
    """What a validator of a pydantic model refuses, with the hint that mends it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@record
class Misfit:
    """One thing that does not fit. ``steps`` lead to it; ``part`` says whether its key or its value is wrong."""

    code: str
    message: str
    steps: Steps
    hint: str = ""
    part: Part = "value"


def misfits(
    error: ValidationError, data: Any, model: type[BaseModel], what: str, examples: Mapping[str, str]
) -> Iterator[Misfit]:
    """Every finding about ``data``, which ``what`` names; ``examples`` are values of fields for hints.

    An example of ``outer.field`` goes before one of ``outer.*``, and that before one of ``field``; one of an empty
    name is ``data`` as a whole.
    """
    found: dict[Steps, list[Any]] = {}
    for detail in error.errors(include_url=False):
        found.setdefault(way_in(detail["loc"], str(detail["type"]), data), []).append(detail)
    for steps, details in found.items():
        if not any(len(other) > len(steps) and other[: len(steps)] == steps for other in found):
            yield _misfit(steps, details, model, what, examples)


def unknown_word(word: str, known: Iterable[str], owner: str, steps: Steps) -> Misfit:
    """``owner`` has nothing called ``word``."""
    names = sorted(known)
    hint = did_you_mean(word, names, f"known here: {', '.join(names)}" if names else "")
    return Misfit("unknown_field", f"{owner} has no `{word}`", steps, hint, part="key")


def way_in(location: Steps, kind: str, data: Any) -> Steps:
    """The part of ``data`` that a finding is about, without pydantic's names for the alternatives of a union."""
    way: list[str | int] = []
    for step in location:
        places = data if isinstance(data, Mapping) else range(len(data)) if isinstance(data, list | tuple) else ()
        inside = step in places
        if inside:
            data = data[step]
        if inside or step == _KEY or (kind == "missing" and step is location[-1]):
            way.append(step)
    return tuple(way)


def _misfit(steps: Steps, details: list[Any], model: type[BaseModel], what: str, examples: Mapping[str, str]) -> Misfit:
    detail = details[0]
    kind, name = str(detail["type"]), str(steps[-1]) if steps else what
    owner = f"`{_called(steps[:-1])}`" if len(steps) > 1 else what
    if steps[-1:] == (_KEY,):
        return _key(steps[:-1], detail, what)
    if kind == "extra_forbidden":
        return unknown_word(name, _fields(model, steps[:-1]), owner, steps)
    if kind == "missing":
        hint = f"{name}: {example_of(steps, examples) or '...'}"
        return Misfit("missing_field", f"{owner} needs `{name}`", steps[:-1], hint)
    message, hint = str(detail["msg"]), _example(steps, details, examples)
    if kind == "value_error":
        refused = detail["ctx"]["error"]
        hint = refused.hint if isinstance(refused, Unfit) and refused.hint else hint
        return Misfit("bad_value", message.removeprefix("Value error, "), steps, hint)
    if kind == "too_short":
        return Misfit("bad_value", f"`{_called(steps)}` needs at least {detail['ctx']['min_length']}", steps, hint)
    if kind == "literal_error" and len(_expected(detail)) > _MANY:
        word, owner = shortened(as_yaml(detail["input"])), _called([step for step in steps if isinstance(step, str)])
        return Misfit("bad_value", f"`{word}` is no word of `{owner}`", steps, hint)
    wanted = " or ".join(dict.fromkeys(_wanted(one) for one in details))
    said = f"`{_called(steps)}`" if steps else what
    return Misfit("bad_value", f"{said} is {wanted}{_instead(detail['input'])}", steps, hint)


def _called(steps: Sequence[str | int]) -> str:
    """The last word of the way, with the places in lists behind it: ``rates[0]``."""
    last = next((place for place in range(len(steps) - 1, -1, -1) if isinstance(steps[place], str)), 0)
    return str(steps[last]) + "".join(f"[{step}]" for step in steps[last + 1 :])


def example_of(steps: Steps, examples: Mapping[str, str]) -> str:
    """The example of what ``steps`` lead to."""
    words = [str(step) for step in steps if isinstance(step, str)]
    outer, name = ".".join(words[-2:-1]), ".".join(words[-1:])
    found = (examples.get(key, "") for key in (f"{outer}.{name}", f"{outer}.*", name))
    return next(filter(None, found), "")


def _key(steps: Steps, detail: Any, what: str) -> Misfit:
    word, owner = str(steps[-1]), f"`{steps[-2]}`" if len(steps) > 1 else what
    if detail["type"] == "literal_error":
        return unknown_word(word, _expected(detail), owner, steps)
    if isinstance(steps[-1], str):
        hint = f"{re.sub('[^a-z0-9_]', '_', word.lower())}:" if detail["type"] == "string_pattern_mismatch" else ""
        return Misfit("bad_key", f"the key `{word}` is {_wanted(detail)}", steps, hint, part="key")
    return Misfit("bad_key", f"key {word} is not a string; quote it", steps, f'"{word}":', part="key")


def _wanted(detail: Any) -> str:
    kind = str(detail["type"])
    if kind == "literal_error":
        return " or ".join(_expected(detail))
    if kind in _BOUNDS:
        name, word = _BOUNDS[kind]
        return f"{word} {detail['ctx'][name]}"
    if kind == "string_pattern_mismatch":
        return "written with small letters, digits, `_`, `.` and `-`"
    known = _KINDS.get(re.sub(r"_(type|parsing|from_float|parsing_size|attributes_type)$", "", kind))
    message = str(detail["msg"])
    return known[0] if known else f"not right: {message[:1].lower()}{message[1:]}"


def _instead(value: Any) -> str:
    """``, not `012```; long texts are not repeated, for they may be secrets."""
    if isinstance(value, Mapping):
        return ", not a mapping"
    if isinstance(value, list | tuple):
        return ", not a list"
    if isinstance(value, str) and len(value) > _SECRET_LENGTH:
        return ""
    return f", not `{shortened(as_yaml(value))}`"


def _example(steps: Steps, details: list[Any], examples: Mapping[str, str]) -> str:
    detail, known = details[0], example_of(steps, examples)
    words = [str(step) for step in steps if isinstance(step, str)]
    listed = bool(steps) and isinstance(steps[-1], int)
    if detail["type"] == "literal_error":
        expected = _expected(detail)
        otherwise = f"{words[-1]}: {f'[{expected[0]}]' if listed else expected[0]}"
        if len(expected) > _MANY:
            otherwise = f"known here: {', '.join(expected)}"
        return did_you_mean(str(detail["input"]), expected, otherwise)
    if not steps:
        return known
    kind = _KINDS.get(str(detail["type"]).partition("_")[0])
    example = known or (kind[1] if kind and not listed else "")
    return f"{as_yaml(words[-1])}: {example}" if example and words else ""


def _expected(detail: Any) -> list[str]:
    """The words that can stand there; that a field may be left empty is not told."""
    return list(filter(None, re.findall(r"'([^']*)'", detail["ctx"]["expected"])))


def _fields(model: type[BaseModel], steps: Steps) -> set[str]:
    """Fields that can stand where ``steps`` lead; a mapping's keys and a list's places lead to the same models."""
    here = [model]
    for step in steps:
        inner = [m for one in here if step in one.model_fields for m in _models(one.model_fields[str(step)].annotation)]
        here = inner or here
    return {info.alias or name for one in here for name, info in one.model_fields.items()}


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
