"""Answers of Amazon Bedrock, written by hand from the shapes of botocore's service models and the models' own
documentation, for what no recording holds; they always run, cut at every byte. Statuses of errors that nobody
recorded are written by hand likewise."""

import json

import orjson
import pytest

from flowllm.backends.framing import Frame, Sniffed
from flowllm.backends.wire import find_wire
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.delta import fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message, Text, Thought
from tests.wire.amazon import chunks, event, events, exception, message
from tests.wire.replay import cuttings, differences, replay
from tests.wire.test_own_wires import body, case_of, tool

USAGE = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 11, "cacheReadInputTokens": 2, "cacheWriteInputTokens": 1}
COUNTED = {"usage.input": 8, "usage.output": 3, "usage.cached_input": 2, "usage.cache_write": 1}
METRICS = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 5, "outputTokenCount": 3}}
FIVE_THREE = {"usage.input": 5, "usage.output": 3}


def delta(index, **of):
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": of}


def start(index, **of):
    return "contentBlockStart", {"contentBlockIndex": index, "start": of}


def calls(index, name, identity, **more):
    return start(index, toolUse={"name": name, "toolUseId": identity, **more})


def thinks(index, **of):
    return delta(index, reasoningContent=of)


BEGUN = "messageStart", {"role": "assistant"}
METADATA = "metadata", {"usage": USAGE, "metrics": {"latencyMs": 1}}
SEALED = "c2VhbGVk"


def stop(raw):
    return "messageStop", {"stopReason": raw}


def whole(*content, raw="end_turn", **more):
    told = {"output": {"message": {"role": "assistant", "content": list(content)}}, "stopReason": raw, "usage": USAGE}
    return body(told | more)


CONVERSE = {
    "thinking with its seal, then text": (
        events(BEGUN, thinks(0, text="h"), thinks(0, text="m"), thinks(0, signature="S"), delta(1, text="Hé"),
               delta(1, text="llo"), stop("end_turn"), METADATA),
        {"text": "Héllo", "reasoning": "hm", "finish": "stop", "finish_raw": "end_turn", "model": None, **COUNTED},
    ),
    "two calls in pieces, interleaved, one with nothing": (
        events(BEGUN, calls(0, "f", "x"), calls(1, "g", "y"), delta(0, toolUse={"input": '{"a"'}),
               delta(1, toolUse={"input": ""}), delta(0, toolUse={"input": ":1}"}), stop("tool_use"), METADATA),
        {"text": "", "tool_calls": [tool("f", {"a": 1}, "x"), tool("g", {}, "y")], "finish": "tool_calls"},
    ),
    "calls and results of the provider's own tools are left out": (
        events(BEGUN, calls(0, "search", "s", type="server_tool_use"), delta(0, toolUse={"input": '{"q":1}'}),
               start(1, toolResult={"toolUseId": "s"}), delta(1, toolResult=[{"text": "found"}]), delta(2, text="a"),
               delta(3, citation={"location": {}}), stop("end_turn")),
        {"text": "a", "tool_calls": [], "citations": 1, "finish": "stop", "usage": None},
    ),
    "a guardrail stepped in": (
        events(BEGUN, delta(0, text="No."), stop("guardrail_intervened"), METADATA),
        {"text": "No.", "finish": "content_filter", "finish_raw": "guardrail_intervened"},
    ),
    "a call that the model got wrong is no stop": (
        events(BEGUN, stop("malformed_tool_use"), METADATA), {"finish": "error", "finish_raw": "malformed_tool_use"},
    ),
    "events of tomorrow and padding are passed over": (
        events(BEGUN, ("contentBlockHint", {"contentBlockIndex": 0}), delta(0, hologram={}, text="a"),
               ("contentBlockStop", {"contentBlockIndex": 0, "p": "abc"}), stop("max_tokens"), METADATA),
        {"text": "a", "finish": "length"},
    ),
    "one body with everything": (
        whole({"reasoningContent": {"reasoningText": {"text": "hm", "signature": "S"}}},
              {"reasoningContent": {"redactedContent": SEALED}},
              {"citationsContent": {"content": [{"text": "a"}], "citations": [{}, {}]}}, {"text": "b"},
              {"toolUse": {"toolUseId": "x", "name": "f", "input": {"a": 1}}},
              {"toolUse": {"toolUseId": "s", "name": "g", "input": {}, "type": "server_tool_use"}}, raw="tool_use"),
        {"text": "ab", "reasoning": "hm", "citations": 2, "tool_calls": [tool("f", {"a": 1}, "x")], **COUNTED},
    ),
    "the other names of cached tokens": (
        whole({"text": "a"}, usage={"inputTokens": 5, "outputTokens": 3, "cacheReadInputTokenCount": 2}),
        {"usage.input": 7, "usage.cached_input": 2, "usage.cache_write": None},
    ),
    "nothing at all": (whole(raw=None), {"text": "", "finish": None}),
}  # fmt: skip

