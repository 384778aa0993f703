"""What is sent: requests and quirks to the body."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.chat_completions import CompletionDecoder
from flowllm.backends.framing import Frame
from flowllm.backends.wire import check_quirks, find_wire
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Image, Message, Sampling, Text, Tool, ToolUse

USER = Message("user", (Text("hi"),))
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}


def body(quirks=None, model_quirks=None, **request):
    models = {"m": ModelCard("m", quirks=model_quirks or {})}
    wire = find_wire("openai_chat", ProviderCard("acme", quirks=quirks or {}, models=models))
    return orjson.loads(wire.encode(Chat(**{"model": "acme/m", "messages": (USER,)} | request)).body)


@pytest.mark.parametrize(
    ("request_", "sent"),
    [
        ({}, {}),
        ({"sampling": Sampling(0.0, 0.5, 10, ("x",), 7)},
         {"temperature": 0.0, "top_p": 0.5, "max_tokens": 10, "stop": ["x"], "seed": 7}),
        ({"reasoning": "low"}, {"reasoning_effort": "low"}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"extra": {"user": "u", "temperature": 2}}, {"user": "u", "temperature": 2}),
        ({"tools": (Tool("f", "does", {"type": "object"}), Tool("g"))}, {"tools": [
            {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "description": "does"}},
            {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}]}),
        ({"schema": CLOSED}, {"response_format": {
            "type": "json_schema", "json_schema": {"name": "answer", "schema": CLOSED, "strict": True}}}),
        ({"schema": OPEN}, {"response_format": {
            "type": "json_schema", "json_schema": {"name": "answer", "schema": OPEN, "strict": False}}}),
    ],
)  # fmt: skip
def test_a_request_becomes_a_body(request_, sent):
    assert body(**request_) == {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | sent


SAMPLED = {"sampling": Sampling(0.5, max_output_tokens=9, seed=1), "stream": True}


@pytest.mark.parametrize(
    ("quirks", "model_quirks", "sent", "not_sent"),
    [
        ({"rename": {"max_tokens": "max_completion_tokens"}}, {}, {"max_completion_tokens": 9}, {"max_tokens"}),
        ({"drop": ["seed"]}, {}, {"temperature": 0.5}, {"seed"}),
        ({"drop": ["seed"]}, {"drop": ["temperature"]}, {"seed": 1}, {"temperature"}),
        ({"stream_usage": "always"}, {}, {"stream": True}, {"stream_options"}),
    ],
)
def test_quirks_of_a_model_hold_over_those_of_its_provider(quirks, model_quirks, sent, not_sent):
    found = body(quirks, model_quirks, **SAMPLED)
    assert sent.items() <= found.items()
    assert not not_sent & found.keys()


@pytest.mark.parametrize(("structured", "format_"), [("json_object", {"type": "json_object"}), ("none", None)])
def test_a_weaker_provider_is_told_the_schema_in_words(structured, format_):
    found = body({"structured": structured, "system_role": "developer"}, schema=CLOSED)
    assert found.get("response_format") == format_
    assert found["messages"][0]["role"] == "developer"
    assert "JSON Schema" in found["messages"][0]["content"]


def test_messages_with_images_calls_and_results():
    messages = (
        Message("system", (Text("be brief"),)),
        Message(
            "user", (Text("look"), Image(url="https://x.example/a.png"), Image(media_type="image/png", data="QQ=="))
        ),
        Message("assistant", (), (ToolUse("f", "", "call_abc"),)),
        Message("tool", (Text("42"),), tool_call_id="call_abc"),
    )
    function = {"name": "f", "arguments": "{}"}
    assert body(messages=messages)["messages"] == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
        {"role": "assistant", "content": None,
         "tool_calls": [{"id": "call_abc", "type": "function", "function": function}]},
        {"role": "tool", "content": "42", "tool_call_id": "call_abc"},
    ]  # fmt: skip


def test_ids_of_other_providers_are_replaced_alike_in_call_and_result():
    messages = (Message("assistant", (), (ToolUse("f", "{}", "call_abc"),)), Message("tool", tool_call_id="call_abc"))
    sent = body({"tool_id": "nine"}, messages=messages)["messages"]
    identity = sent[0]["tool_calls"][0]["id"]
    assert (len(identity), identity.isalnum(), sent[1]["tool_call_id"]) == (9, True, identity)


def test_calls_that_came_without_ids_get_some():
    calls = Message("assistant", (), (ToolUse("f", "{}"), ToolUse("g", "{}")))
    results = [Message("tool", (Text(text),)) for text in "12"]
    called, *answered = body(messages=(calls, *results))["messages"]
    assert [call["id"] for call in called["tool_calls"]] == [one["tool_call_id"] for one in answered]
    assert len({one["tool_call_id"] for one in answered}) == 2


@pytest.mark.parametrize(
    ("wires", "quirks", "problems"),
    [
        (["openai_chat"], {"drop": ["seed"]}, 0),
        (["openai_chat", "openai_embeddings"], {"encoding": "base64", "drop": []}, 0),
        (["openai_chat"], {"encoding": "base64"}, 1),
        (["openai_chat"], {"drop": "seed", "nonsense": 1}, 2),
        (["morse", "openai_chat"], {}, 1),
        (["../x"], {}, 1),
    ],
)
def test_the_vocabulary_of_quirks_is_closed(wires, quirks, problems):
    assert len(check_quirks(wires, quirks)) == problems


WORDS = [
    *("choices", "delta", "message", "content", "tool_calls", "function", "arguments"),
    *("usage", "model", "finish_reason", "index", "error", "id", "name", "text"),
]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(WORDS),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


MESSAGES = JSON.map(lambda found: {"choices": [{"delta": found, "message": found}]})


@given(JSON | MESSAGES, st.booleans())
def test_any_json_gives_deltas_or_a_typed_failure(data, whole):
    decoder = CompletionDecoder()
    try:
        list(decoder.feed(Frame(orjson.dumps(data), whole=whole)))
        list(decoder.finish())
    except ProviderFailure:
        return
