"""Rows P1 to P15 and V1 to V9 of the fault matrix: what servers say."""

# ruff: noqa: N802  names begin with the row of the matrix

import asyncio
import gzip
import resource
import zlib

import httpx
import orjson
import pytest

from flowllm.core.delta import Fold
from flowllm.core.errors import CODES, ProviderFailure
from flowllm.core.scope import Scope
from tests.faults.oracle import CANARY, judge
from tests.faults.server import (
    DONE,
    STREAM,
    FaultServer,
    error,
    event,
    fin,
    head,
    ok,
    repeat,
    response,
    send,
    silence,
)

END = event(None, "stop") + DONE
CHAT = orjson.dumps({"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}]})


def said(data) -> bytes:
    return response(orjson.dumps(data))


def whole(message, **more) -> bytes:
    return said(
        {"object": "chat.completion", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]} | more
    )


async def answered(provider, *data: bytes, stream=False):
    async with FaultServer([send(*data), fin]) as server:
        return await provider.ask(server.base_url, stream=stream)


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"[]", b"1", b'"text"', b"null", b"{}", b'{"choices": 1', b"\xff"])
async def test_P1_malformed_json(provider, body):
    outcome = await answered(provider, response(body))
    assert outcome.code in ("invalid_response", "stream_interrupted", "decode_error")


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"choices": [1]}', b'{"choices": {"a": 1}}', b'{"choices": "x"}'])
async def test_P1_json_of_another_shape_is_no_success(provider, body):
    outcome = await answered(provider, response(body))
    assert outcome.code in ("invalid_response", "stream_interrupted")
    assert outcome.failure.retryable


@pytest.mark.parametrize("stream", [False, True])
async def test_P2_html_with_status_200(provider, stream):
    page = b"<html><body>Log in to the hotel network " + b"x" * 5000 + b"</body></html>"
    outcome = await answered(provider, head(200, len(page), "text/html") + page, stream=stream)
    assert outcome.code == "invalid_response"
    assert "Log in to the hotel" in str(outcome.failure)
    assert len(str(outcome.failure)) < 300


