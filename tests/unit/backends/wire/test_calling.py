"""How tools are to be called, failed results and marks of what is kept, in the words of every format."""

import orjson
import pytest

from flowllm.backends.calling import LOGPROBS, ONE_CALL, UNSAID
from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Image, Message, Sampling, Text, Thought, Tool, ToolUse

USER = Message("user", (Text("hi"),))
TOOLS = (Tool("f"), Tool("g"))
ACT = (USER, Message("assistant", (), (ToolUse("f", "{}", "x"),)))
REFUSED = "refused"
NAMES = {"bedrock_converse": "anthropic.claude-x", "bedrock_invoke": "anthropic.claude-x"}


def body(wire, quirks=None, messages=(USER,), **more):
    request = Chat(f"acme/{NAMES.get(wire, 'm')}", messages, **more)
    return orjson.loads(find_wire(wire, ProviderCard("acme", quirks=quirks or {})).encode(request).body)


TEMPLATE = {"templates": {"chat": {"path": "/x", "body": {"messages": "{messages}", "tools": "{tools}",
            "parallel_tool_calls": "{parallel_tool_calls}"}, "text": "answer.text"}}}  # fmt: skip
SPOKEN = ("openai_chat", "openai_responses", "anthropic_messages", "bedrock_converse", "cohere_v2", "gemini_generate",
          "ollama_native")  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "quirks"),
    [*((wire, {}) for wire in SPOKEN), ("watsonx", {"api": "chat"}), ("http_template", TEMPLATE)],
)
@pytest.mark.parametrize(
    ("said", "more"),
    [
        (LOGPROBS, {"sampling": Sampling(logprobs=0)}),
        (ONE_CALL, {"tools": TOOLS, "parallel_tool_calls": False}),
    ],
)
def test_what_is_told_to_be_unsaid_is_what_encoders_refuse(wire, quirks, said, more):
    if said not in UNSAID.get(wire, ()):
        assert body(wire, quirks, **more)
        return
    with pytest.raises(ProviderFailure, match=f"cannot say `{said}`"):
        body(wire, quirks, **more)


def found(told, path):
    """What stands at the end of a dotted path, None where it leads nowhere."""
    for word in path.split("."):
        told = told.get(word) if isinstance(told, dict) else None
    return told


CHOICES = [
    ("openai_chat", "tool_choice", "auto", "none", "required", {"type": "function", "function": {"name": "g"}}),
    ("openai_responses", "tool_choice", "auto", "none", "required", {"type": "function", "name": "g"}),
    ("anthropic_messages", "tool_choice", {"type": "auto"}, {"type": "none"}, {"type": "any"},
     {"type": "tool", "name": "g"}),
    ("bedrock_invoke", "tool_choice", {"type": "auto"}, {"type": "none"}, {"type": "any"},
     {"type": "tool", "name": "g"}),
    ("bedrock_converse", "toolConfig.toolChoice", {"auto": {}}, None, {"any": {}}, {"tool": {"name": "g"}}),
    ("gemini_generate", "toolConfig.functionCallingConfig", {"mode": "AUTO"}, {"mode": "NONE"}, {"mode": "ANY"},
     {"mode": "ANY", "allowedFunctionNames": ["g"]}),
    ("cohere_v2", "tool_choice", None, "NONE", "REQUIRED", "REQUIRED"),
    ("watsonx", "tool_choice_option", "auto", "none", "required", None),
    ("watsonx", "tool_choice", None, None, None, {"type": "function", "function": {"name": "g"}}),
    ("ollama_native", "tool_choice", None, None, REFUSED, REFUSED),
]  # fmt: skip


@pytest.mark.parametrize(("wire", "path", "auto", "none", "required", "named"), CHOICES)
def test_which_tool_is_to_be_called(wire, path, auto, none, required, named):
    assert found(body(wire, tools=TOOLS), path) is None
    assert found(body(wire, tool_choice="required"), path) is None, "no tools are offered"
    for choice, told in (("auto", auto), ("none", none), ("required", required), ("g", named)):
        if told is not REFUSED:
            assert found(body(wire, tools=TOOLS, tool_choice=choice), path) == told
            continue
        with pytest.raises(ProviderFailure, match=f"cannot say `tool_choice: {choice}`") as caught:
            body(wire, tools=TOOLS, tool_choice=choice)
        assert caught.value.code == "bad_request"


