"""``kind: validate``: a value that is as it has to be, or bad output.

A text with a schema is read as JSON first: all of it, or the first value in prose or a fence that
meets the schema. ``errors`` hold one line each, with the exact path; a rule that is false adds its
own words. Rules are looked at when the schema is met.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Literal, TypedDict, cast

from pydantic import Field, field_validator

from flowllm.core.errors import BadOutput, Failure
from flowllm.core.node import Lately, LateValues, Node
from flowllm.core.record import record
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema

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
    errors: tuple[str, ...] = ()
    code: str = "bad_output"
    repaired: bool = False


class Validate(Node):
    """Lets a value pass that meets a schema and rules; anything else is bad output."""

    must: ClassVar[tuple[str, ...]] = ("value|text",)
    late_names: ClassVar[Mapping[str, tuple[str, ...]]] = {"rules": ("value",)}
    summary: ClassVar[str] = "Check a value against a schema and rules."

    shape: Any = Field(default=None, alias="schema", description="`schemas.NAME` or a JSON Schema (2020-12).")
    rules: Lately = Field(
        default=None,
        description="What has to be true: an expression over `value` for each sentence that says it is not.",
    )
    repair: bool = Field(default=False, description="Mend broken JSON in a text; the port `repaired` says when.")
    if_bad: Literal["fail", "pass"] = Field(
        default="fail", description="`pass` gives a bad value with `ok: false` instead of failing."
    )

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
        from flowllm.text.json_schema import validator

        errors_of = validator(self.shape)
        if text is None:
            return _Seen(value, tuple(errors_of(value)))
        from flowllm.text.json_scan import read_json

        try:
            found = read_json(text, lambda candidate: not errors_of(candidate))
        except ValueError as error:
            mended = _mended(text) if self.repair else None
            if mended is None:
                return _Seen(text, (f"no JSON: {error}",), "invalid_json")
            return _Seen(mended, tuple(errors_of(mended)), repaired=True)
        return _Seen(found, tuple(errors_of(found)))


def _is_large(value: Any, text: str | None) -> bool:
    if text is not None:
        return len(text) > LARGE_TEXT
    return isinstance(value, list | dict) and len(value) > LARGE_LIST


def _broken_rules(rules: LateValues | None, value: Any) -> list[str]:
    if rules is None:
        return []
    try:
        held = rules({"value": value})
    except Failure as failure:
        return [f"a rule cannot be read on this value: {failure.message}"]
    return [name for name, truth in held.items() if not truth]


def _mended(text: str) -> Any:
    """The list or object that broken JSON seems to mean, or None."""
    from json_repair import repair_json

    from flowllm.text.strict_json import InvalidJson, loads

    try:
        found = loads(str(repair_json(text, ensure_ascii=False)))
    except (InvalidJson, RecursionError, ValueError):
        return None
    return found if isinstance(found, list | dict) and found else None
