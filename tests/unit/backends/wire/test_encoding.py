"""What is sent in the formats beside chat completions: requests and quirks to the body."""

import orjson
import pytest

from flowllm.backends.wire import find_wire
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Sampling, Text, Thought, Tool, ToolUse

WIRES = ("anthropic_messages", "openai_responses", "gemini_generate", "ollama_native", "cohere_v2")
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "string"}}}
PIXEL = Image(media_type="image/png", data="QUJD")
INLINE = Image(url="data:image/png;base64,QUJD")
REMOTE = Image(url="https://x.example/a.png")


def said(role, *parts, **more):
    return Message(role, tuple(Text(p) if isinstance(p, str) else p for p in parts), **more)


USER = said("user", "hi")
CALLS = (ToolUse("f", '{"a":1}', "x", "S1"), ToolUse("g", "", "y"))
# System, image, thinking with its seal, two calls in one turn with their results, and a question.
HISTORY = (
    said("system", "be kind"),
    said("user", "look", PIXEL),
    said("assistant", "so", tool_calls=CALLS, thoughts=(Thought("hm", "S", "t1"), Thought("", "D", sealed=True),
                                                      Thought("unsealed"), Thought("", "F", format="foreign"))),
    said("tool", "1", tool_call_id="x"),
    said("tool", '{"b":2}', tool_call_id="y"),
    said("user", "and?"),
)  # fmt: skip


def encoded(wire, request=None, quirks=None, model_quirks=None, **more):
    models = {"m": ModelCard("m", quirks=model_quirks or {})}
    card = ProviderCard("acme", quirks=quirks or {}, models=models)
    request = request or Chat(**{"model": "acme/m", "messages": (USER,)} | more)
    return find_wire(wire, card).encode(request)


def body(wire, *of, **more):
    return orjson.loads(encoded(wire, *of, **more).body)


def test_history_for_anthropic():
    told = body("anthropic_messages", messages=HISTORY)
    assert told["system"] == "be kind"
    assert told["messages"] == [
        {"role": "user", "content": [
            {"type": "text", "text": "look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QUJD"}}]},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "S"},
            {"type": "redacted_thinking", "data": "D"},
            {"type": "text", "text": "so"},
            {"type": "tool_use", "id": "x", "name": "f", "input": {"a": 1}},
            {"type": "tool_use", "id": "y", "name": "g", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "1"}]},
            {"type": "tool_result", "tool_use_id": "y", "content": [{"type": "text", "text": '{"b":2}'}]},
            {"type": "text", "text": "and?"}]},
    ]  # fmt: skip


def test_history_for_responses():
    told = body("openai_responses", messages=HISTORY)
    assert told["instructions"] == "be kind"
    assert told["input"] == [
        {"role": "user", "content": [
            {"type": "input_text", "text": "look"},
            {"type": "input_image", "image_url": "data:image/png;base64,QUJD", "detail": "auto"}]},
        {"type": "reasoning", "id": "t1", "summary": [{"type": "summary_text", "text": "hm"}],
         "encrypted_content": "S"},
        {"type": "reasoning", "summary": [], "encrypted_content": "D"},
        {"role": "assistant", "content": "so"},
        {"type": "function_call", "call_id": "x", "name": "f", "arguments": '{"a":1}'},
        {"type": "function_call", "call_id": "y", "name": "g", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "x", "output": "1"},
        {"type": "function_call_output", "call_id": "y", "output": '{"b":2}'},
        {"role": "user", "content": "and?"},
    ]  # fmt: skip


def test_history_for_gemini():
    told = body("gemini_generate", messages=HISTORY)
    assert told["systemInstruction"] == {"parts": [{"text": "be kind"}]}
    assert told["contents"][1] == {"role": "model", "parts": [
        {"text": "hm", "thought": True, "thoughtSignature": "S"},
        {"text": "", "thought": True, "thoughtSignature": "D"},
        {"text": "so"},
        {"functionCall": {"name": "f", "args": {"a": 1}, "id": "x"}, "thoughtSignature": "S1"},
        {"functionCall": {"name": "g", "args": {}, "id": "y"}}]}  # fmt: skip
    assert told["contents"][2] == {"role": "user", "parts": [
        {"functionResponse": {"name": "f", "id": "x", "response": {"result": 1}}},
        {"functionResponse": {"name": "g", "id": "y", "response": {"b": 2}}},
        {"text": "and?"}]}  # fmt: skip
    assert told["contents"][0]["parts"][1] == {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}


