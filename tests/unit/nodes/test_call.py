"""What a call sends, what it gives, and what it refuses."""

from dataclasses import asdict

import pytest
from pydantic import ValidationError

from flowllm.core.delta import Finish, Logprobs, Meta, Reasoning, Restart, Text, Token, ToolCall, Usage
from flowllm.core.errors import BadOutput, Failure
from flowllm.core.event import DeltaReceived
from flowllm.core.request import Image, Sampling, Tool
from flowllm.core.scope import Scope
from flowllm.nodes.call import Call

HI = [{"role": "user", "content": "hi"}]
SCHEMA = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}


WHY = {"text": "why", "signature": "", "id": "", "sealed": False, "format": ""}


class Model:
    """Answers with deltas and keeps what it was asked."""

    def __init__(self, *deltas):
        self.deltas = deltas
        self.requests = []
        self.closed = 0

    async def __call__(self, request, scope):
        self.requests.append(request)
        try:
            for delta in self.deltas:
                if isinstance(delta, Exception):
                    raise delta
                yield delta
        finally:
            self.closed += 1


async def ask(deltas, params=None, **inputs):
    model = Model(*deltas)
    inputs = inputs or {"prompt": HI}
    ports = await Call.model_validate(params or {}).run(scope=Scope(call=model), model="acme/m", **inputs)
    return ports, model.requests[0]


async def test_ports_of_a_plain_answer():
    deltas = [Meta(model="m-2"), Text("a"), Reasoning("why"), Text("b"), Usage(input=3, output=2), Finish("stop")]
    ports, request = await ask(deltas)
    assert ports == {
        "text": "ab",
        "messages": [*HI, {"role": "assistant", "content": "ab", "thoughts": [WHY]}],
        "tool_calls": [],
        "reasoning": "why",
        "usage": asdict(Usage(input=3, output=2)),
        "finish": "stop",
        "model": "acme/m",
    }
    assert (request.model, request.stream, request.schema) == ("acme/m", True, None)


@pytest.mark.parametrize(
    ("deltas", "rows"),
    [
        ((), None),
        ((Logprobs(()),), []),
        (
            (Logprobs((Token("a", -0.5, (("a", -0.5), ("b", -1.0))),)), Logprobs((Token("b", -2.0),))),
            [
                {
                    "token": "a",
                    "logprob": -0.5,
                    "top": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.0}],
                },
                {"token": "b", "logprob": -2.0, "top": []},
            ],
        ),
        (
            (Logprobs((Token("x", 0.0),)), Restart(), Logprobs((Token("y", 0.0),))),
            [{"token": "y", "logprob": 0, "top": []}],
        ),
    ],
)
async def test_log_probabilities_are_a_port_where_they_are_asked_for(deltas, rows):
    ports, request = await ask([*deltas, Text("ab"), Finish("stop")], {"logprobs": 2})
    assert ports["logprobs"] == rows
    assert request.sampling.logprobs == 2
    unasked, _ = await ask([*deltas, Text("ab"), Finish("stop")])
    assert "logprobs" not in unasked
    assert "logprobs" in Call(logprobs=0).output_ports({}, {})
    assert "logprobs" not in Call().output_ports({}, {})


async def test_without_news_of_model_and_usage():
    ports, _ = await ask([Text("a")])
    assert (ports["model"], ports["usage"], ports["finish"], ports["reasoning"]) == ("acme/m", None, None, None)


async def test_parameters_reach_the_request():
    params = {
        "temperature": 0.5, "top_p": 0.9, "max_output_tokens": 7, "stop": "END", "seed": 1, "reasoning": "low",
        "tools": [{"name": "look", "description": "d", "parameters": {"type": "object"}}], "extra": {"x": 1},
    }  # fmt: skip
    _, request = await ask([Text("a")], params)
    assert request.sampling == Sampling(0.5, 0.9, 7, ("END",), 1)
    assert request.tools == (Tool("look", "d", {"type": "object"}),)
    assert (request.reasoning, request.extra) == ("low", {"x": 1})


async def test_how_tools_are_called_reaches_the_request():
    tools = [{"name": "look", "prompt_cache": "1h"}]
    _, request = await ask([Text("a")], {"tools": tools, "tool_choice": "look", "parallel_tool_calls": False})
    assert (request.tool_choice, request.parallel_tool_calls) == ("look", False)
    assert request.tools[0].prompt_cache == "1h"


async def test_marks_and_failed_results_reach_the_request_and_the_port():
    asked = [
        {"role": "user", "content": [{"text": "book", "prompt_cache": "5m"}, {"text": "why"}]},
        {"role": "tool", "content": "no", "tool_call_id": "x", "failed": True},
    ]
    ports, request = await ask([Text("a")], None, messages=asked)
    assert [part.prompt_cache for part in request.messages[0].parts] == ["5m", ""]
    assert (request.messages[0].failed, request.messages[1].failed) == (False, True)
    assert ports["messages"][:2] == asked


