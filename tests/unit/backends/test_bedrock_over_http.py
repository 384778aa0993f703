"""The shipped providers of Amazon against servers that answer in single bytes: paths, proofs, streams, counts."""

from dataclasses import replace

import httpx
import orjson
import pytest
import yaml
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from flowllm.backends.http import HttpClient, HttpxTransport
from flowllm.backends.provider import backend_for
from flowllm.backends.wire import check_quirks
from flowllm.catalog import load_catalog, packaged_providers
from flowllm.core.delta import Fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Embed, Message, Rerank, Text
from flowllm.core.scope import Scope
from tests.wire.amazon import events, exception, message

CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "aws-secret", "AWS_SESSION_TOKEN": "tests-token"}
BEARER = {"AWS_BEARER_TOKEN_BEDROCK": "bedrock-key"}
PIECE = "contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hé"}}
SAID = events(PIECE, ("messageStop", {"stopReason": "end_turn"}))
COUNTED = events(("metadata", {"usage": {"inputTokens": 5, "outputTokens": 3, "cacheReadInputTokens": 2}}))
WHOLE = orjson.dumps({"output": {"message": {"content": [{"text": "Hé"}]}}, "stopReason": "end_turn"})


def card(name, **environment):
    def read(path):
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    found = load_catalog([packaged_providers()], read, check_quirks=check_quirks, environment=environment)
    return found.providers[name]


async def asked(provider, request, *answers, keys=BEARER, status=200, headers=None):
    """The reply of a shipped provider, and the requests that its server got."""
    sent, left = [], list(answers)

    async def pieces(answer):
        for place in range(len(answer)):
            yield answer[place : place + 1]

    def handler(got):
        sent.append(got)
        return httpx.Response(status, content=pieces(left.pop(0)), headers=headers)

    client, fold = HttpClient(transport=HttpxTransport(httpx.MockTransport(handler))), Fold()

    def find(auth):
        return next((keys[name] for name in auth.env if name in keys), None)

    async for delta in backend_for(card(provider, AWS_REGION="eu-west-1"), find, client)(request, Scope()):
        fold.add(delta)
    return fold.reply(), sent


def chat(provider="bedrock", model=CLAUDE, **more):
    return Chat(f"{provider}/{model}", (Message("user", (Text("hi"),)),), **more)


def proof(got, service):
    """The authorization that botocore itself gives to a request as the server got it."""
    body = got.content
    signed = {name: got.headers[name] for name in ("content-type", "host", "x-amz-date", "x-amz-security-token")}
    url = f"https://{got.headers['host']}{got.url.raw_path.decode()}"
    request = AWSRequest(got.method, url, signed, body)
    request.context["timestamp"] = got.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(*KEYS.values()), service, "eu-west-1")
    text = signer.string_to_sign(request, signer.canonical_request(request))
    return signer.signature(text, request)


@pytest.mark.parametrize("stream", [True, False])
async def test_a_chat_with_a_key_of_bedrock(stream):
    answer = SAID + COUNTED if stream else WHOLE
    reply, (got,) = await asked("bedrock", chat(stream=stream), answer, headers={"x-amzn-requestid": "r1"})
    assert (reply.text, reply.finish, reply.request_id) == ("Hé", "stop", "r1")
    assert got.headers["host"] == "bedrock-runtime.eu-west-1.amazonaws.com"
    action = "converse-stream" if stream else "converse"
    assert got.url.raw_path == f"/model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/{action}".encode()
    assert got.headers["authorization"] == "Bearer bedrock-key"
    assert not stream or (reply.usage.input, reply.usage.cached_input) == (7, 2)


@pytest.mark.parametrize(
    ("provider", "request_", "service", "path", "answer"),
    [
        ("bedrock", chat(stream=True), "bedrock", f"/model/{CLAUDE.replace(':', '%3A')}/converse-stream", SAID),
        ("bedrock", Embed("bedrock/cohere.embed-v4:0", ("a",)), "bedrock", "/model/cohere.embed-v4%3A0/invoke",
         b'{"embeddings": {"float": [[1, 2]]}}'),
        ("bedrock-rerank", Rerank("bedrock-rerank/cohere.rerank-v3-5:0", "q", ("a",)), "bedrock", "/rerank",
         b'{"results": [{"index": 0, "relevanceScore": 1}]}'),
        ("sagemaker", chat("sagemaker", "my-endpoint"), "sagemaker", "/endpoints/my-endpoint/invocations",
         b'[{"generated_text": "a"}]'),
    ],
)  # fmt: skip
async def test_the_signature_is_the_one_of_botocore(provider, request_, service, path, answer):
    _, (got,) = await asked(provider, request_, answer, keys=KEYS)
    assert got.url.raw_path.decode() == path
    shown = got.headers["authorization"]
    assert f"/eu-west-1/{service}/aws4_request" in shown
    assert shown.rpartition("Signature=")[2] == proof(got, service)


