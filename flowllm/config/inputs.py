"""Values of inputs as typed: ``name=value``, ``name=@file``, ``name=@-``, ``name=@@text``, ``@row.json``.

A string input takes its text as it is; other types read strict JSON. Files and standard input have the
user's rights; they are UTF-8, with line ends kept and a byte order mark dropped.
"""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO

from flowllm.config.files import STDIN, read_source
from flowllm.config.words import closest
from flowllm.core.errors import FlowError, PipelineInvalid, UsageError, found_by, joined
from flowllm.core.json_values import fault_of
from flowllm.core.origin import Origin
from flowllm.core.spec import InputSpec, Schema
from flowllm.text.strict_json import InvalidJson, decode, loads


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_CHECKS: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "boolean": lambda value: isinstance(value, bool),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "null": lambda value: value is None,
}
_EXAMPLES = {
    "integer": "3",
    "number": "0.5",
    "boolean": "true",
    "array": '["a", "b"]',
    "object": '{"key": "value"}',
    "null": "null",
}
_SHOWN = 60
_PLAIN = frozenset({"type", "default", "description", "title"})


def parse_inputs(
    spec_inputs: Mapping[str, InputSpec],
    texts: Sequence[str],
    stdin: BinaryIO | None = None,
    *,
    typed_as: str = "-i ",
) -> dict[str, Any]:
    """Values by name; `UsageError` (unknown_input, bad_value, file_refused) says what is wrong.

    Of several faults a `PipelineInvalid` holds each. ``typed_as`` is what stands before each text on the
    command line: the place of errors about it.

    What is missing is not looked for here: defaults, samples and ``missing_input`` are the run's.
    """
    found: dict[str, Any] = {}
    errors: dict[str, FlowError] = {}
    asking = [text for text in texts if text == "@-" or text.partition("=")[2] == "@-"]
    names = [text.partition("=")[0] for text in texts if "=" in text and not text.startswith("@")]
    for text in texts:
        try:
            _read_once(text, asking)
            _given_once(text, names)
            found.update(_given(text, spec_inputs, stdin))
        except FlowError as error:
            errors.setdefault(error.message, _at_word(error, f"{typed_as}{_short(text)}", typed_as))
    if errors:
        raise joined(errors.values())
    return found


def _at_word(error: FlowError, word: str, typed_as: str) -> FlowError:
    """The error with the word as its place, and its hint in the words in which inputs are given here."""
    place = Origin(note=f"command line: {word}")
    problems = [replace(found, origin=place, hint=_typed_as(found.hint, typed_as)) for found in found_by(error)]
    if isinstance(error, PipelineInvalid):
        return PipelineInvalid(problems)
    error.origin, error.hint = place, problems[0].hint
    return error


def _typed_as(hint: str, typed_as: str) -> str:
    """``-i name=value`` as it is written behind ``input.``, where inputs are given so."""
    if typed_as == "-i " or not hint.startswith("-i ") or "=@" in hint:
        return hint
    return shlex.quote(typed_as + "".join(shlex.split(hint)[1:]))


def _read_once(text: str, asking: Sequence[str]) -> None:
    if text in asking[1:]:
        message = "standard input can be read once, and more than one input asks for it"
        raise UsageError("bad_usage", message, hint="save it in a file and give each input as -i name=@file")


def _given_once(text: str, names: list[str]) -> None:
    name = text.partition("=")[0]
    if names.count(name) > 1 and not text.startswith("@"):
        message = f"the input `{_short(name)}` is given more than once"
        raise UsageError("bad_usage", message, hint="give it once; input.NAME=a,b with -m runs once for each value")


def _given(text: str, spec_inputs: Mapping[str, InputSpec], stdin: BinaryIO | None) -> dict[str, Any]:
    """What one text gives."""
    if text.startswith("@"):
        return _row(text[1:], spec_inputs, stdin)
    name, equals, value = text.partition("=")
    if not equals:
        hint = f"-i {shlex.quote(f'{name}=...')} gives an input; -i @row.json gives a whole row"
        raise UsageError("bad_usage", f"`{_short(text)}` is not `name=value`", hint=hint)
    spec = _known(name, spec_inputs)
    typed = _typed(spec, _text(value, stdin), value)
    return {name: _fitting(spec, typed, value)}


def _text(value: str, stdin: BinaryIO | None) -> str:
    """What stands behind the equals sign: itself, a file's text, or after ``@@`` a text that begins with ``@``."""
    if value.startswith("@@"):
        return value[1:]
    return _source(value[1:], stdin) if value.startswith("@") else value


def _check_row(spec_inputs: Mapping[str, InputSpec], row: Mapping[str, Any]) -> None:
    """Raise for names that are not declared and values that are not as declared."""
    errors: list[FlowError] = []
    for name, value in row.items():
        try:
            _fitting(_known(name, spec_inputs), value, json.dumps(value, ensure_ascii=False, default=str))
        except UsageError as error:
            errors.append(error)
    if errors:
        raise joined(errors)


def _known(name: str, spec_inputs: Mapping[str, InputSpec]) -> InputSpec:
    if name not in spec_inputs:
        hint = closest(name, spec_inputs) or "this pipeline takes no inputs"
        raise UsageError("unknown_input", f"there is no input `{_short(name)}`", hint=hint)
    return spec_inputs[name]