async def test_P2_a_wrong_content_type_does_not_matter(provider):
    outcome = await answered(provider, head(200, len(CHAT), "application/octet-stream") + CHAT)
    assert outcome.value.text == "hi"


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}, "rate_limited"),
        ({"error": {"message": "no", "code": 401}}, "auth"),
        ({"error": {"message": "busy", "type": "overloaded_error"}}, "overloaded"),
        ({"error": "out of memory"}, "server_error"),
        ({"error": [{"message": "prompt is too long"}]}, "context_too_long"),
        ({"object": "error", "message": "bad", "code": 400}, "bad_request"),
        ({"detail": "Invalid API Key"}, "auth"),
        ({"choices": [], "error": {"message": "upstream", "code": 502}}, "server_error"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_P3_an_error_inside_a_200(provider, data, code, stream):
    sent = STREAM + event("one") + b"data: " + orjson.dumps(data) + b"\n\n" if stream else said(data)
    outcome = await answered(provider, sent, stream=stream)
    assert outcome.code == code
    assert outcome.failure.facts.partial_text == ("one" if stream else "")


@pytest.mark.parametrize("cut", range(0, 260, 3))
async def test_P4_a_stream_without_its_end_mark_is_never_a_success(cut):
    from flowllm.backends.mock import MockBackend
    from flowllm.core.request import Chat, Message, Text

    call = MockBackend([{"reply": "one two", "cut": cut}])
    request = Chat("mock/m", (Message("user", (Text("hi"),)),), stream=True)
    outcome, wrong = await judge(lambda: _folded(call(request, Scope())))
    assert wrong == []
    assert outcome.code == "stream_interrupted"


async def _folded(deltas):
    folded = Fold()
    async for delta in deltas:
        folded.add(delta)
    return folded.reply()


async def test_P4_over_the_network(provider):
    outcome = await answered(provider, STREAM + event("one") + event("two")[:-9], stream=True)
    assert (outcome.code, outcome.failure.facts.partial_text) == ("stream_interrupted", "one")


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\u200b", "\x00", "🧵é"])
async def test_P6_separators_inside_text_stay(provider, odd):
    text = f"a{odd}b"
    raw = (
        "data: " + '{"choices":[{"delta":{"content":"a' + (odd if odd >= " " else f"\\u{ord(odd):04x}") + 'b"}}]}'
    ).encode()
    outcome = await answered(provider, STREAM + raw + b"\n\n" + END, stream=True)
    assert outcome.value.text == text


async def test_P7_characters_split_at_every_byte(provider):
    data = event("naïve 🧵 語") + END
    for place in range(1, len(data), 5):
        outcome = await answered(provider, STREAM + data[:place], data[place:], stream=True)
        assert outcome.value.text == "naïve 🧵 語"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("bad", [b"\xff", b"\xc3(", b"\xed\xa0\x80"])
async def test_P8_invalid_utf8_is_typed(provider, bad, stream):
    body = event("one").replace(b"one", bad) + END if stream else CHAT.replace(b"hi", bad)
    outcome = await answered(provider, STREAM + body if stream else response(body), stream=stream)
    assert outcome.code == "decode_error"


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
async def test_P9_line_ends_comments_and_fields(provider, line_end):
    odd = b": hi\n\nid: 7\nevent: message\ndata:" + event("one")[6:] + b"retry: 3\n\ndata\n\ndata:\n\nunknown: x\n\n"
    data = b"\xef\xbb\xbf" + (odd + END).replace(b"\n", line_end)
    outcome = await answered(provider, STREAM, *(data[i : i + 11] for i in range(0, len(data), 11)), stream=True)
    assert outcome.value.text == "one"


async def test_P10_a_line_without_an_end_is_refused_early(provider):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with FaultServer([send(STREAM + b"data: "), repeat(b"x" * 65536, 1600), silence]) as server:
        outcome = await provider.ask(server.base_url, stream=True)
    assert outcome.code == "event_too_large"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def _bomb(size: int) -> bytes:
    squeeze = zlib.compressobj(9, wbits=31)
    return b"".join([squeeze.compress(b"{"), *(squeeze.compress(b" " * 2**20) for _ in range(size)), squeeze.flush()])


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (gzip.compress(CHAT, mtime=0), "gzip", "ok"),
        (zlib.compress(CHAT), "deflate", "ok"),
        (gzip.compress(CHAT, mtime=0)[:-9], "gzip", "truncated"),
        (b"not gzip at all", "gzip", "decode_error"),
        (CHAT, "br", "decode_error"),
        (_bomb(200), "gzip", "body_too_large"),
    ],
    ids=["gzip", "deflate", "truncated", "bad", "unasked", "bomb"],
)
async def test_P11_compressed_bodies(provider, body, encoding, code):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome = await answered(provider, response(body, Content_Encoding=encoding))
    assert outcome.code == code
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 128 * 1024


async def test_P11_streams_are_asked_for_uncompressed(provider):
    async with FaultServer([send(STREAM + event("one") + END), fin]) as server:
        await provider.ask(server.base_url, stream=True)
        assert b"accept-encoding: identity" in server.requests[0][0].lower()


@pytest.mark.parametrize(
    ("data", "codes"),
    [
        (head(length=len(CHAT) + 5) + CHAT, {"truncated"}),
        (head(length=len(CHAT) - 5) + CHAT, {"invalid_response", "protocol_error"}),
        (head(length=len(CHAT), Transfer_Encoding="chunked") + CHAT, {"protocol_error", "truncated"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n" + CHAT, {"protocol_error"}),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + CHAT, {"protocol_error"}),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", {"protocol_error", "truncated"}),
        (b"SMTP ready\r\n\r\n", {"protocol_error"}),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n", {"protocol_error"}),
    ],
    ids=["longer", "shorter", "both", "conflicting", "negative", "chunk", "no-http", "header"],
)
async def test_P12_bodies_of_another_length(provider, data, codes):
    outcome = await answered(provider, data)
    assert outcome.code in codes


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_P13_redirects_are_refused(provider, status):
    async with FaultServer([send(ok()), silence]) as other:
        where = f"http://127.0.0.1:{other.port}/steal?key=1"
        async with FaultServer([send(head(status, 0, Location=where)), fin]) as server:
            outcome = await provider.ask(server.base_url)
        assert other.connections == 0
    assert (outcome.code, outcome.failure.retryable) == ("redirect_refused", False)
    assert "steal" not in str(outcome.failure)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"HTTP/1.1 100 Continue\r\n\r\n" + ok(), "ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok(), "ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "empty_response"),
        (response(b""), "empty_response"),
        (response(b" \n "), "empty_response"),
        (STREAM, "empty_response"),
    ],
)
async def test_P14_empty_and_early_answers(provider, data, code):
    assert (await answered(provider, data)).code == code


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": -5, "completion_tokens": 2}, (None, 2)),
        ({"prompt_tokens": "many", "completion_tokens": None}, (None, None)),
        ({"prompt_tokens": True, "completion_tokens": 1.5}, (None, None)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": None}, (3, 4)),
        ({"prompt_tokens": 3, "completion_tokens": 4, "prompt_tokens_details": "x"}, (3, 4)),
    ],
)
async def test_P15_usage_that_cannot_be(provider, usage, counted):
    outcome = await answered(provider, whole({"content": "x"}, usage=usage))
    assert (outcome.value.usage.input, outcome.value.usage.output) == counted


