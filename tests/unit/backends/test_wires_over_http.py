"""Every wire behind a provider: where requests go, how answers come, and thoughts that go back as they came."""

import httpx
import orjson
import pytest

from flowllm.backends.http import HttpClient, HttpxTransport
from flowllm.backends.provider import backend_for
from flowllm.backends.wire import find_wire
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Embed, Message, Rerank, Text, digest, message_from_data, message_to_data
from flowllm.core.scope import Scope
from flowllm.nodes.call import Call

USER = Message("user", (Text("hi"),))
CHAT = Chat("acme/m", (USER,), stream=True)
TASKS = {Chat: "chat", Embed: "embed", Rerank: "rerank"}


def event(kind, **data):
    return b"data: " + orjson.dumps({"type": kind, **data}) + b"\n\n"


def gemini(*parts, raw=None):
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": raw}]}


async def asked(wire, answer, request=CHAT, quirks=None, status=200, query=None):
    """The reply of a provider whose server answers in single bytes, and the request that it got."""
    sent = []

    async def pieces():
        for place in range(len(answer)):
            yield answer[place : place + 1]

    def handler(got):
        sent.append(got)
        return httpx.Response(status, content=pieces())

    card = ProviderCard("acme", "https://acme.example/v1", {TASKS[type(request)]: wire},
                        Auth("header", ("K",), "x-key"), query=query or {}, quirks=quirks or {})  # fmt: skip
    client = HttpClient(transport=HttpxTransport(httpx.MockTransport(handler)))
    fold = Fold()
    async for delta in backend_for(card, lambda _: "a-key", client)(request, Scope()):
        fold.add(delta)
    return fold.reply(), sent[0]