CLAUDE = [
    {"type": "message_start", "message": {"model": "m", "content": [], "usage": {"input_tokens": 5}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hé"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}},
    {"type": "message_stop", **METRICS},
]
ANTHROPIC = {
    "pieces": (chunks(*CLAUDE), {"text": "Hé", "model": "m", "finish": "stop", **FIVE_THREE}),
    "one body": (
        body({"type": "message", "model": "m", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {}}],
              "stop_reason": "tool_use", "usage": {"input_tokens": 5, "output_tokens": 3}}),
        {"tool_calls": [tool("f", {}, "x")], "finish": "tool_calls", **FIVE_THREE},
    ),
}  # fmt: skip
ANTHROPIC["completions from before messages, in pieces"] = (
    chunks({"completion": " Hé", "stop_reason": None}, {"completion": "llo", "stop_reason": "max_tokens", **METRICS}),
    {"text": " Héllo", "finish": "length", "finish_raw": "max_tokens", **FIVE_THREE},
)
ANTHROPIC["a completion from before messages"] = (
    body({"completion": " a", "stop_reason": "stop_sequence", "stop": "x"}),
    {"text": " a", "finish": "stop", "finish_raw": "stop_sequence", "usage": None},
)
NOVA = {
    "events under their names": (
        chunks({"messageStart": {}}, {"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "Hé"}}},
               {"contentBlockStop": {"contentBlockIndex": 0}}, {"messageStop": {"stopReason": "end_turn"}},
               {"metadata": {"usage": USAGE}, **METRICS}),
        {"text": "Hé", "finish": "stop", **COUNTED},
    ),
    "one body": (whole({"text": "a"}), {"text": "a", **COUNTED}),
}  # fmt: skip
TITAN = {
    "pieces": (
        chunks({"outputText": "Hé", "index": 0, "completionReason": None},
               {"outputText": "llo", "index": 0, "completionReason": "FINISH", "totalOutputTextTokenCount": 3,
                "inputTextTokenCount": 5, **METRICS}),
        {"text": "Héllo", "finish": "stop", "finish_raw": "FINISH", **FIVE_THREE},
    ),
    "one body": (
        body({"inputTextTokenCount": 5, "results": [
            {"tokenCount": 3, "outputText": "a", "completionReason": "CONTENT_FILTERED"}]}),
        {"text": "a", "finish": "content_filter", **FIVE_THREE},
    ),
}  # fmt: skip
TITAN["an input that a guardrail blocked has no other end"] = (
    chunks({"outputText": "Input blocked", "index": 0.0, "totalOutputTextTokenCount": 3.0, "inputTextTokenCount": 5.0,
            "amazon-bedrock-guardrailAction": "INTERVENED"}),
    {"text": "Input blocked", "finish": "content_filter", "finish_raw": "INTERVENED", **FIVE_THREE},
)  # fmt: skip
LLAMA = {
    "pieces": (
        chunks({"generation": "Hé", "prompt_token_count": 5, "generation_token_count": 1, "stop_reason": None},
               {"generation": "llo", "prompt_token_count": None, "generation_token_count": 3, "stop_reason": "stop",
                **METRICS}),
        {"text": "Héllo", "finish": "stop", **FIVE_THREE},
    ),
    "counts of the body go before those beside it": (
        chunks({"generation": "a", "prompt_token_count": 50, "generation_token_count": 30, "stop_reason": "stop",
                **METRICS}),
        {"usage.input": 50, "usage.output": 30},
    ),
    "one body": (
        body({"generation": "a", "prompt_token_count": 5, "generation_token_count": 3, "stop_reason": "length"}),
        {"text": "a", "finish": "length", **FIVE_THREE},
    ),
}  # fmt: skip
COHERE = {
    "events of Command R": (
        chunks({"event_type": "stream-start", "is_finished": False},
               {"event_type": "text-generation", "text": "Hé", "is_finished": False},
               {"event_type": "text-generation", "text": "llo", "is_finished": False},
               {"event_type": "stream-end", "finish_reason": "COMPLETE", "is_finished": True,
                "response": {"text": "Héllo"}, **METRICS}),
        {"text": "Héllo", "finish": "stop", "finish_raw": "COMPLETE", **FIVE_THREE},
    ),
    "pieces of Command": (
        chunks({"text": "a", "index": 0, "is_finished": False}, {"text": "b", "index": 1, "is_finished": False},
               {"finish_reason": "MAX_TOKENS", "is_finished": True, **METRICS}),
        {"text": "a", "finish": "length", **FIVE_THREE},
    ),
    "calls and citations of Command R": (
        body({"text": "I look.", "finish_reason": "COMPLETE", "citations": [{}, {}],
              "tool_calls": [{"name": "f", "parameters": {"a": 1}}, {"name": "g", "parameters": {}}]}),
        {"text": "I look.", "tool_calls": [tool("f", {"a": 1}), tool("g", {})], "finish": "tool_calls", "citations": 2},
    ),
    "calls of Command R in an event": (
        chunks({"event_type": "tool-calls-generation", "tool_calls": [{"name": "f", "parameters": {"a": 1}}]},
               {"event_type": "stream-end", "finish_reason": "COMPLETE", "is_finished": True}),
        {"tool_calls": [tool("f", {"a": 1})], "finish": "tool_calls"},
    ),
    "generations": (
        body({"generations": [{"text": "a", "finish_reason": "COMPLETE"}, {"text": "b"}]}),
        {"text": "a", "finish": "stop", "usage": None},
    ),
}  # fmt: skip
AI21 = {
    "completions of Jurassic": (
        body({"id": 1, "completions": [{"data": {"text": "a"}, "finishReason": {"reason": "endoftext"}}]}),
        {"text": "a", "finish": "stop", "finish_raw": "endoftext"},
    ),
    "choices of Jamba": (
        chunks({"choices": [{"index": 0, "delta": {"content": "a"}}]},
               {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], **METRICS}),
        {"text": "a", "finish": "stop", **FIVE_THREE},
    ),
}  # fmt: skip
MISTRAL = {
    "outputs": (
        chunks({"outputs": [{"text": "Hé", "stop_reason": None}]},
               {"outputs": [{"text": "llo", "stop_reason": "stop"}], **METRICS}),
        {"text": "Héllo", "finish": "stop", **FIVE_THREE},
    ),
    "one body of outputs": (body({"outputs": [{"text": "a", "stop_reason": "length"}]}),
                            {"text": "a", "finish": "length"}),
    "choices with a call": (
        body({"choices": [{"index": 0, "stop_reason": "tool_calls", "message": {"role": "assistant", "content": "",
              "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": '{"a":1}'}}]}}]}),
        {"tool_calls": [tool("f", {"a": 1}, "x")], "finish": "tool_calls", "finish_raw": "tool_calls"},
    ),
}  # fmt: skip
OPENAI = {
    "pieces": (
        chunks({"model": "m", "choices": [{"index": 0, "delta": {"content": "a", "reasoning": "hm"}}]},
               {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], **METRICS}),
        {"text": "a", "reasoning": "hm", "model": "m", "finish": "length", **FIVE_THREE},
    ),
}  # fmt: skip
OPENAI["choices of bare text"] = (
    body({"choices": [{"text": "a", "stop_reason": "length"}]}), {"text": "a", "finish": "length"},
)
FAMILIES = {"anthropic": ANTHROPIC, "nova": NOVA, "titan": TITAN, "llama": LLAMA, "cohere": COHERE, "ai21": AI21,
            "mistral": MISTRAL, "openai": OPENAI}  # fmt: skip