@pytest.mark.parametrize("usage", [None, [], "x", 3])
async def test_P15_no_usage_at_all(provider, usage):
    outcome = await answered(provider, whole({"content": "x"}, usage=usage))
    assert outcome.value.usage is None


@pytest.mark.parametrize(
    "message",
    [
        {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": '{"a": '}}]},
        {"tool_calls": [None, "x", {"function": None}]},
        {"tool_calls": [{"function": {"name": None, "arguments": "{}"}}]},
        {"tool_calls": {"a": 1}},
        {"tool_calls": "x"},
        {"content": {"text": "x"}},
        {"content": [None, 3, {"type": "text"}]},
        "x",
        ["x"],
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_P15_broken_messages_do_not_crash(provider, message, stream):
    if stream:
        chunk = {"choices": [{"index": 0, "delta": message, "finish_reason": "stop"}]}
        outcome = await answered(provider, STREAM + b"data: " + orjson.dumps(chunk) + b"\n\n" + DONE, stream=True)
    else:
        outcome = await answered(provider, whole(message))
    assert outcome.code in ("ok", "invalid_response")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry_After": "2"}, 2),
        ({"Retry_After": "0.5"}, 0.5),
        ({"Retry_After_Ms": "1500", "Retry_After": "9"}, 1.5),
        ({"X_Ms_Retry_After_Ms": "250"}, 0.25),
        ({"Retry_After": "Sun, 22 Nov 2026 10:00:07 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 7),
        ({"Retry_After": "Sun, 22 Nov 2026 09:00:00 GMT", "Date": "Sun, 22 Nov 2026 10:00:00 GMT"}, 0),
    ],
)
async def test_V1_what_a_429_asks_for_is_read(provider, headers, seconds):
    outcome = await answered(provider, error(429, **headers))
    assert (outcome.code, outcome.failure.retryable) == ("rate_limited", True)
    assert outcome.failure.facts.retry_after == seconds


@pytest.mark.parametrize(
    "value", ["nan", "inf", "-5", "1e400", "1,2", "99999999999", "٣", "", "soon", "1.2345", "0x10", "+1"]
)
async def test_V2_what_is_no_number_of_seconds_is_absent(provider, value):
    outcome = await answered(provider, error(429, Retry_After=value))
    assert outcome.failure.facts.retry_after is None


async def test_V2_a_date_far_away_is_a_long_time(provider):
    outcome = await answered(provider, error(429, Retry_After="Fri, 31 Dec 9999 23:59:59 GMT"))
    assert outcome.failure.facts.retry_after > 1e9


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("insufficient_quota", "You exceeded your current quota"),
        (None, "You exceeded your current quota, please check your plan"),
        (None, "Insufficient balance"),
    ],
)
async def test_V3_no_money_is_not_asked_again(provider, code, message):
    outcome = await answered(provider, error(429, message, code, Retry_After="1"))
    assert (outcome.code, outcome.failure.retryable) == ("quota", False)


async def test_V4_overloaded(provider):
    assert (await answered(provider, error(529))).code == "overloaded"
    inside = b'event: error\ndata: {"error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
    outcome = await answered(provider, STREAM + event("one") + inside, stream=True)
    assert (outcome.code, outcome.failure.retryable) == ("overloaded", True)
    assert outcome.failure.facts.partial_text == "one"


@pytest.mark.parametrize("status", [408, 409, 425, 500, 502, 503, 504, 520, 524, 529])
async def test_V5_what_may_be_asked_again(provider, status):
    outcome = await answered(provider, error(status))
    assert outcome.failure.retryable
    assert outcome.failure.facts.status == status


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 413, 422])
async def test_V5_what_may_not(provider, status):
    outcome = await answered(provider, error(status))
    assert not outcome.failure.retryable


