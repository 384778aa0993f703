"""Answers of every other wire, written by hand after documented shapes; they always run, cut at every byte."""

import json

import pytest

from tests.wire.replay import WIRES, cuttings, differences

USAGE_A = {"input_tokens": 5, "cache_read_input_tokens": 2, "cache_creation_input_tokens": 1, "output_tokens": 1}
USAGE_R = {"input_tokens": 5, "input_tokens_details": {"cached_tokens": 2}, "output_tokens": 3,
           "output_tokens_details": {"reasoning_tokens": 1}}  # fmt: skip
USAGE_G = {"promptTokenCount": 5, "candidatesTokenCount": 2, "thoughtsTokenCount": 1, "cachedContentTokenCount": 2}
COUNTED = {"usage.input": 5, "usage.output": 3}


def sse(*events, end="\n", named=True) -> bytes:
    lines = [
        (f"event: {event['type']}{end}" if named and "type" in event else "") + f"data: {json.dumps(event)}{end}{end}"
        for event in events
    ]
    return "".join(lines).encode()


def lines(*events) -> bytes:
    return "".join(json.dumps(event) + "\n" for event in events).encode()


def array(*events) -> bytes:
    return ("[" + "\n,\r\n".join(json.dumps(event, indent=1) for event in events) + "\n]\n").encode()


def body(data) -> bytes:
    return json.dumps(data).encode()


def tool(name, arguments, identity=None, **more):
    return {"name": name, "arguments": arguments, "id": identity} | more


def begun(**usage):
    return {"type": "message_start", "message": {"type": "message", "model": "m", "content": [], "usage": usage}}


def block(index, **content):
    return {"type": "content_block_start", "index": index, "content_block": content}


def more(index, kind, **delta):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def ended(raw, **usage):
    return {"type": "message_delta", "delta": {"stop_reason": raw}, "usage": usage}


STOP = {"type": "message_stop"}
PING = {"type": "ping"}
ANTHROPIC = {
    "text in pieces, counts overwritten and never added": (
        sse(begun(**USAGE_A), PING, block(0, type="text", text=""), more(0, "text_delta", text="Hé"),
            more(0, "text_delta", text="llo"), ended("end_turn", output_tokens=3), STOP),
        {"text": "Héllo", "model": "m", "finish": "stop", "finish_raw": "end_turn", "usage.input": 8,
         "usage.output": 3, "usage.cached_input": 2, "usage.cache_write": 1},
    ),
    "thinking, then two calls, one without arguments": (
        sse(begun(), block(0, type="thinking", thinking="", signature=""), more(0, "thinking_delta", thinking="hm"),
            more(0, "signature_delta", signature="S"), block(1, type="tool_use", id="x", name="f", input={}),
            more(1, "input_json_delta", partial_json=""), more(1, "input_json_delta", partial_json='{"a":'),
            more(1, "input_json_delta", partial_json="1}"), block(2, type="tool_use", id="y", name="g", input={}),
            ended("tool_use"), STOP),
        {"reasoning": "hm", "tool_calls": [tool("f", {"a": 1}, "x"), tool("g", {}, "y")], "finish": "tool_calls"},
    ),
    "calls that the provider carries out are left out": (
        sse(begun(), block(0, type="server_tool_use", id="s", name="web_search", input={}),
            more(0, "input_json_delta", partial_json='{"q":1}'), block(1, type="text", text="a"),
            more(1, "citations_delta", citation={}), ended("end_turn"), STOP, end="\r\n"),
        {"text": "a", "tool_calls": [], "citations": 1, "finish": "stop"},
    ),
    "a whole message": (
        body({"type": "message", "model": "m", "content": [
            {"type": "redacted_thinking", "data": "D"}, {"type": "text", "text": "a", "citations": [{}, {}]},
            {"type": "tool_use", "id": "x", "name": "f", "input": {"a": 1}}], "stop_reason": "tool_use",
            "usage": USAGE_A | {"output_tokens_details": {"thinking_tokens": 1}}}),
        {"text": "a", "reasoning": None, "citations": 2, "tool_calls": [tool("f", {"a": 1}, "x")],
         "usage.input": 8, "usage.reasoning": 1},
    ),
    "no end mark of its own, no names of events": (
        sse(begun(), more(0, "text_delta", text="a"), ended("max_tokens"), named=False),
        {"text": "a", "finish": "length", "finish_raw": "max_tokens"},
    ),
}  # fmt: skip