def test_formats_without_a_word_offer_other_tools():
    assert [t["function"]["name"] for t in body("cohere_v2", tools=TOOLS, tool_choice="g")["tools"]] == ["g"]
    assert "tools" not in body("ollama_native", tools=TOOLS, tool_choice="none")
    assert "toolConfig" not in body("bedrock_converse", tools=TOOLS, tool_choice="none")
    with pytest.raises(ProviderFailure, match="cannot say `tool_choice: none` after calls"):
        body("bedrock_converse", messages=ACT, tools=TOOLS, tool_choice="none")


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (None, {"any": {}}),
        ("auto", {"any": {}}),
        ("g", {"tool": {"name": "g"}}),
        ("none", {"tool": {"name": "answer"}}),
    ],
)
def test_a_shape_that_a_tool_gives_leaves_the_choice_of_others(choice, told):
    asked = {"schema": {"type": "object"}, "tools": TOOLS, "tool_choice": choice}
    assert found(body("bedrock_converse", {"structured": "tool"}, **asked), "toolConfig.toolChoice") == told


@pytest.mark.parametrize(
    ("wire", "path", "told"),
    [
        ("openai_chat", "parallel_tool_calls", False),
        ("openai_responses", "parallel_tool_calls", False),
        ("anthropic_messages", "tool_choice", {"type": "auto", "disable_parallel_tool_use": True}),
        ("bedrock_converse", "", REFUSED),
        ("gemini_generate", "", REFUSED),
        ("cohere_v2", "", REFUSED),
        ("watsonx", "", REFUSED),
        ("ollama_native", "", REFUSED),
    ],
)
def test_one_call_at_a_time(wire, path, told):
    if told is REFUSED:
        assert body(wire, tools=TOOLS, parallel_tool_calls=True) == body(wire, tools=TOOLS)
        with pytest.raises(ProviderFailure, match="cannot say `parallel_tool_calls: false`"):
            body(wire, tools=TOOLS, parallel_tool_calls=False)
    else:
        assert found(body(wire, tools=TOOLS, parallel_tool_calls=False), path) == told
    assert body(wire, parallel_tool_calls=False) == body(wire), "no tools are offered"


def test_anthropic_is_told_both_in_one_word():
    told = body("anthropic_messages", tools=TOOLS, tool_choice="g", parallel_tool_calls=False)["tool_choice"]
    assert told == {"type": "tool", "name": "g", "disable_parallel_tool_use": True}
    told = body("anthropic_messages", tools=TOOLS, tool_choice="none", parallel_tool_calls=False)["tool_choice"]
    assert told == {"type": "none"}


TEMPLATE = {"chat": {"path": "/", "body": {"m": "{messages}", "t": "{tools}", "c": "{tool_choice}"},
                     "text": "answer.text"}}  # fmt: skip


def test_a_template_has_a_place_for_it_or_refuses_it():
    asked = {"tools": TOOLS, "tool_choice": "required"}
    assert body("http_template", {"templates": TEMPLATE}, **asked)["c"] == "required"
    placeless = {"chat": TEMPLATE["chat"] | {"body": {"m": "{messages}", "t": "{tools}"}}}
    with pytest.raises(ProviderFailure, match="cannot say `tool_choice: required`"):
        body("http_template", {"templates": placeless}, **asked)
    with pytest.raises(ProviderFailure, match="cannot say `parallel_tool_calls: false`"):
        body("http_template", {"templates": placeless}, tools=TOOLS, parallel_tool_calls=False)


FAILED = (*ACT, Message("tool", (Text("no such place"),), tool_call_id="x", failed=True))


@pytest.mark.parametrize(
    ("wire", "last", "result"),
    [
        ("anthropic_messages", lambda told: told["messages"][-1]["content"][0],
         {"type": "tool_result", "tool_use_id": "x", "is_error": True,
          "content": [{"type": "text", "text": "no such place"}]}),
        ("bedrock_converse", lambda told: told["messages"][-1]["content"][0]["toolResult"],
         {"toolUseId": "x", "status": "error", "content": [{"text": "no such place"}]}),
        ("gemini_generate", lambda told: told["contents"][-1]["parts"][0]["functionResponse"],
         {"name": "f", "id": "x", "response": {"error": "no such place"}}),
        ("openai_chat", lambda told: told["messages"][-1],
         {"role": "tool", "content": "no such place", "tool_call_id": "x"}),
    ],
)  # fmt: skip
def test_the_result_of_a_tool_that_failed(wire, last, result):
    assert last(body(wire, messages=FAILED)) == result


