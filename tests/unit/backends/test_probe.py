"""Free questions to providers: where they go, with what proof, and what is made of the answers."""

from email.utils import formatdate

import httpx
import orjson
import pytest

from flowllm.backends.http import HttpClient, HttpxTransport
from flowllm.backends.probe import can_list, count_tokens, list_models
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import ProviderFailure, UsageError
from flowllm.core.request import Chat, Message, Text, Tool
from tests.unit.policies.world import FakeClock

API = "https://api.acme.example/v2"
PROOF = Auth("header", ("K",), "x-key")
KEY = "canary-secret-0123456789"
CHAT = Chat("acme/m:1", (Message("system", (Text("Be kind."),)), Message("user", (Text("hi"),))), tools=(Tool("t"),),
            stream=True, reasoning="low")  # fmt: skip
LISTS = {
    "openai_chat": ("/models", {"object": "list", "data": [{"id": "a"}, {"id": "b/c"}]}, ("a", "b/c")),
    "openai_completions": ("/models", {"data": [{"id": "a"}]}, ("a",)),
    "openai_responses": ("/models", {"data": []}, ()),
    "anthropic_messages": ("/models?limit=1000", {"data": [{"id": "a", "type": "model"}], "has_more": False}, ("a",)),
    "gemini_generate": ("/models?pageSize=1000", {"models": [{"name": "models/a"}]}, ("a",)),
    "ollama_native": ("/api/tags", {"models": [{"name": "a:1b", "model": "a:1b"}]}, ("a:1b",)),
    "cohere_v2": ("/../v1/models?page_size=1000", {"models": [{"name": "a"}]}, ("a",)),
    "watsonx": ("/foundation_model_specs?limit=200", {"resources": [{"model_id": "i/a"}]}, ("i/a",)),
    "replicate_predictions": ("/models", {"results": [{"owner": "o", "name": "a"}]}, ("o/a",)),
}


class Server:
    """Answers everything with one answer; without a key, with 401 unless it is open to all."""

    def __init__(self, answer, status=200, *, open_to_all=False, **headers):
        self.sent, self.clock = [], FakeClock()
        self._answer = answer if isinstance(answer, bytes) else orjson.dumps(answer)
        self._status, self._open, self._headers = status, open_to_all, headers

    def __call__(self, request):
        self.sent.append(request)
        if "x-key" not in request.headers and not self._open:
            return httpx.Response(401, json={"error": {"message": "no key"}})
        return httpx.Response(self._status, content=self._answer, headers=self._headers)

    def card(self, wire, task="chat", auth=PROOF, **more):
        return ProviderCard("acme", API, {task: wire}, auth, **more)

    async def ask(self, question, *said):
        client = HttpClient(transport=HttpxTransport(httpx.MockTransport(self)))
        return await question(*said, lambda auth: KEY if auth.env else None, client, self.clock)


@pytest.mark.parametrize("wire", LISTS)
async def test_models_are_listed_in_the_way_of_each_format(wire):
    path, answer, names = LISTS[wire]
    server = Server(answer)
    listed = await server.ask(list_models, server.card(wire))
    assert (listed.names, listed.more, listed.open, listed.seconds) == (names, False, False, 0.0)
    assert str(server.sent[0].url) == str(httpx.URL(API + path))
    assert (server.sent[0].method, server.sent[0].headers["x-key"], server.sent[0].content) == ("GET", KEY, b"")


async def test_a_list_that_all_may_read_proves_no_key():
    server = Server({"data": [{"id": "a"}]}, open_to_all=True)
    listed = await server.ask(list_models, server.card("openai_chat"))
    assert listed.open
    assert ["x-key" in request.headers for request in server.sent] == [True, False]


async def test_nothing_is_asked_twice_where_there_is_no_key():
    server = Server({"data": []}, open_to_all=True)
    assert (await server.ask(list_models, server.card("openai_chat", auth=Auth()))).open
    assert len(server.sent) == 1


@pytest.mark.parametrize("more", [{"has_more": True}, {"nextPageToken": "x"}, {"next": "x"}, {"next_page_token": "x"}])
async def test_more_models_than_came_are_told_of(more):
    server = Server({"data": [{"id": "a"}], **more})
    assert (await server.ask(list_models, server.card("openai_chat"))).more


@pytest.mark.parametrize(("ahead", "told"), [(0, 0), (120, 120), (-3600, -3600)])
async def test_the_clock_of_the_server_is_compared(ahead, told):
    server = Server({"data": []})
    server._headers = {"date": formatdate(server.clock.wall() + ahead, usegmt=True)}
    listed = await server.ask(list_models, server.card("openai_chat"))
    assert listed.skew == pytest.approx(told, abs=1)


@pytest.mark.parametrize("date", [{}, {"date": "some day"}])
async def test_a_server_without_a_date_has_no_skew(date):
    server = Server({"data": []}, **date)
    assert (await server.ask(list_models, server.card("openai_chat"))).skew is None


