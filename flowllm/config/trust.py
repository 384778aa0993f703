"""Keys and defaults that could load code or change the configuration itself, and who may write what.

Refused in every file: `_target_`, `hydra`, `@package`, a defaults entry that leaves the groups' folders.
Refused also in files that are not the project's own: Hydra's other instantiation words and every
resolver (``${name:...}``); plain ``${a.b}`` stays.
"""

import re
from collections.abc import Iterator
from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.words import Report
from flowllm.core.errors import Problem
from flowllm.core.secrets import holds_key

_INSTANTIATE = frozenset({"_partial_", "_args_", "_convert_", "_recursive_", "_mode_", "_execute_"})
_PLAIN = r"\$\{\.*[A-Za-z_][\w.\[\]]*\}"
_RESOLVER = r"\$\{\s*([A-Za-z_][\w.]*)\s*:"
_HEADER = r"\s*#\s*@\s*\w+"

_SHORTEST = 20
_PRIVATE_KEY = "-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----"

Steps = tuple[str | int, ...]


def strings(value: Any, steps: Steps = ()) -> Iterator[tuple[Steps, str]]:
    """Every string of a configuration with the way to it; keys are not values."""
    if isinstance(value, str):
        yield steps, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from strings(inner, (*steps, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from strings(inner, (*steps, index))


def check_file(value: Any, marks: Marks, text: str, report: Report, *, trusted: bool) -> None:
    """Report keys, headers and defaults that no file of this kind may have."""
    _check_header(text, marks, report)
    _check_secrets(value, marks, report)
    _check_keys(value, marks, report, trusted=trusted)
    if isinstance(value, dict):
        for key in ("hydra", "@package"):
            if key in value:
                _refuse(f"the key `{key}`", marks.at(key), report)
        _check_defaults(value.get("defaults"), marks.at("defaults"), report)


def check_resolvers(value: Any, marks: Marks, report: Report) -> None:
    """Report every resolver in a file that is not the project's own; its argument is not repeated."""
    for steps, text in strings(value):
        rest = re.sub(_PLAIN, "", text)
        if "${" not in rest:
            continue
        named = re.search(_RESOLVER, rest)
        message = f"the resolver `{named[1]}` is" if named else "a computed `${...}` is"
        hint = "take the value as an input of the pipeline"
        where = ".".join(map(str, steps))
        place = marks.at(*steps).text
        report(Problem("untrusted_resolver", f"{message} not allowed in this file", where, place, hint))


def _check_secrets(value: Any, marks: Marks, report: Report) -> None:
    """Report what looks like a key of a known provider; the message does not repeat it."""
    for steps, text in strings(value):
        if len(text) >= _SHORTEST and (holds_key(text) or re.search(_PRIVATE_KEY, text)):
            where = ".".join(map(str, steps))
            hint = "flowllm keys set NAME keeps it out of files; remove it here and replace the key"
            message = "a secret stands in this file"
            report(Problem("literal_secret", message, where, marks.at(*steps).text, hint))


def _check_header(text: str, marks: Marks, report: Report) -> None:
    for number, line in enumerate(text.splitlines()):
        if line.strip() and not line.lstrip().startswith("#"):
            return
        if re.match(_HEADER, line):
            origin = type(marks.value)(marks.value.file, number + 1, 1)
            message = "a header like `# @package` is not allowed"
            hint = "say the package where the file is used: `- retry@policies.retry: standard`"
            report(Problem("untrusted_key", message, "", origin, hint))


def _check_keys(value: Any, marks: Marks, report: Report, *, trusted: bool) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            below = marks.at(key)
            if key == "_target_" or (not trusted and key in _INSTANTIATE):
                _refuse(f"the key `{key}`", below, report)
            _check_keys(inner, below, report, trusted=trusted)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_keys(inner, marks.at(index), report, trusted=trusted)


def _refuse(what: str, marks: Marks, report: Report) -> None:
    message = f"{what} is not allowed: pipelines are data and load no code"
    hint = "remove it; kinds of your own come from installed packages"
    report(Problem("untrusted_key", message, "", marks.key, hint))


def _check_defaults(defaults: Any, marks: Marks, report: Report) -> None:
    if defaults is None:
        return
    if not isinstance(defaults, list):
        hint = "defaults: [{retry@policies.retry: standard}, _self_]"
        report(Problem("bad_value", "`defaults` is a list", "defaults", marks.text, hint))
        return
    for index, entry in enumerate(defaults):
        parts = entry.items() if isinstance(entry, dict) else [(entry, "")]
        for key, option in parts:
            choices = option if isinstance(option, list) else [option]
            for word in (key, *choices):
                _check_default(word, marks.at(index), report)


def _check_default(word: Any, marks: Marks, report: Report) -> None:
    if not isinstance(word, str):
        if word is not None:
            message = f"`{word}` names no file of a group"
            report(Problem("bad_value", message, "defaults", marks.text, "- retry@policies.retry: standard"))
        return
    plain = word.removeprefix("override ").removeprefix("optional ").strip()
    group = plain.split("@")[0].strip("/")
    leaves = "://" in word or ".." in word or word.startswith("~") or "\\" in word or plain.startswith("//")
    if leaves or "_global_" in word or group == "hydra" or group.startswith("hydra/") or _is_absolute_file(plain):
        message = f"the default `{word}` reaches outside the groups of this project"
        hint = "name a file of a group: `- retry@policies.retry: standard`"
        report(Problem("untrusted_key", message, "defaults", marks.text, hint))


def _is_absolute_file(word: str) -> bool:
    return word.startswith("/") and word.endswith((".yaml", ".yml"))