def _row(path: str, spec_inputs: Mapping[str, InputSpec], stdin: BinaryIO | None) -> dict[str, Any]:
    text = _source(path, stdin)
    hint = 'one JSON object: {"name": "value"}'
    try:
        row = loads(text)
    except InvalidJson as error:
        raise UsageError("bad_value", f"{_shown(path)} is not strict JSON: {error}", hint=hint) from None
    if not isinstance(row, dict):
        raise UsageError("bad_value", f"{_shown(path)} holds no JSON object", hint=hint)
    _check_row(spec_inputs, row)
    return row


def _source(path: str, stdin: BinaryIO | None) -> str:
    """The text of a file, or of standard input for ``-``."""
    if not path:
        raise UsageError("bad_usage", "`@` names no file", hint="-i name=@file, or -i name=@- for standard input")
    if path == "-" and stdin is None:
        raise UsageError("bad_usage", "there is no standard input to read", hint="-i name=@file")
    try:
        return decode(read_source(path, stdin))
    except InvalidJson as error:
        raise UsageError("bad_value", f"{_shown(path)}: {error}", hint="save it as UTF-8 text") from None


def _shown(path: str) -> str:
    return STDIN if path == "-" else f"`{path}`"


def _clean(text: str, name: str) -> str:
    if "\0" in text:
        offset = len(text[: text.index("\0")].encode())
        raise UsageError("bad_value", f"{name} holds a NUL at byte {offset}", hint="remove it; inputs are text")
    return text


def _typed(spec: InputSpec, text: str, shown: str) -> Any:
    """The value that ``text`` is for this input."""
    types = _types(spec.schema)
    if types == ["string"] or (not types and not _looks_like_json(text)):
        return _as_text(spec, text)
    try:
        value = loads(text.strip())
    except InvalidJson as error:
        if "string" in types or not types:
            return _as_text(spec, text)
        raise _mistyped(spec, shown, str(error)) from None
    if _fits(value, spec.schema):
        return value
    if "string" in types:
        return _as_text(spec, text)
    raise _mistyped(spec, shown)


def _as_text(spec: InputSpec, text: str) -> str:
    if fault_of(text):
        message = f"input `{spec.name}` is not valid UTF-8"
        raise UsageError("bad_value", message, hint="save it as UTF-8 and give it as -i name=@file")
    return _clean(text, f"input `{spec.name}`")


def _fitting(spec: InputSpec, value: Any, shown: str) -> Any:
    """The value, which must be as the input's schema says; a schema that is broken is the pipeline's fault."""
    if not _fits(value, spec.schema):
        raise _mistyped(spec, shown)
    if spec.schema.keys() <= _PLAIN:
        return value
    errors = _errors(spec.schema, value)
    if errors:
        why = errors[0].removeprefix("$: ")
        message = f"input `{spec.name}` is not valid: {why}, not {_held(shown)}"
        raise UsageError("bad_value", message, hint=_example(spec))
    return value


def _errors(schema: Schema, value: Any) -> list[str]:
    from flowllm.text.json_schema import validator

    try:
        return validator(schema)(value)
    except ValueError:
        return []


def _mistyped(spec: InputSpec, shown: str, why: str = "") -> UsageError:
    wanted = " or ".join(_types(spec.schema)) or "JSON"
    reason = f" ({why})" if why and not why.startswith("Expecting value") else ""
    message = f"input `{spec.name}` is {wanted}, not {_held(shown)}{reason}"
    return UsageError("bad_value", message, hint=_example(spec))


def _held(shown: str) -> str:
    """What was given, as it was typed; of a file that it was read."""
    is_file = shown.startswith("@") and not shown.startswith("@@")
    return f"what {_shown(shown[1:])} holds" if is_file else f"`{_short(shown)}`"


def _example(spec: InputSpec) -> str:
    """How the input is given a value that its schema allows, as far as one is at hand."""
    schema, types = spec.schema, _types(spec.schema)
    allowed = [schema[key] for key in ("default", "minimum", "maximum") if key in schema]
    allowed += schema["enum"][:1] if isinstance(schema.get("enum"), list) else []
    known = [_EXAMPLES[name] for name in types if name in _EXAMPLES]
    words = [*known, *(one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in allowed)]
    good = (word for word in words if _allowed(spec, word))
    return "-i " + shlex.quote(f"{spec.name}={next(good, known[0] if known else '...')}")


def _allowed(spec: InputSpec, word: str) -> bool:
    try:
        value = word if _types(spec.schema) == ["string"] else loads(word)
    except InvalidJson:
        value = word
    return _fits(value, spec.schema) and not _errors(spec.schema, value)


def _types(schema: Schema) -> list[str]:
    given = schema.get("type")
    return [given] if isinstance(given, str) else list(given) if isinstance(given, list) else []


def _fits(value: Any, schema: Schema) -> bool:
    types = _types(schema)
    return not types or any(_CHECKS.get(name, lambda _: True)(value) for name in types)


def _looks_like_json(text: str) -> bool:
    return text.lstrip()[:1] in ("{", "[", '"') or text.strip() in ("true", "false", "null")


def _short(text: str) -> str:
    safe = text.encode("utf-8", "backslashreplace").decode()
    return safe if len(safe) <= _SHOWN else safe[: _SHOWN - 1] + "…"