REFUSED = {
    "a key that is refused": (401, {"error": {"message": f"bad key {KEY}"}}, "auth"),
    "a busy server": (503, {"error": {"message": "later"}}, "server_error"),
    "no JSON": (200, b"<html>", "invalid_response"),
    "no list": (200, {"data": 5}, "invalid_response"),
    "rows without names": (200, {"data": [{"x": 1}]}, "invalid_response"),
    "a text": (200, b'"hello"', "invalid_response"),
}


@pytest.mark.parametrize("row", REFUSED.values(), ids=REFUSED)
async def test_what_is_no_list_is_a_failure_that_names_the_provider_and_no_key(row):
    status, answer, code = row
    server = Server(answer, status)
    with pytest.raises(ProviderFailure) as caught:
        await server.ask(list_models, server.card("openai_chat"))
    assert (caught.value.code, caught.value.facts.provider) == (code, "acme")
    assert KEY not in caught.value.message


@pytest.mark.parametrize(
    ("card", "can"),
    [
        (ProviderCard("a", API, {"embed": "openai_embeddings"}), False),
        (ProviderCard("a", API, {"embed": "openai_embeddings", "chat": "openai_chat"}), True),
        (ProviderCard("a", API, {"chat": "openai_chat"}, endpoints={"models": ""}), False),
        (ProviderCard("a", API, {"chat": "bedrock_converse"}), False),
        (ProviderCard("a", API, {"chat": "bedrock_converse"}, endpoints={"models": "https://b.example/m"}), True),
        (ProviderCard("a", API), False),
    ],
)
async def test_a_provider_without_a_list_is_not_asked(card, can):
    assert can_list(card) is can
    if not can:
        server = Server({})
        with pytest.raises(UsageError):
            await server.ask(list_models, card)
        assert server.sent == []


@pytest.mark.parametrize(
    ("place", "url"),
    [
        ("/other", f"{API}/other"),
        ("../v1/models", "https://api.acme.example/v1/models"),
        ("https://plane.acme.example/models", "https://plane.acme.example/models"),
    ],
)
async def test_the_file_of_a_provider_may_name_another_place(place, url):
    server = Server({"data": []})
    card = server.card("openai_chat", endpoints={"models": place}, origins=("https://plane.acme.example",))
    await server.ask(list_models, card)
    assert str(server.sent[0].url) == url


async def test_a_key_goes_to_no_server_that_is_not_the_providers_own():
    server = Server({"data": []})
    with pytest.raises(ProviderFailure, match="not to the provider's own server"):
        await server.ask(list_models, server.card("openai_chat", endpoints={"models": "https://evil.example/m"}))
    assert server.sent == []


COUNTS = {
    "anthropic_messages": ("/messages/count_tokens", {"input_tokens": 16}, {"model", "messages", "system", "tools"}),
    "openai_responses": ("/responses/input_tokens", {"input_tokens": 16}, {"model", "input", "instructions", "tools"}),
    "bedrock_converse": ("/model/m%3A1/count-tokens", {"inputTokens": 16}, {"input"}),
    "gemini_generate": ("/models/m%3A1:countTokens", {"totalTokens": 16}, {"generateContentRequest"}),
}


@pytest.mark.parametrize("wire", COUNTS)
async def test_tokens_are_counted_in_the_way_of_each_format(wire):
    path, answer, words = COUNTS[wire]
    server = Server(answer)
    assert await server.ask(count_tokens, CHAT, server.card(wire)) == 16
    body = orjson.loads(server.sent[0].content)
    assert str(server.sent[0].url) == API + path
    assert words <= set(body)
    assert not {"max_tokens", "stream", "temperature", "store", "include"} & set(body)


@pytest.mark.parametrize("quirks", [{}, {"count": "flat"}])
async def test_gemini_is_asked_as_its_host_counts(quirks):
    server = Server({"totalTokens": 5})
    await server.ask(count_tokens, CHAT, server.card("gemini_generate", quirks=quirks))
    body = orjson.loads(server.sent[0].content)
    whole = body if quirks else body["generateContentRequest"]
    assert {"contents", "systemInstruction", "tools"} <= set(whole)
    assert quirks or whole["model"] == "models/m%3A1"


@pytest.mark.parametrize("answer", [{}, {"input_tokens": "many"}, []])
async def test_an_answer_without_a_number_is_a_failure(answer):
    server = Server(answer)
    with pytest.raises(ProviderFailure, match="no number of tokens"):
        await server.ask(count_tokens, CHAT, server.card("anthropic_messages"))


async def test_who_counts_nothing_is_not_asked():
    server = Server({})
    with pytest.raises(UsageError, match="counts no tokens"):
        await server.ask(count_tokens, CHAT, server.card("openai_chat"))
    assert server.sent == []