def item(kind, index, **of):
    return {"type": f"response.output_item.{kind}", "output_index": index, "item": of}


def piece(kind, index, delta):
    return {"type": f"response.{kind}.delta", "output_index": index, "item_id": f"i{index}", "delta": delta}


def response(kind="completed", **of):
    return {"type": f"response.{kind}", "response": {"model": "m", "status": kind, "output": [], **of}}


REASONED = {"type": "reasoning", "id": "i0", "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "E"}  # fmt: skip
SAID = {"type": "message", "content": [{"type": "output_text", "text": "ab", "annotations": [{}]}]}
CALLED = {"type": "function_call", "id": "fc", "call_id": "x", "name": "f", "arguments": '{"a":1}'}
RESPONSES = {
    "thinking, text and a call in pieces": (
        sse(response("created"), piece("reasoning_summary_text", 0, "hm"), item("done", 0, **REASONED),
            piece("output_text", 1, "a"), piece("output_text", 1, "b"), item("done", 1, **SAID),
            item("added", 2, **CALLED | {"arguments": ""}), piece("function_call_arguments", 2, '{"a"'),
            piece("function_call_arguments", 2, ":1}"), item("done", 2, **CALLED),
            response(usage=USAGE_R, output=[REASONED, SAID, CALLED])),
        {"text": "ab", "reasoning": "hm", "tool_calls": [tool("f", {"a": 1}, "x")], "finish": "tool_calls",
         "finish_raw": "completed", "citations": 1, "model": "m", **COUNTED, "usage.cached_input": 2,
         "usage.reasoning": 1},
    ),
    "complete items alone": (
        sse(item("done", 0, **SAID), item("done", 1, **CALLED), response()),
        {"text": "ab", "tool_calls": [tool("f", {"a": 1}, "x")]},
    ),
    "a whole response": (
        body({"object": "response", "model": "m", "status": "completed", "error": None,
              "output": [REASONED, {"type": "web_search_call", "id": "w"}, SAID, CALLED], "usage": USAGE_R}),
        {"text": "ab", "reasoning": "hm", "tool_calls": [tool("f", {"a": 1}, "x")], **COUNTED},
    ),
    "a free-form call": (
        sse(item("added", 0, type="custom_tool_call", call_id="x", name="f"),
            piece("custom_tool_call_input", 0, "SELECT "), piece("custom_tool_call_input", 0, "1"), response()),
        {"tool_calls": [tool("f", None, "x", input="SELECT 1")]},
    ),
    "cut short": (
        sse(piece("output_text", 0, "a"), response("incomplete", incomplete_details={"reason": "max_output_tokens"})),
        {"text": "a", "finish": "length", "finish_raw": "max_output_tokens"},
    ),
    "a refusal": (
        sse(piece("refusal", 0, "No"), piece("refusal", 0, "."), response()),
        {"text": "No.", "finish": "stop"},
    ),
    "thinking as content where there is no summary": (
        sse(piece("reasoning_text", 0, "h"), piece("reasoning_text", 0, "m"), response()),
        {"reasoning": "hm", "text": ""},
    ),
}  # fmt: skip


def candidate(*parts, raw=None, **more_of):
    told = {"content": {"role": "model", "parts": list(parts)}, "index": 0, **({"finishReason": raw} if raw else {})}
    return {"candidates": [told], "modelVersion": "m", "usageMetadata": USAGE_G, **more_of}


def function(name=None, **of):
    return {"functionCall": ({"name": name} if name else {}) | of}


def at(path, going_on=False, **value):
    return {"jsonPath": path, **value, **({"willContinue": True} if going_on else {})}


GEMINI_EVENTS = [candidate({"text": "hm", "thought": True}), candidate({"text": "Hé"}),
                 candidate({"text": "llo", "thoughtSignature": "S"}, raw="STOP")]  # fmt: skip
GEMINI_TEXT = {"text": "Héllo", "reasoning": "hm", "finish": "stop", "finish_raw": "STOP", "model": "m", **COUNTED,
               "usage.cached_input": 2, "usage.reasoning": 1}  # fmt: skip
GEMINI = {
    "events": (sse(*GEMINI_EVENTS, end="\r\n"), GEMINI_TEXT),
    "one growing array": (array(*GEMINI_EVENTS), GEMINI_TEXT),
    "one body with two calls, with and without an id": (
        body(candidate(function("f", args={"a": 1}), function("g", id="y"), raw="STOP")),
        {"tool_calls": [tool("f", {"a": 1}), tool("g", {}, "y")], "finish": "tool_calls", "finish_raw": "STOP"},
    ),
    "arguments at paths": (
        sse(candidate(function("f", willContinue=True)),
            candidate(function(partialArgs=[at("$.a.b[1]", True, stringValue="x")], willContinue=True)),
            candidate(function(partialArgs=[at("$.a.b[1]", stringValue="y"), at("$['c d']", numberValue=2)],
                               willContinue=True)),
            candidate(function()), candidate(function("g", willContinue=True)), candidate({"text": ""}, raw="STOP")),
        {"tool_calls": [tool("f", {"a": {"b": [None, "xy"]}, "c d": 2}), tool("g", {})], "finish": "tool_calls"},
    ),
    "a prompt that is refused": (
        body({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 5}}),
        {"text": "", "finish": "content_filter", "finish_raw": "SAFETY", "usage.input": 5, "usage.output": None},
    ),
    "a call that the model got wrong is no stop": (
        body(candidate(raw="MALFORMED_FUNCTION_CALL")), {"finish": "error", "finish_raw": "MALFORMED_FUNCTION_CALL"},
    ),
}  # fmt: skip
OLLAMA_END = {"done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 3}
OLLAMA_CALL = {"function": {"name": "f", "arguments": {"a": 1}}}
OLLAMA = {
    "lines with thinking": (
        lines({"model": "m", "message": {"thinking": "hm"}}, {"model": "m", "message": {"content": "Hé"}},
              {"message": {"content": "llo"}}, {"message": {"content": ""}, **OLLAMA_END}),
        {"text": "Héllo", "reasoning": "hm", "finish": "stop", "model": "m", **COUNTED},
    ),
    "calls that come whole, without ids": (
        lines({"message": {"tool_calls": [OLLAMA_CALL]}}, {"message": {"tool_calls": [OLLAMA_CALL | {"id": "y"}]}},
              {"message": {}, **OLLAMA_END}),
        {"tool_calls": [tool("f", {"a": 1}), tool("f", {"a": 1}, "y")], "finish": "tool_calls", "finish_raw": "stop"},
    ),
    "one line without counts": (
        lines({"message": {"content": "a"}, "done": True, "done_reason": "length"}),
        {"text": "a", "finish": "length", "usage": None},
    ),
    "a completion of a bare prompt": (lines({"response": "a"}, {"response": "", **OLLAMA_END}), {"text": "a"}),
}  # fmt: skip


def cohere(kind, index=0, **message):
    return {"type": kind, "index": index, "delta": {"message": message}}


COHERE_END = {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {
    "billed_units": {"input_tokens": 1, "output_tokens": 1}, "cached_tokens": 2,
    "tokens": {"input_tokens": 5, "output_tokens": 3.0, "reasoning_tokens": 1}}}}  # fmt: skip