CHATS = {"bedrock-converse": CONVERSE} | {f"bedrock-invoke-{name}": cases for name, cases in FAMILIES.items()}


@pytest.mark.parametrize(("protocol", "name"), [(protocol, name) for protocol in CHATS for name in CHATS[protocol]])
def test_an_answer_folds_to_what_it_must_however_it_is_cut(protocol, name):
    data, expected = CHATS[protocol][name]
    for cut in cuttings(data, name):
        assert differences(case_of(protocol, expected), cut) == {}


@pytest.mark.parametrize("data", [CONVERSE["thinking with its seal, then text"][0], chunks(*CLAUDE)])
def test_a_changed_byte_is_a_failure_and_never_another_answer(data):
    protocol = "bedrock-converse" if b"contentBlock" in data else "bedrock-invoke-anthropic"
    for place in range(0, len(data), 7):
        broken = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        ((found, _),) = differences(case_of(protocol, {"class": ""}, "error"), [broken]).values()
        assert found in {"invalid_response", "stream_interrupted", "decode_error", "event_too_large"}


def test_a_piece_that_is_no_base64_is_refused_whole():
    piece = json.loads(chunks(CLAUDE[2])[chunks(CLAUDE[2]).index(b"{") : -4])["bytes"]
    for odd in (f"%{piece}", f"{piece}%%", piece[:-1]):
        data = events(("chunk", {"bytes": odd}))
        ((found, _),) = differences(case_of("bedrock-invoke-anthropic", {"class": ""}, "error"), [data]).values()
        assert found == "invalid_response"


