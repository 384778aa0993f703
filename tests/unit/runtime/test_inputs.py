import asyncio
import math
from decimal import Decimal

import numpy as np
import pytest

from flowllm.api import Environment, Flow
from flowllm.compiler.plan_json import from_json, to_json
from flowllm.core.errors import NodeFailure, UsageError
from flowllm.core.kinds import Kinds
from flowllm.core.scope import no_call
from flowllm.runtime import Engine, bind
from flowllm.runtime.inputs import complete_inputs, misfit

DECLARED = {
    "text": {"type": "string", "minLength": 1},
    "words": {"type": "integer", "minimum": 10, "default": 80},
    "any": {"default": None},
}


def test_defaults_fill_in():
    assert complete_inputs(DECLARED, {"text": "a"}) == {"text": "a", "words": 80, "any": None}


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        ({}, "missing_input", "`text` is not given"),
        ({"text": ""}, "bad_value", "`text` is not valid"),
        ({"text": "a", "words": 9}, "bad_value", "`words` is not valid"),
        ({"text": "a", "words": "80"}, "bad_value", "`words` is not valid"),
        ({"text": "a", "words": True}, "bad_value", "`words` is not valid"),
        ({"text": "a\ud800"}, "bad_value", "`text` holds half of a character"),
        ({"text": "a", "any": {"b": ["\ud800"]}}, "bad_value", r"`any.b\[0\]` holds half of a character"),
        ({"text": "a", "any": float("nan")}, "bad_value", "`any` is no number"),
        ({"text": "a", "word": 80}, "unknown_input", "no input `word`"),
    ],
)
def test_what_does_not_fit_is_said(given, code, words):
    with pytest.raises(UsageError, match=words) as raised:
        complete_inputs(DECLARED, given)
    assert raised.value.code == code


def test_an_unknown_input_has_a_hint():
    with pytest.raises(UsageError) as raised:
        complete_inputs(DECLARED, {"tekst": "a"})
    assert raised.value.hint == "did you mean `text`?"


class Thing:
    """Nothing that JSON knows."""


TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
ROW = {"type": "object", "required": ["id"], "properties": {"id": {"type": "integer", "minimum": 1}}}


@pytest.mark.parametrize(
    ("schema", "value", "why"),
    [
        ({}, Thing(), ""),
        ({"type": "string"}, "a", ""),
        ({"type": "string"}, 5, "$: expected string, got integer"),
        ({"type": "string"}, Decimal("1.5"), "$: expected string, got number"),
        ({"type": "string"}, None, "$: expected string, got null"),
        ({"type": "string"}, Thing(), ""),
        ({"type": "number"}, Decimal("1.5"), ""),
        ({"type": "number"}, math.nan, ""),
        ({"type": "number"}, True, "$: expected number, got boolean"),
        ({"type": "integer"}, 1.5, "$: expected integer, got number"),
        (TEXTS, ["a", "b"], ""),
        (TEXTS, ("a", "b"), ""),
        (TEXTS, [Thing(), 1], ""),
        (ROW, {"id": 1}, ""),
        (ROW, {"id": 0}, "$.id: expected at least 1"),
        ({"type": "array", "items": ROW}, [{"id": 1}, {}], "$[1]: `id` is missing"),
        ({"type": "array", "items": {"type": "number"}}, np.float32([1, math.nan]), ""),
        ({"type": "array", "items": {"type": "string"}}, np.float32([1]), "$[0]: expected string, got number"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {1: "a"}, ""),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"a": 1}, "$.a: expected string, got integer"),
    ],
)
def test_what_is_no_value_of_a_port(schema, value, why):
    assert misfit(schema, value) == why


def shout(text: str) -> str:
    return f"{text}!"


FAILS = "type_mismatch at "
SHOUT = {"kind": "shout", "in": {"text": "inputs.x"}}


@pytest.mark.parametrize(
    ("nodes", "output", "given", "expected"),
    [
        ({"s": SHOUT}, "s.value", "hi", "hi!"),
        ({"s": SHOUT}, "s.value", 5, FAILS + "s"),
        ({"s": {**SHOUT, "when_failed": {"value": "s.code"}}}, "s.value", 5, "type_mismatch"),
        ({"s": {**SHOUT, "each": "inputs.x", "in": {"text": "item"}}}, "s.items[].value", ["hi", "ho"], ["hi!", "ho!"]),
        ({"s": {**SHOUT, "each": "inputs.x", "in": {"text": "item"}}}, "s.items[].value", ["hi", 5], FAILS + "s[1]/s"),
        ({"s": SHOUT, "c": {"kind": "cache", "around": ["s"], "of": "s.value"}}, "c.value", 5, FAILS + "c/s"),
        ({"s": {"kind": "call", "model": "mock/echo", "in": {"messages": "inputs.x"}}}, "s.text", 5, FAILS + "s"),
    ],
)
def test_what_only_a_run_can_tell_of_a_type_is_told_by_the_run(nodes, output, given, expected, tmp_path):
    mapping = {"inputs": {"x": {}}, "nodes": nodes, "outputs": {"o": output}}
    flow = Flow.of(mapping, environment=Environment(project=tmp_path, registered={"shout": shout}))
    try:
        got = flow.run({"x": given}).outputs["o"]
    except NodeFailure as failure:
        got = f"{failure.code} at {failure.address}"
    assert got == expected


def test_the_place_of_a_port_is_told_also_by_a_plan_that_was_sent(tmp_path):
    file = tmp_path / "pipeline.yaml"
    file.write_text("inputs: {x: {}}\nnodes:\n  s:\n    kind: split\n    in: {text: inputs.x}\noutputs: {o: s.parts}\n")
    plan = Flow.load(file).plan
    assert from_json(to_json(plan)) == plan
    sent = bind(from_json(to_json(plan)), Engine(Kinds(), no_call))
    with pytest.raises(NodeFailure, match="`s` cannot take this as `text`: text: expected string, got int") as raised:
        asyncio.run(sent.run({"x": 5}))
    assert (raised.value.origin.line, raised.value.origin.column) == (5, 16)
