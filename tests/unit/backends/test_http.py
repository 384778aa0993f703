"""httpx's own transports behind our client, and what is sent."""

from urllib.parse import quote, quote_plus

import httpx
import orjson
import pytest

from flowllm.backends.http import HttpClient, HttpRequest, HttpResponse, HttpxTransport
from flowllm.backends.provider import backend_for
from flowllm.backends.router import Backends
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Fold
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.request import Chat, Embed, Message, Rerank, Text
from flowllm.core.scope import Scope

WIRES = {"chat": "openai_chat", "embed": "openai_embeddings"}
REQUEST = HttpRequest("POST", "https://api.acme.example/v1/x?key=hidden", {"x-api-key": "hidden"}, b"{}")
ANSWER = {"choices": [{"index": 0, "message": {"content": "hi"}, "finish_reason": "stop"}], "model": "m-1"}


def client(handler):
    return HttpClient(transport=HttpxTransport(httpx.MockTransport(handler)))


async def folded(call, request):
    fold = Fold()
    async for delta in call(request, Scope()):
        fold.add(delta)
    return fold.reply()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (httpx.ConnectError("no"), "connect_error"),
        (httpx.ConnectTimeout("no"), "connect_error"),
        (httpx.ProxyError("no"), "connect_error"),
        (httpx.ReadError(""), "protocol_error"),
        (httpx.RemoteProtocolError("no"), "protocol_error"),
    ],
)
async def test_faults_of_httpx_have_codes(error, code):
    def fail(request):
        raise error

    with pytest.raises(ProviderFailure) as caught:
        await client(fail).open(REQUEST)
    assert caught.value.code == code
    assert "api.acme.example" in str(caught.value)
    assert type(error).__name__ in str(caught.value)
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_redirects_are_refused_by_every_transport(status):
    handler = client(lambda _: httpx.Response(status, headers={"location": "https://u:pw@evil.example:8443/x?y=1"}))
    with pytest.raises(ProviderFailure, match=r" evil\.example:8443, which") as caught:
        await handler.open(REQUEST)
    assert caught.value.code == "redirect_refused"
    assert caught.value.hint.endswith("base_url: https://evil.example:8443/...")


async def test_a_request_goes_where_the_card_says_with_its_key_and_body():
    sent = []

    def handler(request):
        sent.append(request)
        return httpx.Response(200, json=ANSWER, headers={"x-request-id": "r-1"})

    card = ProviderCard(
        "acme", "https://api.acme.example/v1", WIRES, Auth("bearer", ("K",)), {"x-app": "flow"}, {"version": "2"}
    )
    call = backend_for(card, lambda _: "secret-key", client(handler))
    reply = await folded(call, Chat("acme/large", (Message("user", (Text("hi"),)),)))
    assert (reply.text, reply.model, reply.request_id, reply.finish) == ("hi", "m-1", "r-1", "stop")
    assert str(sent[0].url) == "https://api.acme.example/v1/chat/completions?version=2"
    assert (sent[0].headers["authorization"], sent[0].headers["x-app"]) == ("Bearer secret-key", "flow")
    assert orjson.loads(sent[0].content) == {"model": "large", "messages": [{"role": "user", "content": "hi"}]}


async def test_embeddings_come_in_the_order_of_the_texts():
    rows = [{"index": 1, "embedding": [3, 4]}, {"index": 0, "embedding": [1, 2]}]
    handler = client(lambda _: httpx.Response(200, json={"data": rows, "usage": {"total_tokens": 5}}))
    call = backend_for(ProviderCard("acme", "https://api.acme.example", WIRES), lambda _: None, handler)
    reply = await folded(call, Embed("acme/e", ("a", "b")))
    assert (list(reply.vectors), reply.usage.input) == ([[1, 2], [3, 4]], 5)
    with pytest.raises(ProviderFailure, match="2 embeddings for 1 texts"):
        await folded(call, Embed("acme/e", ("a",)))


@pytest.mark.parametrize(
    ("card", "request_", "code"),
    [
        (ProviderCard("acme", "https://x.example", WIRES, Auth("bearer", ("K",))), Chat("acme/m", ()), "missing_key"),
        (ProviderCard("acme", "", WIRES), Chat("acme/m", ()), "missing_setting"),
        (ProviderCard("acme", "https://x.example", WIRES), Rerank("acme/m", "q", ()), "missing_extra"),
    ],
)
async def test_what_is_missing_is_said_before_anything_is_sent(card, request_, code):
    call = backend_for(card, lambda _: None, client(lambda _: pytest.fail("a request was sent")))
    with pytest.raises(SetupError) as caught:
        await folded(call, request_)
    assert (caught.value.code, bool(caught.value.hint)) == (code, True)


