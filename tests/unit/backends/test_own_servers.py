"""Which servers see a key: a canary as the key, and servers on this machine that remember what they were asked."""

from contextlib import aclosing

import pytest

from flowllm.backends.http import HttpClient
from flowllm.backends.provider import backend_for
from flowllm.catalog import load_catalog
from flowllm.core import secrets
from flowllm.core.delta import fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from tests.unit.backends.auth.servers import serving

CANARY = "canary-0123456789"
FILE = {
    "base_url_env": "ACME_URL",
    "wire": {"chat": "replicate_predictions"},
    "auth": {"scheme": "bearer", "env": "ACME_KEY"},
}


@pytest.fixture
def servers(monkeypatch):
    monkeypatch.setattr(secrets, "_SECRETS", {})
    with serving() as named, serving() as other:
        urls = {"get": f"{other.url}/p"}
        named.answer = lambda asked: (200, {"id": "p", "status": "starting", "urls": urls})
        other.answer = lambda asked: (200, {"id": "p", "status": "succeeded", "output": "ok", "urls": urls})
        yield named, other


async def ask(folder, file, over=None, environment=None):
    (folder / "acme.yaml").write_text("")
    catalog = load_catalog([folder], lambda path: FILE | file, {"acme": over} if over else {}, None, environment or {})
    client = HttpClient()
    call = backend_for(catalog.providers["acme"], lambda auth: CANARY, client)
    try:
        async with aclosing(call(Chat("acme/m", (Message("user", (Text("hi"),)),)), Scope())) as deltas:
            return fold([delta async for delta in deltas]).text
    finally:
        await client.aclose()


async def test_a_key_goes_to_the_servers_of_the_file(tmp_path, servers):
    named, other = servers
    assert await ask(tmp_path, {"base_url": named.url, "origins": [other.url]}) == "ok"
    assert [asked.headers["authorization"] for asked in (*named.asked, *other.asked)] == [f"Bearer {CANARY}"] * 2


@pytest.mark.parametrize("by", ["override", "variable"])
async def test_where_another_server_is_named_a_key_goes_to_none_of_the_file_s(tmp_path, servers, by):
    named, other = servers
    file = {"base_url": "https://api.acme.example", "origins": [other.url]}
    over = {"base_url": named.url} if by == "override" else None
    environment = {"ACME_URL": named.url} if by == "variable" else None
    with pytest.raises(ProviderFailure) as caught:
        await ask(tmp_path, file, over, environment)
    assert caught.value.code == "redirect_refused"
    assert other.asked == []
    assert next(asked for asked in named.asked).headers["authorization"] == f"Bearer {CANARY}"


@pytest.mark.parametrize("by", ["override", "variable"])
async def test_the_servers_that_are_given_with_another_one_see_the_key(tmp_path, servers, by):
    named, other = servers
    file = {"base_url": "https://api.acme.example", "origins": ["https://stream.acme.example"]}
    over = {"origins": [other.url]} | ({"base_url": named.url} if by == "override" else {})
    environment = {"ACME_URL": named.url} if by == "variable" else None
    assert await ask(tmp_path, file, over, environment) == "ok"
    assert [asked.headers["authorization"] for asked in other.asked] == [f"Bearer {CANARY}"]


@pytest.mark.parametrize("blank", ["", " "])
async def test_a_variable_that_names_no_server_leaves_the_file_as_it_is(tmp_path, servers, blank):
    named, other = servers
    assert await ask(tmp_path, {"base_url": named.url, "origins": [other.url]}, None, {"ACME_URL": blank}) == "ok"