ARRAY = (
    b"["
    + b",\n".join(orjson.dumps(gemini({"text": text}, raw=raw)) for text, raw in (("a", None), ("b", "STOP")))
    + b"]"
)
THOUGHT = (
    ("anthropic_messages", event("message_start", message={"content": []})
     + event("content_block_start", index=0, content_block={"type": "thinking", "thinking": "", "signature": ""})
     + event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "h"})
     + event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "m"})
     + event("content_block_delta", index=0, delta={"type": "signature_delta", "signature": "S"})
     + event("content_block_start", index=1, content_block={"type": "redacted_thinking", "data": "D"})
     + event("content_block_start", index=2, content_block={"type": "text", "text": "ab"})
     + event("message_delta", delta={"stop_reason": "end_turn"}) + event("message_stop"),
     lambda body: body["messages"][0]["content"],
     [{"type": "thinking", "thinking": "hm", "signature": "S"}, {"type": "redacted_thinking", "data": "D"},
      {"type": "text", "text": "ab"}]),
    ("openai_responses", event("response.reasoning_summary_text.delta", output_index=0, item_id="t", delta="hm")
     + event("response.output_item.done", output_index=0,
             item={"type": "reasoning", "id": "t", "summary": [], "encrypted_content": "S"})
     + event("response.output_text.delta", output_index=1, delta="ab")
     + event("response.completed", response={"status": "completed", "output": []}),
     lambda body: body["input"],
     [{"type": "reasoning", "id": "t", "summary": [{"type": "summary_text", "text": "hm"}], "encrypted_content": "S"},
      {"role": "assistant", "content": "ab"}]),
    ("gemini_generate", b"".join(b"data: " + orjson.dumps(gemini(part, raw=raw)) + b"\r\n\r\n" for part, raw in (
        ({"text": "hm", "thought": True, "thoughtSignature": "S"}, None), ({"text": "ab"}, None),
        ({"text": "", "thoughtSignature": "T"}, "STOP"))),
     lambda body: body["contents"][0]["parts"],
     [{"text": "hm", "thought": True, "thoughtSignature": "S"}, {"text": "ab", "thoughtSignature": "T"}]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("wire", "answer", "place", "turn"), THOUGHT, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_thought_goes_back_as_it_came(wire, answer, place, turn):
    reply, _ = await asked(wire, answer)
    assert (reply.text, reply.reasoning, reply.finish) == ("ab", "hm", "stop")
    message = Message("assistant", (Text(reply.text),), thoughts=reply.thoughts)
    assert message_from_data(message_to_data(message)) == message
    card = ProviderCard("acme")
    assert place(orjson.loads(find_wire(wire, card).encode(Chat("acme/m", (message,))).body)) == turn
    for other in {name for name, *_ in THOUGHT} - {wire}:
        assert b'"S"' not in find_wire(other, card).encode(Chat("acme/m", (message,))).body
    assert digest(Chat("acme/m", (message,))) != digest(Chat("acme/m", (Message("assistant", (Text("ab"),)),)))


@pytest.mark.parametrize(
    ("wire", "answer", "place", "turn"), THOUGHT, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_second_call_of_a_graph_carries_what_the_first_thought(wire, answer, place, turn):
    sent = []

    def handler(got):
        sent.append(got)
        return httpx.Response(200, content=answer)

    card = ProviderCard("acme", "https://acme.example/v1", {"chat": wire}, Auth("header", ("K",), "x-key"))
    client = HttpClient(transport=HttpxTransport(httpx.MockTransport(handler)))
    scope = Scope(call=backend_for(card, lambda _: "a-key", client))
    ports = await Call().run(scope, "acme/m", prompt=[{"role": "user", "content": "hi"}])
    await Call().run(scope, "acme/m", messages=orjson.loads(orjson.dumps(ports["messages"][1:])))
    assert place(orjson.loads(sent[1].content)) == turn


async def test_the_seal_of_a_call_goes_back_with_it():
    called = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "S"}
    reply, _ = await asked("gemini_generate", b"data: " + orjson.dumps(gemini(called, raw="STOP")) + b"\n\n")
    message = message_from_data(message_to_data(Message("assistant", tool_calls=reply.tool_calls)))
    assert message.tool_calls == reply.tool_calls
    body = orjson.loads(find_wire("gemini_generate", ProviderCard("acme")).encode(Chat("acme/m", (message,))).body)
    assert body["contents"][0]["parts"] == [called]


@pytest.mark.parametrize(
    ("wire", "quirks", "answer", "url"),
    [
        ("gemini_generate", {"stream": "array"}, ARRAY, "https://acme.example/v1/models/m:streamGenerateContent"),
        ("gemini_generate", {}, ARRAY, "https://acme.example/v1/models/m:streamGenerateContent?alt=sse"),
        ("ollama_native", {}, (b'{"message":{"content":"a"}}\n{"message":{"content":"b"},"done":true,'
         b'"done_reason":"stop"}'),
         "https://acme.example/v1/api/chat"),
        ("cohere_v2", {}, event("content-delta", delta={"message": {"content": {"text": "ab"}}})
         + event("message-end", delta={"finish_reason": "COMPLETE"}) + b"data: [DONE]\n\n",
         "https://acme.example/v1/chat"),
    ],
)  # fmt: skip
async def test_streams_of_every_form(wire, quirks, answer, url):
    reply, got = await asked(wire, answer, quirks=quirks)
    assert (reply.text, reply.finish) == ("ab", "stop")
    assert str(got.url) == url
    assert got.headers["x-key"] == "a-key"


async def test_an_answer_of_invoke_model_comes_to_its_end():
    answer = b'{"type":"message","role":"assistant","content":[{"type":"text","text":"ab"}],"stop_reason":"end_turn"}'
    request = Chat("acme/anthropic.m", (USER,))
    reply, got = await asked("bedrock_invoke", answer, request)
    assert (reply.text, reply.finish, got.url.path) == ("ab", "stop", "/v1/model/anthropic.m/invoke")


async def test_words_of_the_address_join_those_of_the_path():
    _, got = await asked("gemini_generate", ARRAY, query={"v": "1"})
    assert dict(got.url.params) == {"alt": "sse", "v": "1"}


async def test_ranks_and_vectors():
    ranked, _ = await asked(
        "rerank", b'[{"index":0,"score":0.1},{"index":1,"score":0.5}]', Rerank("acme/m", "q", ("a", "b"), 1)
    )
    assert (ranked.scores.indexes, ranked.scores.scores) == ([1], [0.5])
    reply, _ = await asked("gemini_embed", b'{"embeddings":[{"values":[1,2]}]}', Embed("acme/m", ("a",)))
    assert reply.vectors == [[1, 2]]
    with pytest.raises(ProviderFailure, match="1 embeddings for 2 texts"):
        await asked("gemini_embed", b'{"embeddings":[{"values":[1,2]}]}', Embed("acme/m", ("a", "b")))


@pytest.mark.parametrize("more", [{}, {"choices": []}])
async def test_counts_of_a_completion_may_come_without_choices(more):
    said, counts = {"choices": [{"text": "hi", "finish_reason": "stop"}]}, {"usage": {"prompt_tokens": 3}, **more}
    answer = b"".join(b"data: " + orjson.dumps(chunk) + b"\n\n" for chunk in (said, counts)) + b"data: [DONE]\n\n"
    reply, _ = await asked("openai_completions", answer)
    assert (reply.text, reply.usage.input) == ("hi", 3)


@pytest.mark.parametrize("wire", ["openai_completions", "openai_chat"])
@pytest.mark.parametrize(("answer", "code"), [({"detail": "Invalid API key"}, "auth"), ({"x": 1}, "invalid_response")])
async def test_what_is_no_answer_of_a_model_is_judged_alike_by_both_formats(wire, answer, code):
    with pytest.raises(ProviderFailure) as caught:
        await asked(wire, orjson.dumps(answer), Chat("acme/m", (USER,)))
    assert caught.value.code == code


@pytest.mark.parametrize(("args", "arguments"), [({"args": {}}, "{}"), ({"args": {"a": 1}}, '{"a":1}')])
async def test_gemini_s_arguments_may_be_none_at_all(args, arguments):
    answer = gemini({"functionCall": {"name": "f", **args}}, raw="STOP")
    reply, _ = await asked("gemini_generate", orjson.dumps(answer), Chat("acme/m", (USER,)))
    assert [call.arguments for call in reply.tool_calls] == [arguments]