def test_counts_alone_are_no_end():
    decoder = find_wire("bedrock_converse", ProviderCard("p")).decoder(Chat("p/m", ()))
    told = []
    for kind, data in (METADATA, stop("end_turn"), METADATA):
        list(decoder.feed(Frame(orjson.dumps(data), kind)))
        told.append((decoder.complete, decoder.done))
    assert told == [(False, False), (True, False), (True, True)]


def test_seals_of_thoughts_are_kept_for_the_next_turn():
    (data, _) = CONVERSE["one body with everything"]
    reply = replay(case_of("bedrock-converse", {}), [data])
    assert reply.thoughts == (Thought("hm", "S", format="bedrock_converse"),
                              Thought("", SEALED, sealed=True, format="bedrock_converse"))  # fmt: skip
    (data, _) = CONVERSE["thinking with its seal, then text"]
    reply = replay(case_of("bedrock-converse", {}), [data])
    assert reply.thoughts == (Thought("hm", "S", format="bedrock_converse"),)
    turn = Message("assistant", (Text(reply.text),), thoughts=reply.thoughts)
    sent = orjson.loads(find_wire("bedrock_converse", ProviderCard("p")).encode(Chat("p/m", (turn,))).body)
    assert sent["messages"][0]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "S"}}}, {"text": "Héllo"}]  # fmt: skip
    for other in ("anthropic_messages", "openai_responses", "gemini_generate"):
        assert b'"S"' not in find_wire(other, ProviderCard("p")).encode(Chat("p/m", (turn,))).body