async def test_counts_of_headers_stand_in_for_those_of_the_body():
    headers = {f"x-amzn-bedrock-{name}-token-count": n for name, n in (("input", "5"), ("cache-read-input", "2"))}
    embed = Embed("bedrock/cohere.embed-english-v3", ("a",))
    reply, _ = await asked("bedrock", embed, b'{"embeddings": [[1, 2]]}', headers=headers)
    assert (reply.usage.input, reply.usage.cached_input, reply.usage.output) == (7, 2, None)
    reply, _ = await asked("bedrock", chat(stream=True), SAID + COUNTED, headers=headers)
    assert reply.usage.output == 3
    odd = {"x-amzn-bedrock-input-token-count": "many"}
    reply, _ = await asked("bedrock", embed, b'{"embeddings": [[1, 2]]}', headers=odd)
    assert reply.usage is None


@pytest.mark.parametrize("told", [{}, {"inputTextTokenCount": 4}])
async def test_counts_of_texts_that_are_embedded_one_a_request_are_summed(told):
    embed = Embed("bedrock/amazon.titan-embed-text-v2:0", ("a", "b", "c"))
    answers = [orjson.dumps({"embedding": [n]} | told) for n in (1, 2, 3)]
    reply, _ = await asked("bedrock", embed, *answers, headers={"x-amzn-bedrock-input-token-count": "4"})
    assert (reply.vectors, reply.usage.input, reply.usage.output) == ([[1], [2], [3]], 12, None)


async def test_a_text_that_fails_fails_them_all():
    embed = Embed("bedrock/amazon.titan-embed-text-v2:0", ("a", "b"))
    with pytest.raises(ProviderFailure, match="holds no embeddings"):
        await asked("bedrock", embed, b'{"embedding": [1], "inputTextTokenCount": 1}', b'{"message": "no"}')


async def test_texts_that_are_embedded_one_a_request():
    embed = Embed("bedrock/amazon.titan-embed-text-v2:0", ("a", "b"))
    answers = [orjson.dumps({"embedding": [n], "inputTextTokenCount": 1}) for n in (1, 2)]
    reply, sent = await asked("bedrock", embed, *answers)
    assert ([orjson.loads(got.content)["inputText"] for got in sent], reply.vectors) == (["a", "b"], [[1], [2]])
    assert reply.usage.input == 2


def part(data):
    return message(data, event_type="PayloadPart", content_type="application/octet-stream")


async def test_a_stream_of_a_container_stands_inside_the_stream():
    told = [{"token": {"text": "Hé"}, "details": None}, {"token": {"text": "llo", "special": False}},
            {"token": {"text": "</s>", "special": True},
             "details": {"finish_reason": "length", "generated_tokens": 2}}]  # fmt: skip
    text = b"".join(b"data:" + orjson.dumps(data) + b"\n\n" for data in told)
    answer = b"".join(part(text[place : place + 7]) for place in range(0, len(text), 7))
    reply, (got,) = await asked("sagemaker", chat("sagemaker", "e", stream=True), answer, keys=KEYS)
    assert (reply.text, reply.finish, reply.usage.output) == ("Hello".replace("e", "é"), "length", 2)
    assert got.url.path == "/endpoints/e/invocations-response-stream"
    parameters = {"return_full_text": False, "details": True}
    assert orjson.loads(got.content) == {"inputs": "hi", "parameters": parameters, "stream": True}


async def test_a_whole_answer_of_a_container_says_why_it_ended():
    answer = orjson.dumps([{"generated_text": "Hé", "details": {"finish_reason": "length", "generated_tokens": 2}}])
    reply, _ = await asked("sagemaker", chat("sagemaker", "e"), answer, keys=KEYS)
    assert (reply.text, reply.finish, reply.usage.output) == ("Hé", "length", 2)


@pytest.mark.parametrize(
    ("answer", "code", "text"),
    [
        (SAID[:40], "stream_interrupted", ""),
        (SAID[:200], "stream_interrupted", "Hé"),
        (SAID[:60] + b"\0" + SAID[61:], "invalid_response", ""),
        (SAID[:180] + exception("throttlingException", "slow"), "invalid_response", "Hé"),
        (events(PIECE) + exception("throttlingException", "slow"), "rate_limited", "Hé"),
    ],
)  # fmt: skip
async def test_a_stream_that_fails_says_what_came(answer, code, text):
    with pytest.raises(ProviderFailure) as caught:
        await asked("bedrock", chat(stream=True), answer)
    assert (caught.value.code, caught.value.facts.partial_text) == (code, text)


async def test_an_error_names_the_provider_and_no_key():
    headers = {"x-amzn-errortype": "AccessDeniedException:http://internal.amazon.com/"}
    with pytest.raises(ProviderFailure, match=r"^bedrock answered 403: no access with \*\*\*") as caught:
        await asked("bedrock", chat(), b'{"message": "no access with bedrock-key"}', status=403, headers=headers)
    assert caught.value.code == "permission"


@pytest.mark.parametrize(("raw", "finish"), [("tool_use", "stop"), ("max_tokens", "length"), ("end_turn", "stop")])
async def test_an_answer_given_by_calling_a_tool_ends_as_it_was_said(raw, finish):
    call = {"toolUse": {"toolUseId": "1", "name": "answer", "input": {"a": 1}}}
    answer = orjson.dumps({"output": {"message": {"content": [call]}}, "stopReason": raw})
    request = replace(chat(model="amazon.nova-x"), schema={"type": "object"})
    reply, _ = await asked("bedrock", request, answer)
    assert (reply.text, reply.finish) == ('{"a":1}', finish)