COHERE = {
    "text, thinking, a citation": (
        sse({"type": "message-start", "delta": {"message": {"content": []}}},
            cohere("content-delta", content={"thinking": "hm"}), cohere("content-start", content={"text": "Hé"}),
            cohere("content-delta", content={"text": "llo"}), cohere("citation-start", citations={"start": 0}),
            COHERE_END) + b"data: [DONE]\n\n",
        {"text": "Héllo", "reasoning": "hm", "citations": 1, "finish": "stop", "finish_raw": "COMPLETE", **COUNTED,
         "usage.cached_input": 2, "usage.reasoning": 1},
    ),
    "a plan and two calls, one with nothing": (
        sse(cohere("tool-plan-delta", tool_plan="I will."),
            cohere("tool-call-start", tool_calls={"id": "x", "function": {"name": "f", "arguments": ""}}),
            cohere("tool-call-delta", tool_calls={"function": {"arguments": '{"a"'}}),
            cohere("tool-call-delta", tool_calls={"function": {"arguments": ":1}"}}),
            cohere("tool-call-start", 1, tool_calls={"id": "y", "function": {"name": "g", "arguments": "null"}}),
            {"type": "message-end", "delta": {"finish_reason": "TOOL_CALL"}}),
        {"reasoning": "I will.", "tool_calls": [tool("f", {"a": 1}, "x"), tool("g", {}, "y")],
         "finish": "tool_calls", "usage": None},
    ),
    "one body": (
        body({"id": "i", "finish_reason": "MAX_TOKENS", "message": {"content": [{"type": "text", "text": "a"}],
              "citations": [{}]}, "usage": COHERE_END["delta"]["usage"]}),
        {"text": "a", "finish": "length", "citations": 1, **COUNTED},
    ),
}  # fmt: skip
CHATS = {
    "anthropic-messages": ANTHROPIC,
    "openai-responses": RESPONSES,
    "gemini-generate": GEMINI,
    "ollama-native": OLLAMA,
    "cohere-chat-v2": COHERE,
}