MARK, HOUR = {"type": "ephemeral"}, {"type": "ephemeral", "ttl": "1h"}
POINT = {"cachePoint": {"type": "default"}}
KEEPING = (
    Message("system", (Text("rules", "1h"), Text("more"))),
    Message("user", (Text("book", "5m"), Text("question"))),
    Message("assistant", (), (ToolUse("f", "{}", "x"),)),
    Message("tool", (Text("1", "5m"),), tool_call_id="x"),
)
KEPT = {"messages": KEEPING, "tools": (Tool("f"), Tool("g", prompt_cache="1h"))}


def test_marks_for_anthropic():
    told = body("anthropic_messages", {"cache": "prefix"}, **KEPT)
    assert [tool.get("cache_control") for tool in told["tools"]] == [None, HOUR]
    assert told["system"] == [
        {"type": "text", "text": "rules", "cache_control": HOUR},
        {"type": "text", "text": "more"},
    ]
    assert [block.get("cache_control") for block in told["messages"][0]["content"]] == [MARK, None]
    assert told["messages"][2]["content"][0]["content"] == [{"type": "text", "text": "1", "cache_control": MARK}]
    assert orjson.dumps(told).count(b"cache_control") == 4, "the marks of a request stand for those of the provider"


def test_marks_for_converse():
    told = body("bedrock_converse", {"cache": "prefix"}, **KEPT)
    hour = {"cachePoint": {"type": "default", "ttl": "1h"}}
    assert told["toolConfig"]["tools"][-1] == hour
    assert told["system"] == [{"text": "rules"}, hour, {"text": "more"}]
    assert told["messages"][0]["content"] == [{"text": "book"}, POINT, {"text": "question"}]
    assert told["messages"][2]["content"][1:] == [POINT]
    assert orjson.dumps(told).count(b"cachePoint") == 4


@pytest.mark.parametrize(
    ("wire", "quirk", "last", "parts"),
    [
        ("openai_chat", "cache_control", "messages", [
            {"type": "text", "text": "book", "cache_control": MARK}, {"type": "text", "text": "question"}]),
        ("openai_chat", "none", "messages", "bookquestion"),
        ("openai_responses", "breakpoint", "input", [
            {"type": "input_text", "text": "book", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_text", "text": "question"}]),
        ("openai_responses", "none", "input", "bookquestion"),
    ],
)  # fmt: skip
def test_marks_where_a_provider_has_a_word_for_them(wire, quirk, last, parts):
    assert body(wire, {"prompt_cache": quirk}, messages=KEEPING[1:2])[last][0]["content"] == parts


@pytest.mark.parametrize(
    "wire", ["openai_chat", "openai_responses", "gemini_generate", "ollama_native", "cohere_v2", "watsonx"]
)
def test_others_ignore_marks(wire):
    def plain(message):
        return Message(message.role, tuple(Text(part.text) for part in message.parts), message.tool_calls,
                       message.tool_call_id)  # fmt: skip

    assert body(wire, **KEPT) == body(wire, messages=tuple(map(plain, KEEPING)), tools=TOOLS)


THOUGHTS = (Thought("hm"), Thought("sealed", "S", format="anthropic_messages"))
TURNS = (
    USER,
    Message("assistant", (Text("a"),), thoughts=THOUGHTS),
    USER,
    Message("assistant", (), (ToolUse("f", "{}", "x"),), thoughts=THOUGHTS),
    Message("tool", (Text("1"),), tool_call_id="x"),
)


@pytest.mark.parametrize(
    ("quirks", "name", "told"),
    [
        ({}, "reasoning_content", [None, None]),
        ({"thoughts": "calls"}, "reasoning_content", [None, "hm"]),
        ({"thoughts": "all"}, "reasoning_content", ["hm", "hm"]),
        ({"thoughts": "calls", "reasoning_field": "musing"}, "musing", [None, "hm"]),
    ],
)
def test_thoughts_go_back_as_the_provider_wants_them(quirks, name, told):
    turns = body("openai_chat", quirks, messages=TURNS)["messages"]
    assert [turn.get(name) for turn in turns if turn["role"] == "assistant"] == told
    after = body("openai_chat", quirks, messages=(*TURNS, USER))["messages"]
    assert (after[3].get(name) is None) is (quirks.get("thoughts") != "all"), "the user has spoken since"


def test_an_image_can_be_marked():
    image = Image(media_type="image/png", data="QQ==", prompt_cache="5m")
    told = body("anthropic_messages", messages=(Message("user", (image,)),))["messages"][0]["content"][0]
    assert (told["type"], told["cache_control"]) == ("image", MARK)
