"""Pydantic models as schemas: their JSON Schema, and a value checked by one, in the words of `json_schema`.

A value is read as JSON: what the model makes of it (defaults, other spellings of a number or a date) is
given on as JSON again, by the names that JSON has. Errors are one line each, with an exact path.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError

from flowllm.text.json_problems import CAP, path_text
from flowllm.text.misfits import way_in

ERRORS = 20
"""Errors listed of one value."""


def schema_of(model: type[BaseModel]) -> Mapping[str, Any]:
    """The JSON Schema of what the model takes; ValueError where it takes what JSON cannot say."""
    try:
        return model.model_json_schema(by_alias=True)
    except (PydanticInvalidForJsonSchema, PydanticSchemaGenerationError) as error:
        raise ValueError(str(error).partition("\n")[0]) from None


def checked(model: type[BaseModel], value: Any) -> tuple[Any, list[str]]:
    """What the model makes of a value, and no errors; else the value and its errors."""
    try:
        text = json.dumps(value, allow_nan=False)
        return model.model_validate_json(text).model_dump(mode="json", by_alias=True), []
    except ValidationError as error:
        lines = list(dict.fromkeys(_lines(error, value)))
        return value, lines if len(lines) <= ERRORS else [*lines[:ERRORS], "$: and more"]
    except (TypeError, ValueError):
        return value, ["$: expected JSON"]
    except RecursionError:
        return value, ["$: the value nests too deep"]


def _lines(error: ValidationError, value: Any) -> Iterator[str]:
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").partition("\n")[0]
        line = f"{path_text(way_in(detail['loc'], detail['type'], value))}: {message[:1].lower()}{message[1:]}"
        yield line if len(line) <= CAP else f"{line[: CAP - 1]}\u2026"
