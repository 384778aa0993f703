"""Tokens of IBM Cloud, Google and Microsoft Entra from servers that answer as theirs do."""

import asyncio
import threading
from datetime import UTC, datetime
from urllib.parse import parse_qs

import httpx
import orjson
import pytest

from flowllm.backends.auth.azure import azure_tokens
from flowllm.backends.auth.google import google_tokens
from flowllm.backends.auth.ibm import ibm_tokens
from flowllm.backends.auth.signing import signer_for
from flowllm.backends.http import HttpClient, HttpRequest, HttpxTransport
from flowllm.backends.provider import backend_for
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.delta import Fold
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from flowllm.core.secrets import registered

KEY, TOKEN = "canary-key-0123456789", "canary-token-0123456789"
CHAT = Chat("acme/m", (Message("user", (Text("hi"),)),))
GOOD = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}]}


@pytest.fixture
async def client():
    made = HttpClient()
    yield made
    await made.aclose()


def mocked(handler):
    return HttpClient(transport=HttpxTransport(httpx.MockTransport(handler)))


def ibm(server):
    return Auth("ibm", ("WATSONX_API_KEY",), token_url=f"{server.url}/identity/token")


async def test_fifty_calls_exchange_one_key_of_ibm_once(server, client):
    server.answer = lambda asked: (200, {"access_token": TOKEN, "expires_in": 3600, "expiration": 1})
    tokens = ibm_tokens(ibm(server), KEY, client)
    found = await asyncio.gather(*(tokens.get() for _ in range(50)))
    assert found == [{"authorization": f"Bearer {TOKEN}"}] * 50
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/identity/token")
    assert parse_qs(asked.body.decode()) == {
        "grant_type": ["urn:ibm:params:oauth:grant-type:apikey"], "apikey": [KEY]}  # fmt: skip
    assert TOKEN in registered()


@pytest.mark.parametrize(
    ("status", "body", "code", "retryable"),
    [
        (
            400,
            {"errorCode": "BXNIM0415E", "errorMessage": f"Provided API key could not be found. {KEY}"},
            "auth",
            False,
        ),
        (401, {}, "auth", False),
        (429, {}, "rate_limited", True),
        (500, {}, "server_error", True),
        (503, "", "server_error", True),
        (200, {}, "invalid_response", True),
        (200, "<html>", "invalid_response", True),
        (200, {"access_token": TOKEN, "expires_in": 0}, "invalid_response", True),
        (200, {"access_token": TOKEN, "expires_in": "soon"}, "invalid_response", True),
        (200, [], "invalid_response", True),
    ],
)
async def test_what_ibm_may_say_instead(server, client, status, body, code, retryable):
    server.answer = lambda asked: (status, body)
    card = ProviderCard("acme", "https://acme.example/v1", {"chat": "openai_chat"}, ibm(server))
    with pytest.raises(ProviderFailure) as caught:
        await anext(backend_for(card, lambda auth: KEY, client)(CHAT, Scope()))
    assert (caught.value.code, caught.value.retryable) == (code, retryable)
    assert KEY not in str(caught.value) + repr(caught.value.facts)
    assert len(server.asked) == 1


async def test_an_identity_service_that_is_not_there_may_be_asked_again(client):
    auth = Auth("ibm", ("K",), token_url="http://127.0.0.1:9/identity/token")
    with pytest.raises(ProviderFailure) as caught:
        await ibm_tokens(auth, KEY, client).get()
    assert (caught.value.code, caught.value.retryable) == ("connect_error", True)
    assert "token_url" in caught.value.hint


