"""Answers of watsonx, Replicate, plain completions and templated servers, written by hand after documented shapes.

They always run, cut at every byte. No row with a status of 400 or more was recorded, but for Replicate's 401.
"""

import json

import pytest

from tests.wire.replay import cuttings, differences


def sse(*events, named="", end="\n") -> bytes:
    head = f"event: {named}{end}" if named else ""
    return "".join(
        f"id: {place}{end}{head}data: {json.dumps(event)}{end}{end}" for place, event in enumerate(events)
    ).encode()


def told(*events, end="\n") -> bytes:
    """Events of names and plain text, each line of it in a ``data`` of its own."""
    lines = [
        f"event: {name}{end}" + "".join(f"data: {line}{end}" for line in text.split("\n")) for name, text in events
    ]
    return (end.join(lines) + end).encode()


def body(data) -> bytes:
    return json.dumps(data).encode()


def case_of(protocol, expected, kind="chat", status=200, **headers):
    response = {"status": status, "headers": headers}
    return {"protocol": protocol, "stream": True, "response": response, "expected": {"kind": kind, **expected}}


def piece(text="", raw="not_finished", **counts):
    return {"model_id": "m", "results": [{"generated_text": text, "stop_reason": raw, **counts}]}


def completion(text, raw=None, **more):
    return {
        "object": "text_completion",
        "model": "m",
        "choices": [{"text": text, "index": 0, "finish_reason": raw}],
    } | more


def chatted(raw=None, **delta):
    return {"model_id": "m", "choices": [{"index": 0, "delta": delta, "finish_reason": raw}]}