@pytest.mark.parametrize(("said", "expected"), [("true", True), ("false", False)])
@pytest.mark.parametrize("status", [400, 429, 500])
async def test_V5_the_provider_s_own_word_wins(provider, status, said, expected):
    outcome = await answered(provider, error(status, X_Should_Retry=said))
    assert outcome.failure.retryable is expected


TOO_LONG = [
    "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
    "prompt is too long: 210000 tokens > 200000 maximum",
    "input length and `max_tokens` exceed context limit: 199000 + 4096 > 200000",
    "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
    "Input is too long for requested model.",
    "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
    "too many tokens: total number of tokens in the prompt exceeds the limit of 4081",
    "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 5000 `inputs` tokens",
    "Please reduce the length of the messages or completion.",
    "the request exceeds the available context size, try increasing it",
    "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
    "prompt too long; exceeded max context length by 1119046 tokens",
]


@pytest.mark.parametrize("message", TOO_LONG)
async def test_V8_a_prompt_too_long_in_each_provider_s_words(provider, message):
    outcome = await answered(provider, error(400, message, "invalid_request_error"))
    assert (outcome.code, outcome.failure.retryable) == ("context_too_long", False)
    assert "truncate" in outcome.failure.hint


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("content_filter", "filtered"),
        (None, "The response was filtered due to Azure OpenAI's content management policy."),
        ("content_policy_violation", "no"),
    ],
)
async def test_V9_refused_content(provider, code, message):
    outcome = await answered(provider, error(400, message, code))
    assert (outcome.code, outcome.failure.retryable) == ("content_filter", False)


async def test_V9_a_refusal_is_an_answer_with_its_text(provider):
    outcome = await answered(provider, whole({"content": None, "refusal": "I cannot."}))
    assert outcome.value.text == "I cannot."


async def test_a_key_that_the_server_repeats_is_not_shown(provider):
    outcome = await answered(provider, error(401, f"the key {CANARY} is wrong"))
    assert outcome.code == "auth"
    assert "***" in str(outcome.failure)
    assert "flowllm keys set ACME_KEY" in outcome.failure.hint


async def test_the_oracle_tells_a_naive_client_from_ours():
    """A client written without thought fails the same judgement: untyped, leaking, deaf to a cut stream."""

    async def naive(base_url):
        client = httpx.AsyncClient()
        sent = await client.post(f"{base_url}/chat/completions?key={CANARY}", json={})
        sent.raise_for_status()
        return sent.text

    async with FaultServer([send(error(500))]) as server:
        outcome, wrong = await judge(lambda: naive(server.base_url))
    assert any("untyped" in text for text in wrong)
    assert "the secret is shown" in wrong

    async def deaf(base_url):
        async with httpx.AsyncClient() as client:
            return (await client.post(f"{base_url}/chat/completions", json={})).text

    async with FaultServer([send(STREAM + event("one")), fin]) as server:
        outcome, _ = await judge(lambda: deaf(server.base_url))
    assert outcome.code == "ok"

    kept = []

    async def lost(base_url):
        kept.append(asyncio.create_task(asyncio.Event().wait()))
        await httpx.AsyncClient().post(base_url, json={})

    async with FaultServer([silence]) as server:
        _, wrong = await judge(lambda: lost(server.base_url), deadline=0.1)
    assert any("left" in text for text in wrong)
    kept[0].cancel()


def test_every_code_that_is_raised_is_registered():
    from flowllm.backends.failures import _BY_STATUS, _BY_WORD, _MESSAGES

    codes = {*_BY_STATUS.values(), *_BY_WORD.values(), *(code for code, _ in _MESSAGES)}
    assert codes <= CODES.keys()
    assert issubclass(ProviderFailure, Exception)
