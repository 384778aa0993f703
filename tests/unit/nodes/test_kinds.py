"""What every kind offers to the compiler and to the reference pages, and kinds made of functions."""

from typing import TypedDict

import pytest
from pydantic import ValidationError

from flowllm.core.kinds import Kinds
from flowllm.core.node import Holds, node_from_function
from flowllm.core.scope import Scope

KINDS = Kinds()
NAMES = [
    "cache",
    "call",
    "embed",
    "map",
    "pipeline",
    "prompt",
    "rerank",
    "retry",
    "route",
    "select",
    "split",
    "truncate",
    "validate",
]
CONTROLS = ["cache", "map", "pipeline", "retry", "route"]


def made(name):
    return KINDS.find(name).model_validate({"use": "./x.yaml"} if name == "pipeline" else {})


def test_every_kind_is_there():
    assert list(KINDS.names()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_kinds_can_be_documented(name):
    kind = KINDS.find(name)
    assert kind.__doc__
    assert all(field.description for field in kind.model_fields.values())
    assert kind.control == (name if name in CONTROLS else "")
    assert hasattr(kind, "run") == (name not in CONTROLS)


@pytest.mark.parametrize("name", NAMES)
def test_what_must_be_written_exists(name):
    kind = KINDS.find(name)
    known = {field.alias or key for key, field in kind.model_fields.items()} | set(kind.input_ports())
    assert {word for must in kind.must for word in must.split("|")} <= known


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_is_refused(name):
    with pytest.raises(ValidationError):
        KINDS.find(name).model_validate({"use": "./x.yaml", "no_such_field": 1})


@pytest.mark.parametrize(
    ("name", "held"),
    [
        ("route", {"switch": Holds.SLOT, "cases": Holds.LATE, "default": Holds.SLOT}),
        ("retry", {"of": Holds.SLOT, "until": Holds.SLOT, "problem": Holds.SLOT}),
        ("cache", {"of": Holds.SLOT, "key": Holds.SLOT}),
        ("map", {"over": Holds.SLOT, "of": Holds.SLOT}),
        ("pipeline", {}),
        ("prompt", {"text": Holds.TEMPLATE, "messages": Holds.PROMPT}),
        ("call", {"prompt": Holds.PROMPT, "images": Holds.SLOT}),
        ("validate", {"rules": Holds.LATE}),
        ("truncate", {}),
    ],
)
def test_evaluated_fields(name, held):
    assert KINDS.find(name).held() == held


NUMBER, TEXT = {"type": "number"}, {"type": "string"}


@pytest.mark.parametrize(
    ("name", "inputs", "expected"),
    [
        (
            "retry",
            {"of": NUMBER},
            {"value": NUMBER, "attempts": {"type": "integer"}, "problem": {"type": ["string", "null"]}},
        ),
        ("cache", {"of": NUMBER}, {"value": NUMBER, "hit": {"type": "boolean"}}),
        ("route", {"cases.a": NUMBER, "default": NUMBER, "switch": TEXT}, {"value": NUMBER, "case": TEXT}),
        ("route", {"cases.a": NUMBER, "default": TEXT}, {"value": {}, "case": TEXT}),
        ("route", {}, {"value": {}, "case": TEXT}),
        ("pipeline", {}, {}),
    ],
)
def test_ports_of_controls(name, inputs, expected):
    assert made(name).output_ports(inputs, {}) == expected


def test_ports_of_a_map():
    ports = made("map").output_ports({"of": NUMBER}, {})
    assert (set(ports), ports["items"]["items"]) == ({"items", "errors", "indexes"}, NUMBER)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("retry", {"attempts": 0}),
        ("retry", {"attempts": "many"}),
        ("map", {"at_once": 0}),
        ("map", {"keep_going": "maybe"}),
        ("cache", {"ttl": "a while"}),
        ("pipeline", {"use": ""}),
    ],
)
def test_bad_parameters_of_controls(name, params):
    with pytest.raises(ValidationError):
        KINDS.find(name).model_validate({**({"use": "./x"} if name == "pipeline" else {}), **params})


def test_yaml_names_that_python_lacks():
    assert KINDS.find("map").model_validate({"as": "row"}).name == "row"
    assert KINDS.find("cache").model_validate({"ttl": "7d"}).ttl == 7 * 86400


def test_changing_what_ports_returned_changes_nothing():
    node = made("prompt")
    node.output_ports({}, {}).clear()
    assert set(node.output_ports({}, {})) == {"text", "messages"}


class Counted(TypedDict):
    words: int
    text: str


def shout(text: str, *, mark: str = "!") -> str:
    """Say it loud."""
    return text.upper() + mark


def counted(text: str) -> Counted:
    return {"words": len(text.split()), "text": text}


async def later(text: str, scope: Scope) -> Counted:
    return {"words": len(scope.address), "text": text}


def test_a_function_that_returns_a_value():
    kind = node_from_function(shout)
    assert (kind.__name__, kind.__doc__) == ("shout", "Say it loud.")
    assert set(kind.input_ports()) == {"text"}
    assert kind.input_ports()["text"].required
    node = kind.model_validate({"mark": "?"})
    assert node.output_ports({}, {}) == {"value": {"type": "string"}}
    assert node.run(text="a") == {"value": "A?"}
    assert kind().run(text="a") == {"value": "A!"}
    with pytest.raises(ValidationError):
        kind.model_validate({"marc": "?"})


async def test_functions_with_ports():
    kind = node_from_function(counted, "count_words")
    assert kind.__name__ == "count_words"
    assert set(kind().output_ports({}, {})) == {"words", "text"}
    assert kind().run(text="a b") == {"words": 2, "text": "a b"}
    slow = node_from_function(later)
    assert set(slow.input_ports()) == {"text"}
    assert await slow().run(text="a", scope=Scope("ask")) == {"words": 3, "text": "a"}


def test_registered_functions_are_kinds():
    assert Kinds({"shout": node_from_function(shout)}).find("shout") is not None


async def lost(text: str) -> str:
    return text


def train(*texts: str) -> str:
    return ""


@pytest.mark.parametrize(("function", "words"), [(lost, "must return a TypedDict"), (train, "cannot be a port")])
def test_functions_that_cannot_be_kinds(function, words):
    with pytest.raises(TypeError, match=words):
        node_from_function(function)