def case_of(protocol, expected, kind="chat", status=200, **headers):
    response_ = {"status": status, "headers": headers}
    return {"protocol": protocol, "stream": True, "response": response_, "expected": {"kind": kind, **expected}}


@pytest.mark.parametrize(("protocol", "name"), [(protocol, name) for protocol in CHATS for name in CHATS[protocol]])
def test_an_answer_folds_to_what_it_must_however_it_is_cut(protocol, name):
    data, expected = CHATS[protocol][name]
    for chunks in cuttings(data, name):
        assert differences(case_of(protocol, expected), chunks) == {}


@pytest.mark.parametrize(
    ("protocol", "data", "indexes", "usage"),
    [
        ("cohere-rerank-v2", {"results": [{"index": 1, "relevance_score": 0.5}, {"index": 0, "relevance_score": 0.1}],
                              "meta": {"billed_units": {"search_units": 1}}}, [1, 0], {"usage": None}),
        ("voyage-rerank", {"data": [{"index": 0, "relevance_score": 0.5}, {"index": 1, "relevance_score": 0.1}],
                           "usage": {"total_tokens": 7}}, [0, 1], {"usage.input": 7}),
        ("openai-like-rerank", [{"index": 0, "score": 0.1}, {"index": 1, "score": 0.5}], [1, 0], {"usage": None}),
    ],
)  # fmt: skip
def test_ranks_of_every_dialect(protocol, data, indexes, usage):
    expected = {"indexes": indexes, "scores": [0.5, 0.1], **usage}
    for chunks in cuttings(body(data), protocol):
        assert differences(case_of(protocol, expected, "rerank"), chunks) == {}


@pytest.mark.parametrize(
    ("protocol", "data", "usage"),
    [
        ("gemini-embed", {"embeddings": [{"values": [1, 2]}], "usageMetadata": {"promptTokenCount": 7}}, 7),
        ("gemini-embed", {"embedding": {"values": [1, 2]}}, None),
        ("cohere-embed-v2", {"embeddings": {"float": [[1, 2]]}, "meta": {"billed_units": {"input_tokens": 7}}}, 7),
        ("ollama-native", {"model": "m", "embeddings": [[1, 2]], "prompt_eval_count": 7}, 7),
    ],
)
def test_vectors_of_every_format(protocol, data, usage):
    expected = {"count": 1, "dimensions": 2, "first": [1.0, 2.0], **({"usage.input": usage} if usage else {})}
    assert differences(case_of(protocol, expected, "embeddings"), [body(data)]) == {}


def error(kind, message, **of):
    return {"error": {"message": message, **({"type": kind} if kind else {}), **of}}


# Documented shapes and statuses; rows with a status of 500 or more were never recorded by anybody we know of.
ERRORS = [
    ("anthropic-messages", 401, {"type": "error"} | error("authentication_error", "no"), "auth"),
    ("anthropic-messages", 403, {"type": "error"} | error("permission_error", "no"), "permission"),
    ("anthropic-messages", 413, {"type": "error"} | error("request_too_large", "no"), "bad_request"),
    ("anthropic-messages", 400, {"type": "error"} | error("invalid_request_error", "prompt is too long: 9 > 8"),
     "context_too_long"),
    ("anthropic-messages", 400, {"type": "error"} | error("invalid_request_error", "Your credit balance is too low"),
     "quota"),
    ("anthropic-messages", 429, {"type": "error"} | error("rate_limit_error", "slow"), "rate_limited"),
    ("anthropic-messages", 500, {"type": "error"} | error("api_error", "oh"), "server_error"),
    ("anthropic-messages", 529, {"type": "error"} | error("overloaded_error", "busy"), "overloaded"),
    ("openai-responses", 400, error("invalid_request_error", "no such", code="model_not_found"), "not_found"),
    ("openai-responses", 429, error("insufficient_quota", "pay", code="insufficient_quota"), "quota"),
    ("openai-responses", 503, error("server_error", "busy"), "server_error"),
    ("gemini-generate", 400, error(None, "API key expired.", code=400, status="INVALID_ARGUMENT",
                                   details=[{"reason": "API_KEY_INVALID"}]), "auth"),
    ("gemini-generate", 400, [error(None, "bad", code=400, status="INVALID_ARGUMENT")], "bad_request"),
    ("gemini-generate", 403, error(None, "no", code=403, status="PERMISSION_DENIED"), "permission"),
    ("gemini-generate", 503, error(None, "busy", code=503, status="UNAVAILABLE"), "overloaded"),
    ("gemini-generate", 500, error(None, "oh", code=500, status="INTERNAL"), "server_error"),
    ("ollama-native", 404, {"error": "model 'x' not found"}, "not_found"),
    ("ollama-native", 500, {"error": "out of memory"}, "server_error"),
    ("cohere-chat-v2", 401, {"id": "i", "message": "invalid api token"}, "auth"),
    ("cohere-chat-v2", 429, {"message": "slow down"}, "rate_limited"),
    ("cohere-chat-v2", 422, {"message": "bad field"}, "bad_request"),
    ("voyage-rerank", 401, {"detail": "Provided API key is invalid."}, "auth"),
    ("openai-like-rerank", 413, {"error": "too many inputs", "error_type": "Validation"}, "bad_request"),
    ("openai-like-rerank", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, "overloaded"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "status", "data", "code"), ERRORS)