CLOSED = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize("streams", [True, False])
@pytest.mark.parametrize(("more", "finish"), [((), "stop"), ((("f", "y"),), "tool_calls")])
def test_an_answer_given_by_calling_a_tool_is_the_text(streams, more, finish):
    card = ProviderCard("p", models={"m": ModelCard("m", quirks={"structured": "tool"})})
    request = Chat("p/m", (Message("user", (Text("x"),)),), schema=CLOSED, stream=streams)
    if streams:
        pieces = [piece for name, identity in more for piece in (calls(1, name, identity),)]
        data = events(BEGUN, calls(0, "answer", "x"), delta(0, toolUse={"input": '{"a"'}),
                      delta(0, toolUse={"input": ":1}"}), *pieces, stop("tool_use"), METADATA)  # fmt: skip
    else:
        used = [("answer", "x", {"a": 1}), *((name, identity, {}) for name, identity in more)]
        data = whole(*({"toolUse": {"name": n, "toolUseId": i, "input": v}} for n, i, v in used), raw="tool_use")
    decoder, framing = find_wire("bedrock_converse", card).decoder(request), Sniffed()
    frames = [*framing.feed(data), *framing.finish()]
    reply = fold([*(delta for frame in frames for delta in decoder.feed(frame)), *decoder.finish()])
    assert (json.loads(reply.text), [call.name for call in reply.tool_calls]) == ({"a": 1}, [name for name, _ in more])
    assert (reply.finish, reply.finish_raw) == (finish, "tool_use")


@pytest.mark.parametrize(
    ("family", "data", "count", "usage"),
    [
        ("titan", {"embedding": [1, 2], "inputTextTokenCount": 7, "embeddingsByType": {"float": [1, 2]}}, 1, 7),
        ("cohere", {"embeddings": [[1, 2], [3, 4]], "response_type": "embeddings_floats"}, 2, None),
        ("cohere", {"embeddings": {"float": [[1, 2]]}, "response_type": "embeddings_by_type"}, 1, None),
    ],
)
def test_vectors_of_every_family(family, data, count, usage):
    expected = {"count": count, "dimensions": 2, "first": [1.0, 2.0], **({"usage.input": usage} if usage else {})}
    assert differences(case_of(f"bedrock-invoke-{family}", expected, "embeddings"), [body(data)]) == {}


def test_vectors_fewer_than_texts_are_a_failure():
    with pytest.raises(ProviderFailure, match="1 embeddings for 2 texts"):
        replay(case_of("bedrock-invoke-cohere", {"count": 2}, "embeddings"), [body({"embeddings": [[1, 2]]})])


def test_scores_best_first():
    data = body({"results": [{"index": 1, "relevanceScore": 0.1}, {"index": 0, "relevanceScore": 0.5}]})
    expected = {"indexes": [0, 1], "scores": [0.5, 0.1], "usage": None}
    for cut in cuttings(data, "scores"):
        assert differences(case_of("bedrock-rerank", expected, "rerank"), cut) == {}


# Statuses and types of errors as botocore's models list them; only rows of 400 and 403 were ever recorded.
ERRORS = [
    (400, "ValidationException", "The provided model identifier is invalid.", "bad_request", False),
    (400, "ValidationException", "Input is too long for requested model.", "context_too_long", False),
    (400, "ServiceQuotaExceededException", "quota", "quota", False),
    (403, "AccessDeniedException", "You don't have access to the model.", "permission", False),
    (403, "ExpiredTokenException", "The security token included in the request is expired", "auth", False),
    (403, "UnrecognizedClientException", "The security token included in the request is invalid.", "auth", False),
    (403, "InvalidSignatureException", "The request signature we calculated does not match", "auth", False),
    (404, "ResourceNotFoundException", "no such model", "not_found", False),
    (408, "ModelTimeoutException", "too slow", "conflict", True),
    (424, "ModelErrorException", "the model failed", "bad_request", False),
    (424, "ModelStreamErrorException", "the model failed", "bad_request", False),
    (429, "ThrottlingException", "Too many requests, please wait.", "rate_limited", True),
    (429, "ModelNotReadyException", "The model is not ready.", "rate_limited", True),
    (500, "InternalServerException", "oh", "server_error", True),
    (503, "ServiceUnavailableException", "busy", "server_error", True),
    (503, "", "busy", "server_error", True),
    (429, "", "Too many tokens, please wait before trying again.", "rate_limited", True),
    (400, "", "Too many input tokens: 9 > 8", "context_too_long", False),
]