DONE = b"data: [DONE]\n\n"
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
USED = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
COUNTED = {"usage.input": 5, "usage.output": 3}
ENDED = {"id": "p", "status": "succeeded", "urls": {}}
CASES = {
    "a generation in pieces; some events count nothing": (
        "watsonx-generation",
        sse({"model_id": "m", "system": {"warnings": []}}, piece(input_token_count=5, generated_token_count=0),
            piece("Hé", input_token_count=0, generated_token_count=2),
            piece("llo", "max_tokens", input_token_count=0, generated_token_count=3), named="message"),
        {"text": "Héllo", "finish": "length", "finish_raw": "max_tokens", "model": "m", **COUNTED},
    ),
    "a whole generation": (
        "watsonx-generation",
        body(piece("a", "eos_token", input_token_count=5, generated_token_count=3)),
        {"text": "a", "finish": "stop", "finish_raw": "eos_token", **COUNTED},
    ),
    "a chat of watsonx in pieces": (
        "watsonx-chat",
        sse(chatted(role="assistant", content=""), chatted(content="a"), chatted("stop"),
            {"model_id": "m", "choices": [], "usage": USED}, named="message", end="\r\n"),
        {"text": "a", "finish": "stop", "model": "m", **COUNTED},
    ),
    "a whole chat of watsonx that calls": (
        "watsonx-chat",
        body({"model_id": "m", "usage": USED, "choices": [
            {"index": 0, "message": {"role": "assistant", "tool_calls": [CALL]}, "finish_reason": "tool_calls"}]}),
        {"tool_calls": [{"name": "f", "arguments": {"a": 1}, "id": "c"}], "finish": "tool_calls", **COUNTED},
    ),
    "a completion in pieces": (
        "openai-completions",
        sse(completion("a"), completion("b", "stop"), {"model": "m", "choices": [], "usage": USED}) + DONE,
        {"text": "ab", "finish": "stop", "model": "m", **COUNTED},
    ),
    "other completions are left out": (
        "openai-completions",
        sse(completion("a", "length"), {"choices": [{"text": "b", "index": 1, "finish_reason": "stop"}]}),
        {"text": "a", "finish": "length"},
    ),
    "text of a prediction, blank lines and all": (
        "replicate-predictions",
        told(("output", "Hé"), ("output", " llo"), ("logs", "loaded"), ("output", "\n"), ("output", "a\n\nb"),
             ("done", "{}")),
        {"text": "Hé llo\na\n\nb", "finish": "stop", "finish_raw": "succeeded"},
    ),
    "a prediction that is at its end": (
        "replicate-predictions",
        body(ENDED | {"model": "a/b", "output": ["a", " b"],
                      "metrics": {"input_token_count": 5, "output_token_count": 3}}),
        {"text": "a b", "model": "a/b", "finish": "stop", **COUNTED},
    ),
    "a prediction that gives no text": (
        "replicate-predictions", body(ENDED | {"output": {"score": 0.5}}), {"text": '{"score":0.5}', "usage": None},
    ),
    "a stream by its paths": (
        "hf-inference",
        sse({"token": {"text": "Hé"}, "details": None}, {"index": 1}, {"token": {"text": "llo"}},
            {"token": {"text": ""}, "details": {"finish_reason": "eos_token", "read": 5, "generated_tokens": 3}}),
        {"text": "Héllo", "finish": "stop", "finish_raw": "eos_token", **COUNTED},
    ),
    "an answer by its path": (
        "hf-inference", body([{"generated_text": "a"}]), {"text": "a", "finish": None, "usage": None},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_answer_folds_to_what_it_must_however_it_is_cut(name):
    protocol, data, expected = CASES[name]
    for chunks in cuttings(data, name):
        assert differences(case_of(protocol, expected), chunks) == {}


@pytest.mark.parametrize(
    ("protocol", "data", "usage"),
    [
        ("watsonx-embed", {"model_id": "m", "results": [{"embedding": [1, 2]}], "input_token_count": 7}, 7),
        ("tei-embed", [[1, 2]], None),
        ("vertex-predict", {"predictions": [{"embeddings": {"values": [1, 2], "statistics": {"token_count": 7}}}]}, 7),
    ],
)
def test_vectors(protocol, data, usage):
    expected = {
        "count": 1,
        "dimensions": 2,
        "first": [1.0, 2.0],
        **({"usage.input": usage} if usage else {"usage": None}),
    }
    assert differences(case_of(protocol, expected, "embeddings"), [body(data)]) == {}


@pytest.mark.parametrize(
    ("protocol", "data", "usage"),
    [
        ("watsonx-rerank", {"model_id": "m", "input_token_count": 7,
                            "results": [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.1}]}, {"usage.input": 7}),
        ("tei-rerank", [{"index": 1, "score": 0.5}, {"index": 0, "score": 0.1}], {"usage": None}),
    ],
)  # fmt: skip
def test_ranks(protocol, data, usage):
    expected = {"indexes": [1, 0], "scores": [0.5, 0.1], **usage}
    assert differences(case_of(protocol, expected, "rerank"), [body(data)]) == {}


def test_counts_of_each_text_are_added():
    rows = [{"embeddings": {"values": [1, 2], "statistics": {"token_count": count}}} for count in (3, 4)]
    expected = {"count": 2, "usage.input": 7}
    assert differences(case_of("vertex-predict", expected, "embeddings"), [body({"predictions": rows})]) == {}


IBM = {"trace": "t", "status_code": 400}
ERRORS = [
    ("watsonx-chat", 400, {"errors": [{"code": "invalid_request_entity", "message": "no"}], **IBM}, "bad_request"),
    ("watsonx-chat", 401, {"errors": [{"code": "authentication_token_expired", "message": "no"}]}, "auth"),
    ("watsonx-chat", 403, {"errors": [{"code": "token_quota_reached", "message": "no"}]}, "quota"),
    ("watsonx-chat", 404, {"errors": [{"code": "model_not_supported", "message": "no"}]}, "not_found"),
    ("watsonx-embed", 429, {"errors": [{"code": "consumption_limit_reached", "message": "no"}]}, "rate_limited"),
    ("watsonx-generation", 500, {"errors": [{"code": "downstream_request_failed", "message": "no"}]}, "server_error"),
    ("replicate-predictions", 401, {"title": "Unauthenticated", "detail": "no", "status": 401}, "auth"),
    ("replicate-predictions", 402, {"title": "Insufficient credit", "detail": "no", "status": 402}, "quota"),
    ("replicate-predictions", 422, {"title": "Invalid version or not permitted", "detail": "no"}, "bad_request"),
    ("replicate-predictions", 429, {"detail": "no", "status": 429}, "rate_limited"),
    ("hf-inference", 400, {"error": ["no"]}, "bad_request"),
    ("hf-inference", 503, {"error": "no", "estimated_time": 20.0}, "server_error"),
    ("sagemaker-invoke", 424, {"Message": "no", "OriginalStatusCode": 500}, "bad_request"),
    ("tei-embed", 413, {"error": "no", "error_type": "Validation"}, "bad_request"),
    ("tei-embed", 422, {"error": "no", "error_type": "Tokenizer"}, "bad_request"),
    ("tei-embed", 424, {"error": "no", "error_type": "Backend"}, "bad_request"),
    ("tei-rerank", 429, {"error": "no", "error_type": "Overloaded"}, "overloaded"),
    ("openai-completions", 404, {"error": {"message": "no", "code": "model_not_found"}}, "not_found"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "status", "data", "code"), ERRORS)
def test_what_an_error_means(protocol, status, data, code):
    expected = {"status": status, "class": code, "message": "no"}
    assert differences(case_of(protocol, expected, "error", status), [body(data)]) == {}


def test_a_limit_of_predictions_says_when_it_ends():
    expected = {"class": "rate_limited", "retry_after": 3.0}
    limit = {"ratelimit-remaining": "0", "ratelimit-reset": "3"}
    assert (
        differences(case_of("replicate-predictions", expected, "error", 429, **limit), [body({"detail": "no"})]) == {}
    )
    gone = {"class": "not_found", "retry_after": None}
    assert differences(case_of("replicate-predictions", gone, "error", 404, **limit), [body({"detail": "no"})]) == {}


@pytest.mark.parametrize(("told", "seconds"), [(20.5, 20.5), (20, 20.0), (-1, None), ("soon", None), (True, None)])
def test_a_model_that_is_still_loaded_says_for_how_long(told, seconds):
    expected = {"class": "server_error", "retry_after": seconds}
    data = body({"error": "Model x is currently loading", "estimated_time": told})
    assert differences(case_of("hf-inference", expected, "error", 503), [data]) == {}


INSIDE = [
    ("watsonx-generation", sse(piece("a")) + sse({"errors": [{"code": "x", "message": "busy"}]}, named="error"),
     "server_error"),
    ("watsonx-chat", sse(chatted(content="a"), {"errors": [{"code": "consumption_limit_reached", "message": "busy"}]}),
     "rate_limited"),
    ("openai-completions", sse(completion("a"), {"error": {"message": "busy", "code": "rate_limit_exceeded"}}),
     "rate_limited"),
    ("replicate-predictions", told(("output", "a"), ("error", '{"detail": "busy"}')), "server_error"),
    ("replicate-predictions", told(("output", "a"), ("error", "busy")), "server_error"),
]  # fmt: skip


@pytest.mark.parametrize(("protocol", "data", "code"), INSIDE)
def test_an_error_inside_an_answer_keeps_the_text_so_far(protocol, data, code):
    expected = {"class": code, "message": "busy", "partial_text": "a"}
    for chunks in cuttings(data, code):
        assert differences(case_of(protocol, expected, "error"), chunks) == {}


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("watsonx-generation", sse(piece("a"), named="message")),
        ("watsonx-chat", sse(chatted(content="a"))),
        ("openai-completions", sse(completion("a"))),
        ("replicate-predictions", told(("output", "a"))),
        ("hf-inference", sse({"token": {"text": "a"}})),
    ],
)
def test_an_answer_without_its_end_was_interrupted(protocol, data):
    expected = {"class": "stream_interrupted", "partial_text": "a"}
    assert differences(case_of(protocol, expected, "error"), [data]) == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (body({"id": "p", "status": "failed", "error": "out of memory"}), "out of memory"),
        (body({"id": "p", "status": "canceled", "error": None}), "the prediction was canceled"),
        (told(("done", '{"reason": "canceled"}')), "the prediction was canceled"),
        (told(("done", '{"reason": "error"}')), "the prediction ended as error"),
    ],
)
def test_a_prediction_that_came_to_nothing(data, message):
    expected = {"class": "server_error", "message": message}
    assert differences(case_of("replicate-predictions", expected, "error"), [data]) == {}