def roles(request):
    return " ".join(f"{m.role}:{m.text}" for m in request.messages)


SYSTEM, ASK = {"role": "system", "content": "s"}, {"role": "user", "content": "q"}


@pytest.mark.parametrize(
    ("params", "inputs", "expected"),
    [
        ({}, {"prompt": [SYSTEM, ASK]}, "system:s user:q"),
        ({}, {"messages": HI}, "user:hi"),
        ({}, {"prompt": [SYSTEM, ASK], "messages": HI}, "system:s user:hi user:q"),
        ({"choices": ["a", "b"]}, {"prompt": [SYSTEM, ASK]}, "system:s system:Answer with exactly one of: a, b user:q"),
        ({"choices": ["a", "b"]}, {"prompt": HI}, "system:Answer with exactly one of: a, b user:hi"),
    ],
)
async def test_messages_sent(params, inputs, expected):
    _, request = await ask([Text("a")], params, **inputs)
    assert roles(request) == expected


async def test_nothing_to_send_fails():
    with pytest.raises(Failure, match="no message to send"):
        await ask([Text("a")], None, prompt=[])


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        ("https://example.org/a.png", (Image(url="https://example.org/a.png"),)),
        ("data:image/png;base64,AAAA", (Image(media_type="image/png", data="AAAA"),)),
        ({"media_type": "image/webp", "data": "BB"}, (Image(media_type="image/webp", data="BB"),)),
        (
            ["https://a.example/1", {"url": "https://a.example/2"}],
            (Image("https://a.example/1"), Image("https://a.example/2")),
        ),
        (None, ()),
        ([], ()),
    ],
)
async def test_images_join_the_last_user_message(images, expected):
    _, request = await ask(
        [Text("a")], None, prompt=[ASK, {"role": "assistant", "content": "x"}, ASK, SYSTEM], images=images
    )
    assert request.messages[2].parts[1:] == expected
    assert all(len(m.parts) == 1 for i, m in enumerate(request.messages) if i != 2)


@pytest.mark.parametrize(
    "image", ["http://example.org/a", "file:///etc/passwd", "/etc/passwd", "data:text/html;base64,AA", 3, {}]
)
async def test_other_images_are_refused(image):
    with pytest.raises(Failure, match="an image is"):
        await ask([Text("a")], None, prompt=HI, images=image)


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("complaint", "complaint"),
        ("Complaint.", "complaint"),
        ('"INVOICE"\n', "invoice"),
        ("**C++**", "C++"),
        (" c ", "C"),
    ],
)
async def test_choice(said, choice):
    ports, request = await ask([Text(said)], {"choices": ["invoice", "complaint", "C", "C++"]})
    assert ports["choice"] == choice
    assert request.schema is None


@pytest.mark.parametrize("said", ["", "neither", "invoice or complaint", "not invoice", "invoices"])
async def test_another_answer_than_a_choice_is_bad_output(said):
    with pytest.raises(BadOutput, match="none of the choices invoice, complaint") as caught:
        await ask([Text(said)], {"choices": ["invoice", "complaint"]})
    assert (caught.value.code, caught.value.value) == ("bad_output", said)


@pytest.mark.parametrize("said", ['{"n": 1}', 'Here:\n```json\n{"n": 1}\n```', 'Using {} I get {"n": 1}.'])
async def test_value(said):
    ports, request = await ask([Text(said)], {"schema": SCHEMA})
    assert ports["value"] == {"n": 1}
    assert request.schema == SCHEMA


@pytest.mark.parametrize(
    ("said", "finish", "code", "value", "words"),
    [
        ("no", "stop", "invalid_json", "no", "the answer is not JSON: the text holds no list or object"),
        ('{"n": 1, "n": 2}', "stop", "invalid_json", '{"n": 1, "n": 2}', "twice"),
        ('{"n": "x"}', "stop", "bad_output", {"n": "x"}, "$.n: expected integer, got string"),
        ('{"n": 1', "length", "bad_output", '{"n": 1', "cut at max_output_tokens before its JSON ended"),
    ],
)
async def test_bad_values(said, finish, code, value, words):
    with pytest.raises(BadOutput) as caught:
        await ask([Text(said), Finish(finish)], {"schema": SCHEMA})
    assert words in caught.value.message
    assert (caught.value.code, caught.value.value) == (code, value)


FILLED = "the end of the model's window of 1,096 tokens"
LARGER = "a shorter prompt or a model with a larger window"