@pytest.mark.parametrize("protocol", ["bedrock-converse", "bedrock-invoke-titan", "bedrock-rerank"])
@pytest.mark.parametrize(("status", "kind", "words", "code", "retryable"), ERRORS)
def test_what_an_error_means(protocol, status, kind, words, code, retryable):
    headers = {"x-amzn-errortype": f"{kind}:http://internal.amazon.com/coral/", "x-amzn-requestid": "r"} if kind else {}
    expected = {"status": status, "class": code, "message": words, "retryable": retryable, "retry_after": None}
    assert differences(case_of(protocol, expected, "error", status, **headers), [body({"message": words})]) == {}


INSIDE = [
    ("throttlingException", "slow down", "rate_limited"),
    ("validationException", "Malformed input request", "bad_request"),
    ("validationException", "Input is too long for requested model.", "context_too_long"),
    ("modelStreamErrorException", "The system encountered an unexpected error", "server_error"),
    ("internalServerException", "oh", "server_error"),
    ("serviceUnavailableException", "busy", "server_error"),
    ("modelTimeoutException", "too slow", "conflict"),
    ("modelNotReadyException", "not ready", "rate_limited"),
    ("accessDeniedException", "no", "permission"),
]


@pytest.mark.parametrize(("kind", "words", "code"), INSIDE)
@pytest.mark.parametrize("protocol", ["bedrock-converse", "bedrock-invoke-anthropic", "bedrock-invoke-titan"])
def test_an_exception_inside_a_stream_keeps_the_text_so_far(protocol, kind, words, code):
    begun = {"bedrock-converse": events(BEGUN, delta(0, text="a")), "bedrock-invoke-anthropic": chunks(*CLAUDE[:3]),
             "bedrock-invoke-titan": chunks({"outputText": "a"})}[protocol]  # fmt: skip
    said = "Hé" if "anthropic" in protocol else "a"
    expected = {"class": code, "message": words, "partial_text": said}
    data = begun + exception(kind, words)
    for cut in ([data], [data[place : place + 1] for place in range(len(data))]):
        assert differences(case_of(protocol, expected, "error"), cut) == {}


def test_an_error_of_the_stream_itself():
    data = event(*delta(0, text="a")) + message(b"", message_type="error", error_code="InternalFailure",
                                                error_message="oh")  # fmt: skip
    expected = {"class": "server_error", "message": "oh", "partial_text": "a"}
    assert differences(case_of("bedrock-converse", expected, "error"), [data]) == {}


@pytest.mark.parametrize(
    ("protocol", "data"),
    [
        ("bedrock-converse", events(BEGUN, delta(0, text="a"))),
        ("bedrock-converse", events(BEGUN, delta(0, text="a"), stop("end_turn"))[:-1]),
        ("bedrock-invoke-nova", chunks({"contentBlockDelta": {"contentBlockIndex": 0, "delta": {"text": "a"}}})),
        ("bedrock-invoke-titan", chunks({"outputText": "a"})),
        ("bedrock-invoke-llama", chunks({"generation": "a"})),
        ("bedrock-invoke-cohere", chunks({"text": "a", "is_finished": False})),
    ],
)
def test_an_answer_without_its_end_was_interrupted(protocol, data):
    expected = {"class": "stream_interrupted", "partial_text": "a"}
    assert differences(case_of(protocol, expected, "error"), [data]) == {}


NONSENSE = [
    events(("contentBlockDelta", {})), events(("contentBlockDelta", {"delta": 5})), events(("chunk", {})),
    *(events(("chunk", {"bytes": data})) for data in (5, "", "%%%", "e30")), chunks(5), chunks([]), chunks({"a": 1}),
    events(("metadata", {"usage": 5})), events(("messageStop", [])), chunks({"choices": 5}), chunks({"results": [5]}),
    chunks({"outputs": []}), chunks({"completions": [{}]}), message(b"{", event_type="chunk"),
    message(b'"x"', event_type="messageStop"),
]  # fmt: skip


@pytest.mark.parametrize("data", NONSENSE)
@pytest.mark.parametrize("protocol", CHATS)
def test_nonsense_is_a_failure_and_never_an_accident(protocol, data):
    ((found, _),) = differences(case_of(protocol, {"class": ""}, "error"), [data]).values()
    assert found in {"invalid_response", "stream_interrupted"}