async def chats(handler, auth, clock, monkeypatch, *, pause=60.0):
    """Two chats of a provider with a token that ends, some seconds apart, and what its servers were asked."""
    monkeypatch.setattr("time.monotonic", clock)
    asked, minted = [], []

    def answer(request):
        if request.url.host == "iam.example":
            minted.append(request)
            return httpx.Response(200, json={"access_token": f"{TOKEN}-{len(minted)}", "expires_in": 3600})
        asked.append(request.headers["authorization"].removeprefix(f"Bearer {TOKEN}-"))
        return httpx.Response(handler(asked), json=GOOD if handler(asked) == 200 else {})

    card = ProviderCard("acme", "https://acme.example/v1", {"chat": "openai_chat"}, auth)
    call, told = backend_for(card, lambda _: KEY, mocked(answer)), []
    for _ in range(2):
        fold = Fold()
        try:
            async for delta in call(CHAT, Scope()):
                fold.add(delta)
            told.append(fold.reply().text)
        except ProviderFailure as failure:
            told.append(failure.code)
        clock.time += pause
    return told, asked, len(minted)


IAM = Auth("ibm", ("K",), token_url="https://iam.example/identity/token")


@pytest.mark.parametrize(
    ("refused", "told", "asked", "minted"),
    [
        # Nothing is refused; the first token ended on the server; every token is refused; this one may not.
        (lambda asked: 200, ["hi", "hi"], ["1", "1"], 1),
        (lambda asked: 401 if asked[1:] and asked[-1] == "1" else 200, ["hi", "hi"], ["1", "1", "2"], 2),
        (lambda asked: 401, ["auth", "auth"], ["1", "1", "2"], 2),
        (lambda asked: 403, ["permission", "permission"], ["1", "1"], 1),
    ],
)
async def test_a_token_that_ended_early_is_renewed_once_and_the_request_repeated_once(
    refused, told, asked, minted, clock, monkeypatch
):
    assert await chats(refused, IAM, clock, monkeypatch) == (told, asked, minted)


async def test_fifty_chats_at_once_share_one_token(monkeypatch):
    minted = []

    async def answer(request):
        await asyncio.sleep(0)
        if request.url.host == "iam.example":
            minted.append(request)
            return httpx.Response(200, json={"access_token": TOKEN, "expires_in": 3600})
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        return httpx.Response(200, json=GOOD)

    card = ProviderCard("acme", "https://acme.example/v1", {"chat": "openai_chat"}, IAM)
    call = backend_for(card, lambda _: KEY, mocked(answer))

    async def chat():
        return [delta async for delta in call(CHAT, Scope())]

    told = await asyncio.gather(*(chat() for _ in range(50)))
    assert (len(told), len({str(deltas) for deltas in told}), len(minted)) == (50, 1, 1)


async def test_tokens_go_to_the_provider_alone(server, client):
    server.answer = lambda asked: (200, {"access_token": TOKEN, "expires_in": 3600})
    card = ProviderCard("acme", "https://acme.example/v1", auth=ibm(server))
    signer = signer_for(card, lambda auth: KEY, client)
    with pytest.raises(ProviderFailure) as caught:
        await signer.sign(HttpRequest("GET", "https://other.example/", {}))
    assert (caught.value.code, server.asked) == ("redirect_refused", [])


def service_account(folder, url):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    account = {"type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": key.decode(),
               "client_email": "a@p.iam.gserviceaccount.com", "token_uri": f"{url}/token"}  # fmt: skip
    (folder / "account.json").write_bytes(orjson.dumps(account))
    return str(folder / "account.json")