def test_what_an_error_means(protocol, status, data, code):
    expected = {"status": status, "class": code}
    assert differences(case_of(protocol, expected, "error", status), [body(data)]) == {}


INSIDE = [
    ("anthropic-messages", sse(begun(), more(0, "text_delta", text="a"),
                               {"type": "error"} | error("overloaded_error", "busy")), "overloaded"),
    ("openai-responses", sse(piece("output_text", 0, "a"),
                             {"type": "error", "code": "server_error", "message": "busy"}), "server_error"),
    ("openai-responses", sse(piece("output_text", 0, "a"), response("failed", error={"code": "rate_limit_exceeded",
                                                                                      "message": "busy"})),
     "rate_limited"),
    ("gemini-generate", sse(candidate({"text": "a"}), error(None, "busy", code=503, status="UNAVAILABLE")),
     "overloaded"),
    ("gemini-generate", array(candidate({"text": "a"}), error(None, "busy", code=503, status="UNAVAILABLE")),
     "overloaded"),
    ("ollama-native", lines({"message": {"content": "a"}}, {"error": "busy"}), "server_error"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "data", "code"), INSIDE)
def test_an_error_inside_an_answer_keeps_the_text_so_far(protocol, data, code):
    expected = {"class": code, "message": "busy", "partial_text": "a"}
    for chunks in cuttings(data, code):
        assert differences(case_of(protocol, expected, "error"), chunks) == {}


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("anthropic-messages", sse(begun(), more(0, "text_delta", text="a"))),
        ("openai-responses", sse(response("created"), piece("output_text", 0, "a"))),
        ("gemini-generate", sse(candidate({"text": "a"}))),
        ("gemini-generate", array(candidate({"text": "a"}), candidate({"text": "b"}, raw="STOP"))[:-40]),
        ("ollama-native", lines({"message": {"content": "a"}})),
        ("cohere-chat-v2", sse(cohere("content-delta", content={"text": "a"}))),
    ],
)
def test_an_answer_without_its_end_was_interrupted(protocol, data):
    expected = {"class": "stream_interrupted", "partial_text": "a"}
    assert differences(case_of(protocol, expected, "error"), [data]) == {}


NONSENSE = [b"{", b"[1]", b'{"a": 1}', b'"text"', b"data: {\n\n", b"data: [1]\n\n", b"<html>", b'data: {"type": 1}\n\n',
            b'data: {"type": "content_block_delta"}\n\n', b'{"candidates": 7}', b'{"message": 7, "response": 8}',
            b'{"output": 5}', b'{"content": 5}', b'{"embeddings": 5}', b'{"results": [5]}',
            b'{"results": [{"index": 99, "score": 1}]}']  # fmt: skip


@pytest.mark.parametrize("data", NONSENSE)
@pytest.mark.parametrize("protocol", WIRES)
def test_nonsense_is_a_failure_and_never_an_accident(protocol, data):
    wanted = {"class": ""}
    ((found, _),) = differences(case_of(protocol, wanted, "error"), [data]).values()
    assert found in {"invalid_response", "stream_interrupted", "empty_response", "server_error"}
