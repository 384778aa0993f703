"""``kind: validate``: a value that is as it has to be, or bad output.

A text with a schema is read as JSON first: all of it, or the first value in prose or a fence that
meets the schema. A schema that a registered pydantic model gave is checked by that model, and the
value is what the model makes of it. ``errors`` hold one line each, with the exact path; a rule that is false adds its
own words, and one that cannot be read on the value, or is neither true nor false on it, says so besides. All rules are
looked at, when the schema is met.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, Literal, Self, TypedDict, cast

from pydantic import BaseModel, Field, PrivateAttr, ValidationInfo, field_validator, model_validator

from flowllm.core.errors import BadOutput, Failure
from flowllm.core.kinds import MODEL
from flowllm.core.node import Lately, LateValues, Node
from flowllm.core.record import record
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema
from flowllm.text.wording import shortened

LARGE_TEXT, LARGE_LIST = 256 * 1024, 1_000
"""Characters of a text and items of a value from which the work is done in a thread."""
_MESSAGE = 1_000


class Validated(TypedDict):
    """The value and what is wrong with it; ``repaired`` when it was read from broken JSON."""

    value: Any
    ok: bool
    errors: list[str]
    repaired: bool


@record
class _Seen:
    """What was read and found, before the rules."""

    value: Any
    errors: Sequence[str] = ()
    code: str = "bad_output"
    repaired: bool = False


class Validate(Node):
    """Lets a value pass that meets a schema and rules; anything else is bad output."""

    must: ClassVar[tuple[str, ...]] = ("value|text",)
    conditions: ClassVar[frozenset[str]] = frozenset({"rules"})
    late_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"rules": ("value",)}
    summary: ClassVar[str] = "Check a value against a schema and rules."

    shape: Any = Field(
        default=None,
        alias="schema",
        description="`schemas.NAME`, here or a registered pydantic model, or a JSON Schema.",
    )
    rules: Lately = Field(
        default=None,
        description="What has to be true: an expression over `value` for each sentence that says it is not.",
    )
    repair: bool = Field(default=False, description="Mend broken JSON in a text; the port `repaired` says when.")
    if_bad: Literal["fail", "pass"] = Field(
        default="fail", description="`pass` gives a bad value with `ok: false` instead of failing."
    )

    _model: type[BaseModel] | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _find_model(self, info: ValidationInfo) -> Self:
        """Take the model from those that are registered: the context gives them by their names."""
        name = self.shape.get(MODEL) if isinstance(self.shape, Mapping) else None
        if name is not None:
            self._model = info.context(name) if info.context else None
            if self._model is None:
                message = f"no pydantic model `{name}` is registered"
                raise ValueError(message)
        return self

    @field_validator("shape")
    @classmethod
    def _schema(cls, shape: Any) -> Any:
        if shape is None or isinstance(shape, Mapping | bool) or str(shape).startswith("schemas."):
            return shape
        raise ValueError("`schema` is schemas.NAME or a JSON Schema")

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``value`` is what the schema says, else of the type that came in."""
        known: Schema = inputs.get("value", {"type": "string"} if "text" in inputs and self.shape is None else {})
        if isinstance(self.shape, str):
            known = schemas.get(self.shape.removeprefix("schemas."), {})
        elif isinstance(self.shape, Mapping):
            known = self.shape
        return {**super().output_ports(inputs, schemas), "value": known if self.if_bad == "fail" else {}}

    async def run(
        self, scope: Scope, value: Any = None, text: str | None = None, rules: LateValues | None = None
    ) -> Validated:
        """Check ``text`` where it is given, else ``value``; raises `BadOutput` unless ``if_bad: pass``."""
        work = partial(self._seen, value, text)
        seen = cast("_Seen", await scope.run_in_thread(work)) if _is_large(value, text) else work()
        errors = list(seen.errors) or _broken_rules(rules, seen.value)
        if errors and self.if_bad == "fail":
            message = "; ".join(errors)
            short = message if len(message) <= _MESSAGE else message[: _MESSAGE - 1] + "\u2026"
            raise BadOutput(short, code=seen.code, value=seen.value, errors=errors)
        return {"value": seen.value, "ok": not errors, "errors": errors, "repaired": seen.repaired}

    def _seen(self, value: Any, text: str | None) -> _Seen:
        if self.shape is None:
            return _Seen(value if text is None else text)
        check = self._check()
        if text is None:
            return _Seen(*check(value))
        from flowllm.text.json_scan import read_json

        try:
            found = read_json(text, lambda candidate: not check(candidate)[1])
        except ValueError as error:
            mended = _mended(text) if self.repair else None
            if mended is None:
                return _Seen(text, [f"no JSON: {error}"], "invalid_json")
            return _Seen(*check(mended), repaired=True)
        return _Seen(*check(found))

    def _check(self) -> Callable[[Any], tuple[Any, list[str]]]:
        """From a value to what it is taken for, and its errors."""
        if self._model is not None:
            from flowllm.text.pydantic_models import checked

            return partial(checked, self._model)
        from flowllm.text.json_schema import validator

        errors_of = validator(self.shape)
        return lambda value: (value, errors_of(value))


def _is_large(value: Any, text: str | None) -> bool:
    if text is not None:
        return len(text) > LARGE_TEXT
    return isinstance(value, list | dict) and len(value) > LARGE_LIST


def _broken_rules(rules: LateValues | None, value: Any) -> list[str]:
    if rules is None:
        return []
    held = rules({"value": value})
    return [said for name in held if (said := _broken_rule(name, held))]


def _broken_rule(name: str, held: Mapping[str, Any]) -> str:
    """What is wrong by one rule; empty where it holds. What counts as false (``""``, 0, null) does not hold."""
    try:
        truth = held[name]
    except Failure as failure:
        return f"{name} (the rule cannot be read on this value: {failure.message})"
    if truth is True or not truth:
        return "" if truth else name
    shown = shortened(json.dumps(truth, ensure_ascii=False, default=str))
    return f"{name} (the rule gives {shown}, which is neither true nor false)"


def _mended(text: str) -> Any:
    """The list or object that broken JSON seems to mean, or None."""
    from json_repair import repair_json

    from flowllm.text.strict_json import InvalidJson, loads

    try:
        found = loads(str(repair_json(text, ensure_ascii=False)))
    except (InvalidJson, RecursionError, ValueError):
        return None
    return found if isinstance(found, list | dict) and found else None
