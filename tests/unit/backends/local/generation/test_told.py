import math

import orjson
import pytest

from flowllm.backends.local.generation.told import (
    delta_of,
    failure_of,
    request_of,
    told_delta,
    told_failure,
)
from flowllm.core.delta import Finish, Logprobs, Meta, Reasoning, Text, Token, ToolCall, Usage
from flowllm.core.errors import BadOutput, NodeFailure, ProviderFailure, SetupError, UsageError
from flowllm.core.request import Chat, Image, Message, Sampling, Thought, Tool, ToolUse
from flowllm.core.request import Text as Words


def sent(value):
    """A value as it comes out of the pipe."""
    return orjson.loads(orjson.dumps(value))


FULL = Chat(
    "local/m",
    (
        Message("system", (Words("a"), Words("b", "5m"))),
        Message("user", (Image(media_type="image/png", data="AA=="), Words("x"))),
        Message("assistant", (), (ToolUse("f", "{}", "1", "s"),), thoughts=(Thought("t", "s"),)),
        Message("tool", (Words("no"),), tool_call_id="1", failed=True),
    ),
    Sampling(0.5, 1.0, 9, ("a", "b"), 7, 2),
    {"type": "object", "properties": {"n": {"enum": [1, None, 2.5]}}},
    ("yes", "no"),
    (Tool("f", "does", {"type": "object"}),),
    "low",
    {"top_k": 4, "deep": [{"a": [1]}]},
    stream=True,
    tool_choice="auto",
    parallel_tool_calls=False,
)


@pytest.mark.parametrize("request_", [FULL, Chat("local/m", ())])
def test_requests_come_as_they_went(request_):
    assert request_of(sent(request_)) == request_


DELTAS = [
    Text("é\u2028"),
    Reasoning("t", "s"),
    ToolCall(1, "id", "f", '{"a":'),
    Usage(input=3, output=4, classes={"image": 2}),
    Finish("stop", "stop"),
    Finish(),
    Meta(model="m"),
    Logprobs((Token("a", -0.5, (("a", -0.5), ("b", -math.inf))), Token("b", -1.0))),
]


@pytest.mark.parametrize("delta", DELTAS)
def test_deltas_come_as_they_went(delta):
    assert delta_of(sent(told_delta(delta))) == delta


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        "Text",
        ["Text"],
        ["Text", "x"],
        ["Text", {"text": 1}],
        ["Text", {"text": "a", "more": 1}],
        ["Text", {}],
        ["Process", {}],
        ["Usage", {"input": "many"}],
        ["Usage", {"classes": []}],
        ["Logprobs", {"tokens": [{"text": "a", "logprob": "b"}]}],
        ["Logprobs", {"tokens": [{"text": "a", "logprob": 1.0, "top": [["a"]]}]}],
    ],
)
def test_what_is_no_delta_is_refused(told):
    with pytest.raises(ValueError):  # noqa: PT011  any words will do
        delta_of(told)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ProviderFailure("context_too_long", "m", hint="h"), ProviderFailure, "context_too_long"),
        (SetupError("capability_mismatch", "m", hint="h"), SetupError, "capability_mismatch"),
        (NodeFailure("internal", "m", hint="h"), NodeFailure, "internal"),
        (BadOutput("m", code="invalid_json", hint="h"), BadOutput, "invalid_json"),
        (UsageError("bad_value", "m", hint="h"), NodeFailure, "bad_value"),
    ],
)
def test_failures_come_as_they_went(error, kind, code):
    found = failure_of(sent(told_failure(error)), "local/m")
    assert (type(found), found.code, found.message, found.hint) == (kind, code, "m", "h")


def test_a_failure_of_no_known_code_is_one_all_the_same():
    found = failure_of({"error": 7, "code": ["x"], "kind": {}}, "local/m")
    assert (type(found), found.code, found.message) == (NodeFailure, "node_failed", "7")
