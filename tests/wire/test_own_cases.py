"""Answers written by hand after documented shapes, for what no recording holds; they always run."""

import orjson
import pytest

from tests.wire.replay import cuttings, differences

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
COUNTED = {"usage.input": 5, "usage.output": 3}


def events(*chunks, end="\n", done=True, comment=False) -> bytes:
    lines = [f": keep-alive{end}{end}"] if comment else []
    lines += [f"data: {orjson.dumps(chunk).decode()}{end}{end}" for chunk in chunks]
    return ("".join(lines) + (f"data: [DONE]{end}{end}" if done else "")).encode()


def piece(finish=None, **delta):
    return {"model": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def call(index, arguments, **more):
    function = {"arguments": arguments} | ({"name": more.pop("name")} if "name" in more else {})
    return ({} if index is None else {"index": index}) | {"function": function} | more


def whole(finish="stop", **message):
    return orjson.dumps({"model": "m", "choices": [{"index": 0, "message": message, "finish_reason": finish}]})


def tool(name, arguments, identity=None):
    return {"name": name, "arguments": arguments, "id": identity}


CASES = {
    "text in pieces, usage last": (
        events(piece(role="assistant", content=""), piece(content="Hé"), piece(content="llo"), piece("stop"),
               {"choices": [], "usage": USAGE}),
        {"text": "Héllo", "finish": "stop", "model": "m", "tool_calls": [], **COUNTED},
    ),
    "carriage returns, comments, no [DONE]": (
        events(piece(content="a"), piece("length"), end="\r\n", done=False, comment=True),
        {"text": "a", "finish": "length", "finish_raw": "length"},
    ),
    "usage in every chunk is never added": (
        events(piece(content="a") | {"usage": {"prompt_tokens": 5, "completion_tokens": 1}},
               piece(content="b") | {"usage": {"prompt_tokens": 5, "completion_tokens": 3}},
               piece("stop")),
        {"text": "ab", **COUNTED},
    ),
    "prompt filter results first": (
        events({"model": "", "choices": [], "prompt_filter_results": [{}]}, piece(content="a"), piece("stop")),
        {"text": "a", "model": "m"},
    ),
    "a refusal beside text is left out": (
        events(piece(content="a"), piece(refusal="no"), piece("stop")),
        {"text": "a"},
    ),
    "other choices are left out": (
        events(piece(content="a"), {"choices": [{"index": 1, "delta": {"content": "b"}}]}, piece("stop")),
        {"text": "a"},
    ),
    "two calls in pieces, interleaved": (
        events(piece(tool_calls=[call(0, "", id="x", name="f"), call(1, "", id="y", name="g")]),
               piece(tool_calls=[call(1, '{"b"')]), piece(tool_calls=[call(0, '{"a":1}')]),
               piece(tool_calls=[call(1, ":2}")]), piece("tool_calls")),
        {"tool_calls": [tool("f", {"a": 1}, "x"), tool("g", {"b": 2}, "y")], "finish": "tool_calls"},
    ),
    "two calls under one index": (
        events(piece(tool_calls=[call(0, "{}", id="x", name="f")]), piece(tool_calls=[call(0, "{}", id="y", name="g")]),
               piece("stop")),
        {"tool_calls": [tool("f", {}, "x"), tool("g", {}, "y")], "finish": "tool_calls", "finish_raw": "stop"},
    ),
    "calls without an index": (
        events(piece(tool_calls=[call(None, "{}", id="x", name="f")]),
               piece(tool_calls=[call(None, "{}", id="y", name="g")]), piece("tool_calls")),
        {"tool_calls": [tool("f", {}, "x"), tool("g", {}, "y")]},
    ),
    "arguments before the name": (
        events(piece(tool_calls=[call(0, '{"a"')]),
               piece(tool_calls=[call(0, ":1}", name="f", id="x")]), piece("stop")),
        {"tool_calls": [tool("f", {"a": 1}, "x")]},
    ),
    "a call without a name is none": (
        events(piece(content="a", tool_calls=[call(0, "{}", name="")]), piece("stop")),
        {"tool_calls": [], "finish": "stop"},
    ),
    "arguments as an object": (
        whole("tool_calls", content=None, tool_calls=[{"id": "x", "function": {"name": "f", "arguments": {"a": 1}}}]),
        {"tool_calls": [tool("f", {"a": 1}, "x")], "text": ""},
    ),
    "the older function_call": (
        whole("function_call", content=None, function_call={"name": "f", "arguments": "{}"}),
        {"tool_calls": [tool("f", {})], "finish": "tool_calls"},
    ),
    "thinking beside the text": (
        events(piece(reasoning_content="hm"), piece(reasoning="m"), piece(content="a"), piece("stop")),
        {"reasoning": "hmm", "text": "a"},
    ),
    "thinking said twice counts once": (
        whole(content="a", reasoning="hm", reasoning_details=[{"text": "hm"}]),
        {"reasoning": "hm", "text": "a"},
    ),
    "content in parts": (
        whole(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                       {"type": "text", "text": "a"}, "b"]),
        {"reasoning": "hm", "text": "ab"},
    ),
    "a refusal in pieces": (
        events(piece(refusal="I "), piece(refusal="cannot."), piece("stop")),
        {"text": "I cannot.", "finish": "stop"},
    ),
    "an unknown end": (whole("because", content="a"), {"finish": "other", "finish_raw": "because"}),
    "no end in a whole body": (whole(None, content="a"), {"finish": None, "text": "a"}),
    "thinking counted beside the answer": (
        events(piece("stop", content="a") | {"usage": {
            "prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 31,
            "completion_tokens_details": {"reasoning_tokens": 20}}}),
        {"usage.output": 21, "usage.reasoning": 20},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_answer_folds_to_what_it_must_however_it_is_cut(name):
    body, expected = CASES[name]
    case = {
        "protocol": "openai-chat",
        "response": {"status": 200, "headers": {}},
        "expected": {"kind": "chat", **expected},
    }
    for chunks in cuttings(body, name):
        assert differences(case, chunks) == {}


def test_the_comparison_can_fail():
    body, expected = CASES["two calls in pieces, interleaved"]
    case = {"protocol": "openai-chat", "response": {"status": 200, "headers": {}}}
    wrong = {"kind": "chat", **expected, "finish": "stop", "text": "x"}
    assert differences(case | {"expected": wrong}, [body]).keys() == {"finish", "text"}
