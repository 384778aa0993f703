"""Wires against llm-katan, a server of other people that looks at keys and echoes what it was asked.

Where the vendor's own types say that the server is wrong, the row says so.
"""

import json

import pytest

from flowllm.core.delta import Text as Piece
from flowllm.core.delta import fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Tool
from tests.thirdparty.asking import INSTALLED, Peer, Place, chat, serving

pytestmark = pytest.mark.thirdparty

GOOGLE = "v1/projects/p/locations/l"
INVOKE = ("base_url={url}", "wire.chat=bedrock_invoke")
AWS = {"AWS_BEARER_TOKEN_BEDROCK": "llm-katan-bedrock-key"}
SIGNED = {"AWS_ACCESS_KEY_ID": "llm-katan-bedrock-key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "t"}
# Google's own SDK sends a key as x-goog-api-key, and llm-katan knows it only in the address or as a bearer.
BEARER = "auth.scheme=bearer"
PLACES = {
    "openai": Place("openai/katan", ("base_url={url}/v1",), {"OPENAI_API_KEY": "llm-katan-openai-key"}),
    "anthropic": Place("anthropic/katan", ("base_url={url}/v1",), {"ANTHROPIC_API_KEY": "llm-katan-anthropic-key"}),
    "azure": Place(
        "azure-openai/katan", ("base_url={url}/openai/v1",), {"AZURE_OPENAI_API_KEY": "llm-katan-azure-key"}
    ),
    "gemini": Place("gemini/katan", ("base_url={url}/v1beta", BEARER), {"GEMINI_API_KEY": "llm-katan-vertexai-key"}),
    "vertex": Place(
        "vertex-express/katan",
        (f"base_url={{url}}/{GOOGLE}/publishers/google", BEARER),
        {"VERTEX_API_KEY": "llm-katan-vertexai-key"},
    ),
    "vertex_openai": Place(
        "compatible/katan",
        (f"base_url={{url}}/{GOOGLE}/endpoints/openapi",),
        {"COMPATIBLE_API_KEY": "llm-katan-vertexai-key"},
    ),
    "bedrock": Place("bedrock/katan", ("base_url={url}",), AWS),
    "bedrock_signed": Place("bedrock/katan", ("base_url={url}",), SIGNED),
}
FAMILIES = {
    family: Place(f"bedrock/{family}", INVOKE, AWS)
    for family in (
        "anthropic.claude-3-haiku",
        "amazon.nova-lite-v1:0",
        "amazon.titan-text-express-v1",
        "meta.llama3-8b-instruct-v1:0",
        "cohere.command-r-v1:0",
        "ai21.jamba-1-5-mini-v1:0",
        "mistral.mistral-7b-instruct-v0:2",
    )
}
WEATHER = Tool(
    "weather",
    "Tells the weather.",
    {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
)
# Google's types have `parametersJsonSchema` beside `parameters`; llm-katan reads the latter alone, and calls with none.
UNREAD = {"gemini", "vertex"}


def katan(folder, *options):
    """A server of its own."""
    program = INSTALLED / "llm-katan/bin/llm-katan"
    about = ("--stats-file", folder / "stats.json", "--disable-dashboard", "--log-level", "warning")
    providers = ("--providers", "openai,anthropic,azure_openai,bedrock,vertexai", "--validate-keys")
    words = (program, "-m", "test", "-n", "katan", "-b", "echo", "-h", "127.0.0.1", "-p", "{port}")
    return serving(program, [*words, *providers, *about, *options], folder / "log")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server's address."""
    with katan(tmp_path_factory.mktemp("katan")) as url:
        yield url


@pytest.fixture
def peer(server, tmp_path):
    """The server."""
    return Peer(server, tmp_path)


@pytest.fixture
def keys(monkeypatch):
    """Sets the keys of a place, or others in their stead."""

    def given(place, instead=None):
        for name in {**AWS, **SIGNED}:
            monkeypatch.delenv(name, raising=False)
        for name, value in place.keys.items():
            monkeypatch.setenv(name, instead or value)

    return given


every_way = pytest.mark.parametrize(("name", "stream"), [(name, stream) for name in PLACES for stream in (True, False)])


@every_way
async def test_text(peer, keys, name, stream):
    keys(PLACES[name])
    deltas = await peer.deltas(PLACES[name], chat(PLACES[name], "say hello to the world", stream=stream))
    reply = fold(deltas)
    assert reply.text.startswith("[echo] model=katan")
    assert reply.text.endswith("User: say hello to the world")
    assert (reply.finish, reply.usage.input, reply.usage.output) == ("stop", 5, 13)
    assert (sum(isinstance(delta, Piece) for delta in deltas) > 1) == stream


@every_way
async def test_calls(peer, keys, name, stream):
    keys(PLACES[name])
    reply = await peer.reply(PLACES[name], chat(PLACES[name], "weather", stream=stream, tools=(WEATHER,)))
    called = [(call.name, json.loads(call.arguments or "{}")) for call in reply.tool_calls]
    assert called == [("weather", {} if name in UNREAD else {"city": "test_city", "days": 1})]
    assert reply.finish == "tool_calls"


@pytest.mark.parametrize("name", PLACES)
async def test_a_wrong_key_is_refused_and_never_shown(peer, keys, name):
    keys(PLACES[name], instead="wrong-key-1234567")
    with pytest.raises(ProviderFailure) as caught:
        await peer.reply(PLACES[name], chat(PLACES[name], "hello", stream=True))
    assert (caught.value.code, caught.value.facts.status) == ("auth", 401)
    assert "wrong-key-1234567" not in str(caught.value)


async def test_a_key_in_the_header_of_google_is_not_known(peer, keys):
    place = Place("gemini/katan", ("base_url={url}/v1beta",), PLACES["gemini"].keys)
    keys(place)
    with pytest.raises(ProviderFailure, match="missing Authorization header") as caught:
        await peer.reply(place, chat(place, "hello", stream=True))
    assert caught.value.code == "auth"


@pytest.mark.parametrize("family", FAMILIES)
async def test_families_of_invoke_model(peer, keys, family):
    keys(FAMILIES[family])
    reply = await peer.reply(FAMILIES[family], chat(FAMILIES[family], "say hello", stream=False))
    assert reply.text.startswith("[echo] model=katan")
    assert "say hello" in reply.text
    assert reply.finish == "stop"


async def test_a_stream_of_invoke_model_has_no_place_there(peer, keys):
    place = FAMILIES["anthropic.claude-3-haiku"]
    keys(place)
    with pytest.raises(ProviderFailure) as caught:
        await peer.reply(place, chat(place, "say hello", stream=True))
    assert caught.value.code == "not_found"


async def test_models(peer, keys):
    keys(PLACES["openai"])
    assert list(await peer.models(PLACES["openai"])) == ["katan"]


@pytest.mark.parametrize(
    ("option", "code", "status"),
    [("--error-rate", "server_error", 500), ("--rate-limit-after", "rate_limited", 429),
     ("--timeout-after", "server_error", 504)],
)  # fmt: skip
async def test_errors(tmp_path, keys, option, code, status):
    found = {}
    with katan(tmp_path, option, "1") as url:
        peer = Peer(url, tmp_path)
        for name, place in [("", PLACES["openai"]), *PLACES.items()]:
            keys(place)
            try:
                await peer.reply(place, chat(place, "hello", stream=True))
            except ProviderFailure as failure:
                found[name] = failure.code, failure.facts.status
    found.pop("", None)
    amazon = {name for name in PLACES if name.startswith("bedrock") and status == 504}
    # Amazon's own timeout of a model (ModelTimeoutException) has the status 408; its word goes before the status.
    assert found == dict.fromkeys(PLACES, (code, status)) | dict.fromkeys(amazon, ("conflict", status))
