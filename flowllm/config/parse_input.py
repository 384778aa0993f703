"""One declared input as written to an `InputSpec`."""

import json
from collections.abc import Mapping
from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.parsing import Parsing, shown
from flowllm.config.words import TYPES, check_key_name, closest
from flowllm.core.spec import InputSpec

_SHOWN = 60


def parse_input(name: str, raw: object, marks: Marks, parsing: Parsing) -> InputSpec:
    """``question: string``, or a JSON Schema that may have a ``default`` and a ``sample``."""
    where = f"inputs.{name}"
    check_key_name(name, where, marks, parsing.problems.append)
    if isinstance(raw, str):
        _check_type(raw, where, marks, parsing)
        return InputSpec(name, {"type": raw}, None, marks.key)
    if not isinstance(raw, dict):
        message = f"an input is a type or a JSON Schema, not {shown(raw, marks)}"
        hint = f"{name}: string declares it; `input.{name}=...` or `-i {name}=...` gives its value"
        parsing.wrong("bad_schema", message, where, marks.text, hint)
        return InputSpec(name, {}, None, marks.key)
    if isinstance(raw.get("type"), str):
        _check_type(raw["type"], f"{where}.type", marks.at("type"), parsing)
    schema = {key: value for key, value in raw.items() if key != "sample"}
    sample = _sample(raw["sample"], f"{where}.sample", marks.at("sample"), parsing) if "sample" in raw else None
    return InputSpec(name, schema, sample, marks.key)


def _check_type(word: str, where: str, marks: Marks, parsing: Parsing) -> None:
    if word not in TYPES:
        parsing.wrong("bad_schema", f"`{word}` is not a type", where, marks.text, closest(word, TYPES))


def _sample(raw: object, where: str, marks: Marks, parsing: Parsing) -> Mapping[str, Any]:
    if isinstance(raw, dict) and len(raw) == 1 and ("const" in raw or isinstance(raw.get("file"), str)):
        return raw
    message = f"a sample is a file or a constant, not {shown(raw, marks)}"
    hint = "sample: {file: ./sample.txt}"
    if not isinstance(raw, dict):
        text = json.dumps(raw, ensure_ascii=False, default=str) if isinstance(raw, list) else str(marks.raw or raw)
        hint = f"sample: {{const: {text if len(text) <= _SHOWN else '[...]'}}}"
    parsing.wrong("bad_value", message, where, marks.text, hint)
    return {"const": raw}  # so that the input does not count as missing besides