def test_history_for_ollama():
    told = body("ollama_native", messages=HISTORY)["messages"]
    assert told[1] == {"role": "user", "content": "look", "images": ["QUJD"]}
    assert told[2]["tool_calls"][0] == {"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}
    assert told[2]["thinking"] == "hmunsealed"
    assert told[4] == {"role": "tool", "content": '{"b":2}', "tool_name": "g", "tool_call_id": "y"}


PLANNED = said("assistant", tool_calls=CALLS[:1], thoughts=(Thought("I will.", id="plan"),))


def test_history_for_cohere():
    told = body("cohere_v2", messages=(*HISTORY, PLANNED))["messages"]
    assert told[2]["content"][0] == {"type": "thinking", "thinking": "hm"}
    assert told[2]["tool_calls"][1] == {"id": "y", "type": "function", "function": {"name": "g", "arguments": "{}"}}
    assert told[3] == {"role": "tool", "content": "1", "tool_call_id": "x"}
    assert told[-1]["tool_plan"] == "I will."
    assert "content" not in told[-1]


SAMPLED = {"sampling": Sampling(0.5, 0.9, 99, ("x",), 7)}
TOOLS = {"tools": (Tool("f", "does", CLOSED), Tool("g"))}
EMPTY = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    ("wire", "request_", "sent"),
    [
        ("anthropic_messages", {}, {"max_tokens": 8192}),
        ("anthropic_messages", SAMPLED, {"max_tokens": 99, "temperature": 0.5, "top_p": 0.9, "stop_sequences": ["x"]}),
        ("anthropic_messages", TOOLS, {"tools": [
            {"name": "f", "description": "does", "input_schema": CLOSED}, {"name": "g", "input_schema": EMPTY}]}),
        ("anthropic_messages", {"schema": CLOSED}, {"output_config": {
            "format": {"type": "json_schema", "schema": CLOSED}}}),
        ("anthropic_messages", {"schema": OPEN}, {"system": "Answer with JSON alone, valid for this JSON Schema: "
                                                  + orjson.dumps(OPEN).decode()}),
        ("anthropic_messages", {"reasoning": "high"}, {"thinking": {"type": "adaptive"},
                                                       "output_config": {"effort": "high"}}),
        ("anthropic_messages", {"reasoning": "none"}, {"thinking": {"type": "disabled"}}),
        ("anthropic_messages", {"extra": {"top_k": 5}}, {"top_k": 5}),
        ("openai_responses", SAMPLED, {"max_output_tokens": 99, "temperature": 0.5, "top_p": 0.9, "store": False}),
        ("openai_responses", TOOLS, {"tools": [
            {"type": "function", "name": "f", "description": "does", "parameters": CLOSED, "strict": True},
            {"type": "function", "name": "g", "parameters": EMPTY, "strict": False}]}),
        ("openai_responses", {"schema": CLOSED, "extra": {"text": {"verbosity": "low"}}}, {"text": {
            "verbosity": "low",
            "format": {"type": "json_schema", "name": "answer", "schema": CLOSED, "strict": True}}}),
        ("openai_responses", {"reasoning": "low"}, {"reasoning": {"effort": "low"},
                                                    "include": ["reasoning.encrypted_content"]}),
        ("gemini_generate", SAMPLED | {"extra": {"generationConfig": {"topK": 5}}}, {"generationConfig": {
            "temperature": 0.5, "topP": 0.9, "maxOutputTokens": 99, "stopSequences": ["x"], "seed": 7, "topK": 5}}),
        ("gemini_generate", {"schema": OPEN}, {"generationConfig": {
            "responseMimeType": "application/json", "responseJsonSchema": OPEN}}),
        ("gemini_generate", TOOLS, {"tools": [{"functionDeclarations": [
            {"name": "f", "description": "does", "parametersJsonSchema": CLOSED}, {"name": "g"}]}]}),
        ("gemini_generate", {"reasoning": "low"}, {"generationConfig": {
            "thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2048}}}),
        ("gemini_generate", {"reasoning": "none"}, {"generationConfig": {
            "thinkingConfig": {"includeThoughts": False, "thinkingBudget": 0}}}),
        ("ollama_native", SAMPLED, {"options": {
            "temperature": 0.5, "top_p": 0.9, "num_predict": 99, "stop": ["x"], "seed": 7}, "stream": False}),
        ("ollama_native", {"schema": OPEN, "reasoning": "low"}, {"format": OPEN, "think": True}),
        ("cohere_v2", SAMPLED, {"temperature": 0.5, "p": 0.9, "max_tokens": 99, "stop_sequences": ["x"], "seed": 7}),
        ("cohere_v2", {"schema": OPEN}, {"response_format": {"type": "json_object", "json_schema": OPEN}}),
        ("cohere_v2", {"reasoning": "low"}, {"thinking": {"type": "enabled", "token_budget": 2048}}),
    ],
)  # fmt: skip
def test_a_request_becomes_a_body(wire, request_, sent):
    told = body(wire, **request_)
    assert {key: told.get(key) for key in sent} == sent


@pytest.mark.parametrize(
    ("wire", "quirks", "request_", "sent"),
    [
        ("anthropic_messages", {"thinking": "budget"},
         {"reasoning": "high", "sampling": Sampling(max_output_tokens=4096)},
         {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ("anthropic_messages", {"thinking": "none"}, {"reasoning": "high"}, {"thinking": None}),
        ("anthropic_messages", {"max_tokens": 100}, {}, {"max_tokens": 100}),
        ("anthropic_messages", {"drop": ["model"], "add": {"anthropic_version": "v"}}, {},
         {"model": None, "anthropic_version": "v"}),
        ("anthropic_messages", {"structured": "none"}, {"schema": CLOSED}, {"output_config": None}),
        ("openai_responses", {"drop": ["store"]}, {}, {"store": None}),
        ("openai_responses", {"structured": "json_object"}, {"schema": OPEN},
         {"text": {"format": {"type": "json_object"}}}),
        ("openai_responses", {"system": "item", "system_role": "developer"}, {"messages": HISTORY[:1]},
         {"input": [{"role": "developer", "content": "be kind"}], "instructions": None}),
        ("gemini_generate", {"thinking": "level"}, {"reasoning": "low"},
         {"generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "low"}}}),
        ("gemini_generate", {"drop": ["seed"], "rename": {"topP": "top_p"}}, {"sampling": Sampling(top_p=0.5, seed=1)},
         {"generationConfig": {"top_p": 0.5}}),
        ("ollama_native", {"num_ctx": 4096, "think": "level"}, {"reasoning": "high"},
         {"options": {"num_ctx": 4096}, "think": "high"}),
        ("cohere_v2", {"structured": "json_object"}, {"schema": OPEN}, {"response_format": {"type": "json_object"}}),
    ],
)  # fmt: skip
def test_quirks_hold_for_a_provider_and_for_a_model(wire, quirks, request_, sent):
    for given in ({"quirks": quirks}, {"model_quirks": quirks}):
        told = body(wire, **given, **request_)
        assert {key: told.get(key) for key in sent} == sent


@pytest.mark.parametrize(
    ("wire", "quirks", "path", "form"),
    [
        ("anthropic_messages", {}, "/messages", "whole"),
        ("anthropic_messages", {"path": "/{model}:raw", "stream_path": "/{model}:streamRaw"}, "/m:streamRaw", "whole"),
        ("openai_responses", {}, "/responses", "whole"),
        ("gemini_generate", {}, "/models/m:streamGenerateContent?alt=sse", "items"),
        ("gemini_generate", {"stream": "array"}, "/models/m:streamGenerateContent", "items"),
        ("ollama_native", {}, "/api/chat", "lines"),
        ("cohere_v2", {}, "/chat", "whole"),
    ],
)
def test_where_a_stream_is_asked_for(wire, quirks, path, form):
    parts = encoded(wire, quirks=quirks, stream=True)
    assert (parts.path, parts.json, parts.stream) == (path, form, True)


@pytest.mark.parametrize("wire", WIRES)
def test_an_image_inside_an_address_is_the_same_image(wire):
    assert body(wire, messages=(said("user", INLINE),)) == body(wire, messages=(said("user", PIXEL),))


def test_an_image_from_elsewhere():
    message = (said("user", REMOTE),)
    blocks = body("anthropic_messages", messages=message)["messages"][0]["content"]
    assert blocks == [{"type": "image", "source": {"type": "url", "url": REMOTE.url}}]
    with pytest.raises(ProviderFailure, match="as data and not from an address") as caught:
        encoded("ollama_native", messages=message)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize("wire", WIRES)
def test_results_without_ids_belong_to_the_calls_in_order(wire):
    turns = (USER, said("assistant", tool_calls=(ToolUse("f", "{}"), ToolUse("g", "{}"))),
             said("tool", "1"), said("tool", "2"))  # fmt: skip
    told = orjson.dumps(body(wire, messages=turns)).decode()
    for name, place in (("f", 0), ("g", 1)):
        identity = f"call_1_{place}"
        assert told.count(f'"{identity}"') == 2 or told.count(f'"{name}"') == 2, told


def test_ids_of_other_providers_are_made_fit_for_anthropic():
    turns = (USER, said("assistant", tool_calls=(ToolUse("f", "{}", "functions.f:0"),)),
             said("tool", "1", tool_call_id="functions.f:0"))  # fmt: skip
    told = body("anthropic_messages", messages=turns)["messages"]
    assert told[1]["content"][0]["id"] == told[2]["content"][0]["tool_use_id"] == "functions_f_0"


def test_marks_for_the_cache_of_anthropic():
    told = body("anthropic_messages", quirks={"cache": "prefix"}, messages=HISTORY, **TOOLS)
    mark = {"type": "ephemeral"}
    marked = [told["tools"][-1], told["system"][-1], told["messages"][-1]["content"][-1]]
    assert [block["cache_control"] for block in marked] == [mark] * 3
    assert orjson.dumps(told).count(b"cache_control") == 3


@pytest.mark.parametrize(
    ("wire", "request_", "path", "sent"),
    [
        ("gemini_embed", Embed("acme/m", ("a",), 8), "/models/m:batchEmbedContents",
         {"requests": [{"model": "models/m", "outputDimensionality": 8, "content": {"parts": [{"text": "a"}]}}]}),
        ("cohere_v2", Embed("acme/m", ("a",), None, {"input_type": "search_query"}), "/embed",
         {"model": "m", "texts": ["a"], "input_type": "search_query", "embedding_types": ["float"]}),
        ("ollama_native", Embed("acme/m", ("a",)), "/api/embed", {"model": "m", "input": ["a"]}),
        ("rerank", Rerank("acme/m", "q", ("a", "b"), 1), "/rerank",
         {"model": "m", "query": "q", "documents": ["a", "b"], "top_n": 1}),
    ],
)  # fmt: skip
def test_vectors_and_ranks_are_asked_for(wire, request_, path, sent):
    parts = encoded(wire, request_)
    assert (parts.path, orjson.loads(parts.body)) == (path, sent)


@pytest.mark.parametrize(
    ("wire", "request_", "quirks", "over", "expected"),
    [
        ("openai_embeddings", Embed("acme/m", ("a",)), {"encoding": "base64", "rename": {"input": "texts"}},
         {"encoding": "unsaid"}, {"model": "m", "texts": ["a"]}),
        ("rerank", Rerank("acme/m", "q", ("a",), k=1), {"top": "top_k", "rerank_add": {"a": 1}}, {"top": "unsaid"},
         {"model": "m", "query": "q", "documents": ["a"], "a": 1}),
        ("gemini_embed", Embed("acme/m", ("a",)), {"task_type": "A"}, {"task_type": "B"},
         {"requests": [{"model": "models/m", "taskType": "B", "content": {"parts": [{"text": "a"}]}}]}),
    ],
)  # fmt: skip
def test_what_a_model_does_differently_goes_before_what_its_provider_does(wire, request_, quirks, over, expected):
    assert body(wire, request_, quirks=quirks, model_quirks=over) == expected


def test_a_model_of_bedrock_has_its_own_address():
    told = body(
        "bedrock_rerank", Rerank("acme/m", "q", ("a",)), {"model_arn": "arn:a/{model}"}, {"model_arn": "arn:b/{model}"}
    )
    asked = told["rerankingConfiguration"]["bedrockRerankingConfiguration"]
    assert asked["modelConfiguration"]["modelArn"] == "arn:b/m"


@pytest.mark.parametrize(
    ("wire", "request_", "quirks", "read"),
    [
        ("openai_chat", Chat("acme/m", (USER,), stream=True, extra={"stream_options": {"more": 1}}), {},
         lambda told: told["stream_options"] == {"include_usage": True, "more": 1}),
        ("rerank", Rerank("acme/m", "q", ("a",), extra={"options": {"b": 2}}), {"rerank_add": {"options": {"a": 1}}},
         lambda told: told["options"] == {"a": 1, "b": 2}),
    ],
)  # fmt: skip
def test_extra_goes_into_mappings_of_the_body(wire, request_, quirks, read):
    assert read(body(wire, request_, quirks=quirks))