async def test_the_router_asks_the_provider_before_the_slash():
    async def local(request, scope):
        yield_ = request.model
        from flowllm.core.delta import Text as Piece

        yield Piece(yield_)

    cards = {"acme": ProviderCard("acme", "https://x.example", WIRES, Auth("bearer", ("K",)))}
    handler = client(lambda _: httpx.Response(200, json=ANSWER))
    keys = {}
    backends = Backends(cards.__getitem__, lambda _: keys.get("K"), {"mock": local}, handler)
    assert (await folded(backends, Chat("mock/a/b", ()))).text == "mock/a/b"
    with pytest.raises(SetupError):
        backends.check("acme/m")
    keys["K"] = "secret-key"
    backends.check("acme/m")
    backends.check("mock/x")
    assert (await folded(backends, Chat("acme/m", ()))).text == "hi"
    await backends.aclose()


async def test_the_whole_of_a_body_is_read_in_pieces():
    async with await client(lambda _: httpx.Response(200, content=b"abc")).open(REQUEST) as response:
        assert b"".join([chunk async for chunk in response.chunks()]) == b"abc"


def test_a_host_is_all_that_is_shown_of_a_url():
    assert REQUEST.host == "api.acme.example"
    assert HttpRequest("GET", "http://u:p@h:8/x?y", {}).host == "h:8"


async def test_a_long_body_in_small_pieces_is_joined_once():
    class Piece(bytes):
        def __radd__(self, other):
            raise AssertionError("all that came is copied for every piece")

    pieces = [Piece(b"ab"), Piece(b"cd"), Piece(b"ef"), Piece(b"gh"), b""]

    class Body:
        async def read(self):
            return pieces.pop(0)

        async def aclose(self):
            pass

    assert await HttpResponse(200, {}, Body()).start(5) == b"abcde"
    assert pieces == [b"gh", b""]


@pytest.mark.parametrize("shape", [str, quote, quote_plus, lambda key: quote(key, safe="")])
async def test_a_key_of_the_query_is_not_shown_as_the_server_repeats_it(shape):
    card = ProviderCard("acme", "https://acme.example", WIRES, Auth("query", ("K",), name="key"))
    refused = client(
        lambda _: httpx.Response(400, json={"error": {"message": f"bad url ?key={shape('s/c r+t==k')}&x"}})
    )
    with pytest.raises(ProviderFailure) as caught:
        await folded(
            backend_for(card, lambda _: "s/c r+t==k", refused), Chat("acme/m", (Message("user", (Text("hi"),)),))
        )
    assert "?key=***&x" in caught.value.message


@pytest.mark.parametrize(
    ("vectors", "fits"),
    [
        (({"index": 1}, [1, 0.5]), True),
        (({}, [1, 0.5]), True),
        (({"index": 0}, [1]), False),
        (({"index": 1}, [1, None]), False),
        (({"index": 1}, ["x"]), False),
        (({"index": 1}, [True]), False),
        (({"index": 1}, []), False),
    ],
)
async def test_vectors_are_numbers_and_one_of_each_text(vectors, fits):
    place, vector = vectors
    answer = {"data": [{"index": 0, "embedding": [0.5]}, {**place, "embedding": vector}]}
    card = ProviderCard("acme", "https://acme.example", WIRES)
    call = backend_for(card, lambda _: None, client(lambda _: httpx.Response(200, json=answer)))
    if fits:
        assert len((await folded(call, Embed("acme/m", ("a", "b")))).vectors) == 2
        return
    with pytest.raises(ProviderFailure) as caught:
        await folded(call, Embed("acme/m", ("a", "b")))
    assert caught.value.code == "invalid_response"


async def test_a_document_is_ranked_once():
    rows = {"results": [{"index": 0, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.1}]}
    card = ProviderCard("acme", "https://acme.example", {"rerank": "rerank"})
    call = backend_for(card, lambda _: None, client(lambda _: httpx.Response(200, json=rows)))
    with pytest.raises(ProviderFailure, match="twice"):
        await folded(call, Rerank("acme/m", "q", ("a", "b")))