async def test_a_service_account_of_google_signs_for_its_token(server, client, nowhere, monkeypatch):
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", service_account(nowhere, server.url))
    server.answer = lambda asked: (200, {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"})
    tokens = google_tokens(Auth("google"), client)
    assert await asyncio.gather(*(tokens.get() for _ in range(50))) == [{"authorization": f"Bearer {TOKEN}"}] * 50
    (asked,) = server.asked
    assert parse_qs(asked.body.decode())["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
    assert TOKEN in registered()


async def test_the_default_credentials_of_a_user_name_the_project_that_pays(nowhere, monkeypatch):
    folder = nowhere / ".config/gcloud"
    folder.mkdir(parents=True)
    user = {"type": "authorized_user", "client_id": "c", "client_secret": KEY, "refresh_token": "r-0123456789",
            "quota_project_id": "pays"}  # fmt: skip
    (folder / "application_default_credentials.json").write_bytes(orjson.dumps(user))
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "p")
    seen = []

    def handler(request):
        seen.append((str(request.url), threading.current_thread()))
        return httpx.Response(200, json={"access_token": TOKEN, "expires_in": 3600})

    found = await google_tokens(Auth("google"), mocked(handler)).get()
    assert found == {"authorization": f"Bearer {TOKEN}", "x-goog-user-project": "pays"}
    # Sent by the loop's own HTTP, not from the thread that waits for it.
    assert seen == [("https://oauth2.googleapis.com/token", threading.current_thread())]


async def test_a_machine_of_google_asks_its_metadata(monkeypatch):
    paths = []

    def handler(request):
        paths.append(request.url.path)
        flavor = {"metadata-flavor": "Google"}
        if request.url.path.endswith("/token"):
            return httpx.Response(200, headers=flavor, json={"access_token": TOKEN, "expires_in": 600})
        if request.url.path.endswith("project-id"):
            return httpx.Response(200, headers=flavor, text="p")
        account = {"email": "a@p.iam.gserviceaccount.com", "scopes": [], "aliases": ["default"]}
        return httpx.Response(200, headers=flavor | {"content-type": "application/json"}, json=account)

    assert await google_tokens(Auth("google"), mocked(handler)).get() == {"authorization": f"Bearer {TOKEN}"}
    assert paths[-1].endswith("/token")


@pytest.mark.parametrize(
    ("body", "message"), [({"error": "invalid_grant", "error_description": KEY}, "(invalid_grant)"), (KEY, "no token")]
)
async def test_what_google_may_say_instead(body, message, server, client, nowhere, monkeypatch):
    server.answer = lambda asked: (400, body)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", service_account(nowhere, server.url))
    with pytest.raises(ProviderFailure) as caught:
        await google_tokens(Auth("google"), client).get()
    assert (caught.value.code, message in caught.value.message) == ("auth", True), caught.value.message
    assert "gcloud auth application-default login" in caught.value.hint
    assert KEY not in caught.value.message


@pytest.mark.parametrize(
    ("file", "message"), [(None, "no credentials of Google Cloud"), ("gone.json", "gone.json was not found")]
)
async def test_what_is_said_without_credentials_of_google(file, message, client, nowhere, monkeypatch):
    monkeypatch.setattr("google.auth.compute_engine._metadata._NO_GCE_CHECK", True)
    if file:
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
    with pytest.raises(SetupError) as caught:
        await google_tokens(Auth("google"), client).get()
    assert (caught.value.code, message in caught.value.message) == ("missing_key", True), caught.value.message


def entra(server, monkeypatch):
    """The endpoint that a managed identity asks."""
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{server.url}/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "header-0123456789")


async def test_an_identity_of_azure_gets_a_token_for_its_scope(server, monkeypatch):
    entra(server, monkeypatch)
    ends = int(datetime.now(UTC).timestamp()) + 3600
    server.answer = lambda asked: (200, {"access_token": TOKEN, "expires_on": str(ends), "token_type": "Bearer",
                                         "resource": "https://cognitiveservices.azure.com"})  # fmt: skip
    tokens = azure_tokens(Auth("azure"))
    assert await asyncio.gather(*(tokens.get() for _ in range(50))) == [{"authorization": f"Bearer {TOKEN}"}] * 50
    (asked,) = server.asked
    assert asked.path.endswith("resource=https://cognitiveservices.azure.com")
    assert TOKEN in registered()


async def test_what_azure_may_say_instead(server, client, monkeypatch):
    entra(server, monkeypatch)
    server.answer = lambda asked: (400, {"error": KEY})
    card = ProviderCard("acme", "https://acme.example/v1", auth=Auth("azure", ("ACME_KEY",)))
    with pytest.raises(SetupError) as caught:
        await signer_for(card, lambda auth: None, client).sign(HttpRequest("GET", "https://acme.example/v1", {}))
    assert caught.value.code == "missing_key"
    assert caught.value.hint.startswith("flowllm keys set ACME_KEY, or az login")
    assert KEY not in caught.value.message