@pytest.mark.parametrize(
    ("deltas", "place", "hint"),
    [
        ([Finish("length")], "max_output_tokens", "max_output_tokens: 8192"),
        ([Usage(1_000, 96), Finish("length", "max_tokens")], "max_output_tokens", "max_output_tokens: 8192"),
        ([Usage(1_000, 96), Finish("length", "window")], FILLED, LARGER),
        ([Finish("length", "model_context_window_exceeded")], "the end of the model's window", LARGER),
    ],
)
@pytest.mark.parametrize(
    ("params", "what"),
    [({"schema": SCHEMA}, "its JSON ended"), ({"choices": ["invoice", "complaint"]}, "a choice ended")],
)
async def test_what_a_cut_answer_lacked(deltas, place, hint, params, what):
    with pytest.raises(BadOutput) as caught:
        await ask([Text("comp"), *deltas], params)
    assert caught.value.message == f"the answer was cut at {place} before {what}"
    assert (caught.value.hint, caught.value.value) == (hint, "comp")


async def test_an_answer_that_was_cut_where_the_node_says_may_be_twice_as_long():
    with pytest.raises(BadOutput) as caught:
        await ask([Text("comp"), Finish("length")], {"schema": SCHEMA, "max_output_tokens": 20})
    assert caught.value.hint == "max_output_tokens: 40"


async def test_a_choice_that_came_whole_is_one_though_the_answer_was_cut():
    ports, _ = await ask([Text("complaint"), Finish("length")], {"choices": ["invoice", "complaint"]})
    assert ports["choice"] == "complaint"


async def test_tool_calls_stand_in_place_of_a_value():
    tools = [{"name": "look"}]
    deltas = [ToolCall(0, "id1", "look", '{"a"'), ToolCall(0, arguments=": 1}"), Finish("tool_calls")]
    ports, _ = await ask(deltas, {"schema": SCHEMA, "tools": tools})
    assert ports["tool_calls"] == [{"id": "id1", "name": "look", "arguments": '{"a": 1}'}]
    assert ports["messages"][-1]["tool_calls"] == ports["tool_calls"]
    assert "value" not in ports


async def test_deltas_are_shown_as_they_come():
    events = []
    model = Model(Text("a"), Restart("other"), Text("b"))
    ports = await Call().run(scope=Scope("ask", events.append, model), model="m", prompt=HI)
    assert ports["text"] == "b"
    assert [(type(e), e.address, e.delta) for e in events] == [(DeltaReceived, "ask", d) for d in model.deltas]
    events.clear()
    await Call().run(scope=Scope("ask", events.append, model, streamed=False), model="m", prompt=HI)
    assert events == []


async def test_the_stream_is_closed_when_the_reader_fails():
    model = Model(Text("a"), Text("b"))

    def fail(event):
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await Call().run(scope=Scope(emit=fail, call=model), model="m", prompt=HI)
    assert model.closed == 1


@pytest.mark.parametrize(
    ("params", "inputs", "ports"),
    [
        ({}, {}, {"value": None, "choice": None}),
        ({"schema": SCHEMA}, {}, {"value": SCHEMA, "choice": None}),
        ({"schema": "schemas.rec"}, {}, {"value": {"type": "null"}}),
        ({"choices": ["a"]}, {}, {"choice": {"type": "string", "enum": ["a"]}, "value": None}),
    ],
)
def test_output_ports(params, inputs, ports):
    found = Call.model_validate(params).output_ports(inputs, {"rec": {"type": "null"}})
    assert {name: found.get(name) for name in ports} == ports
    assert {"text", "messages", "tool_calls", "reasoning", "usage", "cost", "finish", "model"} <= set(found)


def test_input_ports():
    assert set(Call.input_ports()) == {"messages"}


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 3}, {"temperature": "hot"}, {"top_p": 0}, {"max_output_tokens": 0}, {"temperatur": 1},
        {"choices": ["a", "A."]}, {"choices": ["a", ""]}, {"reasoning": "huge"}, {"tools": [{"name": "a b"}]},
        {"schema": "rec"}, {"schema": 3}, {"tool_choice": "look"}, {"tool_choice": "g", "tools": [{"name": "f"}]},
        {"tools": [{"name": "f", "prompt_cache": "2m"}]}, {"stop": [""]}, {"stop": ""},
    ],
)  # fmt: skip
def test_bad_parameters(params):
    with pytest.raises(ValidationError):
        Call.model_validate(params)


@pytest.mark.parametrize(
    ("finish", "remedies"),
    [
        (Finish("length"), ["max_output_tokens: 8192"]),
        (Finish("length", "window"), [LARGER]),
        (Finish("stop"), []),
        (None, []),
    ],
)
async def test_an_answer_that_was_cut_is_told_of(finish, remedies):
    told = []
    model = Model(Text("a"), *([finish] if finish else []))
    scope = Scope(address="ask", call=model, emit=told.append, streamed=False)
    await Call().run(scope=scope, model="acme/m", prompt=HI)
    assert [(one.address, one.code) for one in told] == [("ask", "answer_cut")] * len(remedies)
    assert all(one.message.endswith(f"; {words} lets it be longer") for one, words in zip(told, remedies, strict=True))
