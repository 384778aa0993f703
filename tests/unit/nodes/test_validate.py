"""What passes, what is bad output, and in which words."""

import pytest
from pydantic import ValidationError

from flowllm.core.errors import BadOutput
from flowllm.core.origin import UNKNOWN
from flowllm.core.scope import Scope
from flowllm.core.slot import Late
from flowllm.nodes import validate
from flowllm.nodes.validate import Validate
from flowllm.text.slots import compile_evaluable, parse_slot

SCHEMA = {
    "type": "object",
    "required": ["lines"],
    "properties": {"lines": {"type": "array", "items": {"properties": {"amount": {"type": "number"}}}}},
}
GOOD = {"lines": [{"amount": 1}]}
BAD = {"lines": [{}, {}, {"amount": "4"}]}
WORDS = "$.lines[2].amount: expected number, got string"


async def check(params=None, scope=None, **inputs):
    return await Validate.model_validate(params or {}).run(scope=scope or Scope(), **inputs)


@pytest.mark.parametrize(
    ("params", "inputs", "value"),
    [
        ({}, {"value": 7}, 7),
        ({}, {"value": None}, None),
        ({}, {"text": "just text"}, "just text"),
        ({"schema": SCHEMA}, {"value": GOOD}, GOOD),
        ({"schema": SCHEMA}, {"text": 'Sure!\n```json\n{"lines": [{"amount": 1}]}\n```'}, GOOD),
        ({"schema": SCHEMA}, {"text": 'With {} I get {"lines": [{"amount": 1}]}'}, GOOD),
        ({"schema": {"type": "integer"}}, {"text": "42"}, 42),
    ],
)
async def test_good(params, inputs, value):
    assert await check(params, **inputs) == {"value": value, "ok": True, "errors": [], "repaired": False}


@pytest.mark.parametrize(
    ("inputs", "code", "value", "error"),
    [
        ({"value": BAD}, "bad_output", BAD, WORDS),
        ({"text": '{"lines": 3}'}, "bad_output", {"lines": 3}, "$.lines: expected array, got integer"),
        ({"text": "none here"}, "invalid_json", "none here", "no JSON: the text holds no list or object in JSON"),
        ({"value": None}, "bad_output", None, "$: expected object, got null"),
    ],
)
async def test_bad(inputs, code, value, error):
    with pytest.raises(BadOutput) as caught:
        await check({"schema": SCHEMA}, **inputs)
    assert (caught.value.code, caught.value.value, caught.value.errors) == (code, value, (error,))
    assert caught.value.message == error
    ports = await check({"schema": SCHEMA, "if_bad": "pass"}, **inputs)
    assert ports == {"value": value, "ok": False, "errors": [error], "repaired": False}


def rules(**given):
    return lambda names: {name: truth(names["value"]) for name, truth in given.items()}


async def test_a_false_rule_adds_its_words():
    held = rules(short=lambda v: len(v) < 3, named=lambda v: v != "", upper=lambda v: v.isupper())
    with pytest.raises(BadOutput, match="short; upper") as caught:
        await check(text="abcd", rules=held)
    assert (caught.value.errors, caught.value.value) == (("short", "upper"), "abcd")
    assert (await check(text="AB", rules=held))["ok"] is True


async def test_rules_wait_for_the_schema():
    def never(names):
        raise AssertionError

    with pytest.raises(BadOutput, match="expected object"):
        await check({"schema": SCHEMA}, value=3, rules=never)


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({"a": 5, "b": [1, 2]}, ()),
        ({"a": 1, "b": [1]}, ("a is small", "b is long")),
        ({"a": 1}, ("a is small", "b is long (the rule cannot be read on this value: ")),
        ({"b": []}, ("a is small (the rule cannot be read on this value: ", "b is long")),
        (
            {"a": 5, "b": [1, 2], "c": 3},
            ("c is there (the rule gives 3, which is neither true nor false)",),
        ),
        ({"a": 5, "b": [1, 2], "c": ""}, ("c is there",)),
    ],
)
async def test_every_rule_is_told_of_by_its_name(value, errors):
    written = {
        "a is small": "{{ value.a > 3 }}",
        "b is long": "{{ value.b | length > 1 }}",
        "c is there": "{{ value.c if 'c' in value else true }}",
    }
    slots = {name: parse_slot(source, lambda _: UNKNOWN, "", pytest.fail) for name, source in written.items()}
    ports = await check({"if_bad": "pass"}, value=value, rules=compile_evaluable(Late(slots, ("value",)))({}))
    assert len(ports["errors"]) == len(errors)
    assert all(found.startswith(error) for found, error in zip(ports["errors"], errors, strict=True))
    assert ports["ok"] == (errors == ())


@pytest.mark.parametrize(
    ("text", "repair", "value"),
    [
        ("{'lines': [{'amount': 1,}", True, GOOD),
        ("```json\n{lines: [{amount: 1}]\n```", True, GOOD),
        ("{'lines': [{'amount': 1,}", False, None),
        ("no braces at all", True, None),
    ],
)
async def test_repair_is_asked_for_and_recorded(text, repair, value):
    ports = await check({"schema": SCHEMA, "repair": repair, "if_bad": "pass"}, text=text)
    assert (ports["repaired"], ports["ok"]) == (value is not None, value is not None)
    assert ports["value"] == (text if value is None else value)


async def test_sound_json_is_never_repaired():
    ports = await check({"schema": SCHEMA, "repair": True, "if_bad": "pass"}, text='{"lines": 1}')
    assert (ports["repaired"], ports["value"]) == (False, {"lines": 1})


async def test_long_messages_are_cut_and_errors_are_whole():
    held = {f"rule {i} " + "x" * 50: False for i in range(100)}
    with pytest.raises(BadOutput) as caught:
        await check(value=1, rules=lambda names: held)
    assert len(caught.value.message) == 1000
    assert len(caught.value.errors) == 100


@pytest.mark.parametrize(
    ("inputs", "threads"), [({"text": '{"lines": []}'}, 0), ({"text": '{"lines": []}' + " " * 300_000}, 1)]
)
async def test_long_texts_are_read_in_a_thread(inputs, threads):
    used = []

    async def run(work):
        used.append(work)
        return work()

    await check({"schema": SCHEMA}, Scope(run_in_thread=run), **inputs)
    assert len(used) == threads
    assert validate.LARGE_TEXT < 300_000


@pytest.mark.parametrize(
    ("params", "inputs", "value"),
    [
        ({}, {"value": {"type": "integer"}}, {"type": "integer"}),
        ({}, {"text": {}}, {"type": "string"}),
        ({"schema": "schemas.a"}, {"text": {}}, {"type": "null"}),
        ({"schema": SCHEMA}, {"value": {}}, SCHEMA),
        ({"schema": SCHEMA, "if_bad": "pass"}, {"value": {}}, {}),
    ],
)
def test_the_type_of_the_value(params, inputs, value):
    ports = Validate.model_validate(params).output_ports(inputs, {"a": {"type": "null"}})
    assert ports["value"] == value
    assert set(ports) == {"value", "ok", "errors", "repaired"}


def test_contract():
    assert set(Validate.input_ports()) == {"value", "text"}
    assert set(Validate.held()) == {"rules"}
    assert Validate.late_names == {"rules": ("value",)}


@pytest.mark.parametrize("params", [{"schema": "rec"}, {"if_bad": "ignore"}, {"repair": "maybe"}])
def test_bad_parameters(params):
    with pytest.raises(ValidationError):
        Validate.model_validate(params)
