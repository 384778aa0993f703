"""Wires against aimock, a server of other people that stands in for many providers.

Its answers are written by people who read the same documents, so a difference is a question to both. Where
the vendor's own types say that the server is wrong, the row stands in a table here with the reason.
"""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from flowllm.core.delta import Text as Piece
from flowllm.core.delta import fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Embed, Message, Rerank, Tool
from tests.thirdparty.asking import INSTALLED, Peer, Place, chat, said, serving

pytestmark = pytest.mark.thirdparty

CLAUDE = "bedrock/anthropic.claude-haiku-4-5-20251001-v1:0"
OPENAI = {"OPENAI_API_KEY": "k"}
AWS = {"AWS_BEARER_TOKEN_BEDROCK": "k"}
PLACES = {
    "openai_chat": Place("openai/gpt-5-mini", ("base_url={url}/v1",), OPENAI),
    "openai_responses": Place("openai/gpt-5-mini", ("base_url={url}/v1", "wire.chat=openai_responses"), OPENAI),
    "anthropic": Place("anthropic/claude-haiku-4-5", ("base_url={url}/v1",), {"ANTHROPIC_API_KEY": "k"}),
    "gemini": Place("gemini/gemini-2.5-flash", ("base_url={url}/v1beta",), {"GEMINI_API_KEY": "k"}),
    "vertex": Place(
        "vertex-express/gemini-2.5-flash",
        ("base_url={url}/v1/projects/p/locations/global/publishers/google",),
        {"VERTEX_API_KEY": "k"},
    ),
    "bedrock_converse": Place(CLAUDE, ("base_url={url}",), AWS),
    "bedrock_invoke": Place(CLAUDE, ("base_url={url}", "wire.chat=bedrock_invoke"), AWS),
    "ollama_native": Place("ollama-native/qwen3", ("base_url={url}",)),
    "ollama": Place("ollama/qwen3", ("base_url={url}/v1",)),
    "cohere": Place("cohere/command-a-03-2025", ("base_url={url}/v2",), {"COHERE_API_KEY": "k"}),
    "openrouter": Place("openrouter/openai/gpt-5-mini", ("base_url={url}/api/v1",), {"OPENROUTER_API_KEY": "k"}),
    "azure": Place("azure-openai/gpt-5-mini", ("base_url={url}/openai/v1",), {"AZURE_OPENAI_API_KEY": "k"}),
    "compatible": Place("compatible/any", ("base_url={url}/v1",)),
}
WEATHER = Tool("weather", "Tells the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})
HELLO = "Hello there, grüße aus Köln: this answer is long enough to come in pieces."


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The server's address."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no node on this machine; aimock needs one of version 20.15 or later")
    script = Path(__file__).with_name("aimock.mjs")
    package = INSTALLED / "node_modules/@copilotkit/aimock"
    log = tmp_path_factory.mktemp("aimock") / "log"
    with serving(package, [node, script, INSTALLED, "{port}"], log) as url:
        yield url


@pytest.fixture
def peer(server, tmp_path, monkeypatch):
    """The server, and keys that it never looks at."""
    for place in PLACES.values():
        for name, value in place.keys.items():
            monkeypatch.setenv(name, value)
    return Peer(server, tmp_path)


# A stream through InvokeModel: botocore's PayloadPart holds the piece as base64 in `bytes`, and aimock sends it bare.
BARE = {("bedrock_invoke", True)}
# Thinking: the SDK of Cohere has content of the type `thinking` and aimock sends it as text; that of Ollama reads
# `message.thinking` and aimock sends `reasoning_content`.
UNTHOUGHT = {"cohere": "Six times seven is forty-two.Forty-two.", "ollama_native": "Forty-two."}
# Why answers end: OpenAI's types tell it by the event `response.incomplete` with `incomplete_details`, and aimock
# completes the answer with a status alone; aimock has no `done_reason` but `stop` for Ollama.
ENDS = {
    ("openai_responses", "length"): "other",
    ("openai_responses", "content_filter"): "error",
    ("ollama_native", "length"): "stop",
    ("ollama_native", "content_filter"): "stop",
}
# Ollama's own types count a whole chat; aimock leaves the counts of a fixture out.
UNCOUNTED = {"ollama_native"}
# Ollama's types give one row a text, and aimock one for all of them; Google's SDK asks for many texts by
# `batchEmbedContents`, which aimock does not have; Titan's body through InvokeModel is none that it knows.
EMBEDS = ("openai_chat", "ollama", "cohere", "openrouter", "azure", "compatible")
ERRORS = {
    "fail 400": ("bad_request", 400),
    "fail 401": ("auth", 401),
    "fail 403": ("permission", 403),
    "fail 404": ("not_found", 404),
    "fail 429": ("rate_limited", 429),
    "fail 500": ("server_error", 500),
    "fail 503": ("server_error", 503),
    "fail window": ("context_too_long", 400),
}
WAYS = [(name, stream) for name in PLACES for stream in (True, False) if (name, stream) not in BARE]
every_way = pytest.mark.parametrize(("name", "stream"), WAYS)


@every_way
async def test_text(peer, name, stream):
    place = PLACES[name]
    deltas = await peer.deltas(place, chat(place, "say hello", stream=stream))
    reply = fold(deltas)
    assert (reply.text, reply.finish, reply.reasoning, reply.simulated) == (HELLO, "stop", None, False)
    assert (sum(isinstance(delta, Piece) for delta in deltas) > 1) == stream
    counted = (reply.usage.input, reply.usage.output)
    assert counted == ((0, 0) if name in UNCOUNTED else (11, 7))


@pytest.mark.parametrize("name", [name for name, stream in WAYS if stream])
async def test_a_pipeline_shows_text_as_it_comes(peer, name):
    async with peer.flow(PLACES[name]).astream({"ask": "say hello"}) as stream:
        pieces = [delta.text async for delta in stream]
        result = await stream.result()
    assert result.outputs == {"text": HELLO}
    assert "".join(pieces) == HELLO
    assert len(pieces) > 1


@every_way
async def test_thinking(peer, name, stream):
    reply = await peer.reply(PLACES[name], chat(PLACES[name], "think first", stream=stream))
    if name in UNTHOUGHT:
        assert (reply.text, reply.reasoning) == (UNTHOUGHT[name], None)
    else:
        assert (reply.text, reply.reasoning) == ("Forty-two.", "Six times seven is forty-two.")


@every_way
async def test_calls_and_their_results(peer, name, stream):
    place = PLACES[name]
    asked = chat(place, "the weather", stream=stream, tools=(WEATHER,))
    reply = await peer.reply(place, asked)
    called = [(call.name, json.loads(call.arguments)) for call in reply.tool_calls]
    assert called == [("weather", {"city": "Berlin", "days": 2}), ("weather", {"city": "Paris"})]
    assert reply.finish == "tool_calls"
    turns = [Message("assistant", (), reply.tool_calls, thoughts=reply.thoughts)]
    for city, call in zip(("Berlin", "Paris"), reply.tool_calls, strict=True):
        turns.append(said("tool", f"17 degrees in {city}", tool_call_id=call.id))
    answer = await peer.reply(place, replace(asked, messages=(*asked.messages, *turns)))
    assert (answer.text, answer.tool_calls, answer.finish) == ("Warm in both.", (), "stop")


@every_way
async def test_words_beside_a_call(peer, name, stream):
    reply = await peer.reply(PLACES[name], chat(PLACES[name], "words and a call", stream=stream, tools=(WEATHER,)))
    called = [(call.name, json.loads(call.arguments)) for call in reply.tool_calls]
    assert (reply.text, called, reply.finish) == ("Let me look.", [("weather", {"city": "Oslo"})], "tool_calls")


@every_way
async def test_json_of_a_shape(peer, name, stream):
    shape = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
    reply = await peer.reply(PLACES[name], chat(PLACES[name], "as JSON", stream=stream, schema=shape))
    assert (json.loads(reply.text), reply.finish) == ({"colour": "red"}, "stop")


@every_way
@pytest.mark.parametrize(("ask", "reason"), [("too long", "length"), ("filtered", "content_filter")])
async def test_why_an_answer_ends(peer, name, stream, ask, reason):
    reply = await peer.reply(PLACES[name], chat(PLACES[name], ask, stream=stream))
    assert reply.finish == ENDS.get((name, reason), reason)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("ask", ERRORS)
async def test_errors(peer, name, stream, ask):
    with pytest.raises(ProviderFailure) as caught:
        await peer.reply(PLACES[name], chat(PLACES[name], ask, stream=stream))
    facts = caught.value.facts
    assert (caught.value.code, facts.status) == ERRORS[ask]
    assert facts.retry_after == (7.0 if facts.status == 429 else None)
    assert facts.provider == PLACES[name].provider


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize("ask", ["malformed", "hang up"])
async def test_answers_that_are_none(peer, name, stream, ask):
    with pytest.raises(ProviderFailure) as caught:
        await peer.reply(PLACES[name], chat(PLACES[name], ask, stream=stream))
    # An item of Google's JSON array that never closes is one that broke off, and so is a line of Ollama without an end.
    cut = stream and PLACES[name].provider in {"gemini", "vertex-express", "ollama-native"}
    wanted = {"malformed": "stream_interrupted" if cut else "invalid_response", "hang up": "protocol_error"}
    assert caught.value.code == wanted[ask]


@pytest.mark.parametrize("name", [name for name, stream in WAYS if stream])
async def test_a_stream_that_breaks_off_keeps_its_text(peer, name):
    deltas = []
    with pytest.raises(ProviderFailure) as caught:
        await peer.deltas(PLACES[name], chat(PLACES[name], "break off", stream=True), deltas)
    assert caught.value.code == "stream_interrupted"
    text = fold(deltas).text
    assert "This answer never reaches its end, for the line breaks before.".startswith(text)
    assert bool(text) == (name != "openai_responses")  # whose fourth event comes before the first text
    assert caught.value.facts.partial_text == text


@pytest.mark.parametrize("name", [name for name, stream in WAYS if stream])
async def test_halves_of_a_character_are_joined(peer, name):
    """aimock cuts each pair of surrogates in two, over events of its stream."""
    reply = await peer.reply(PLACES[name], chat(PLACES[name], "half a character", stream=True))
    assert reply.text == "\U0001f30d" * 3


@pytest.mark.parametrize("ask", ["say hello", "think first", "the weather"])
async def test_a_stream_of_bare_pieces_is_refused(peer, ask):
    """Wrong by botocore's types (`BARE`): refused by name, never taken for an empty answer."""
    place = PLACES["bedrock_invoke"]
    with pytest.raises(ProviderFailure, match="not of the shape of an answer of the family anthropic") as caught:
        await peer.reply(place, chat(place, ask, stream=True, tools=(WEATHER,)))
    assert caught.value.code == "invalid_response"


@pytest.mark.parametrize("name", EMBEDS)
async def test_vectors(peer, name):
    place = PLACES[name]
    reply = await peer.reply(place, Embed(place.model, ("red", "red again")))
    assert [list(row) for row in reply.vectors] == [[0.25, -0.5, 1.0]] * 2


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("ollama_native", "invalid_response", "1 embeddings for 2 texts"),
        ("gemini", "not_found", "404"),
        ("bedrock_converse", "bad_request", "messages array is required"),
    ],
)
async def test_vectors_that_the_server_does_not_give(peer, name, code, message):
    place = replace(PLACES[name], model=PLACES[name].model.replace("anthropic.claude", "cohere.embed"))
    with pytest.raises(ProviderFailure, match=message) as caught:
        await peer.reply(place, Embed(place.model, ("red", "red again")))
    assert caught.value.code == code


async def test_one_vector_of_ollama(peer):
    place = PLACES["ollama_native"]
    reply = await peer.reply(place, Embed(place.model, ("blue",)))
    assert [list(row) for row in reply.vectors] == [[0.5, 0.5, -1.0]]


async def test_ranks(peer):
    place = PLACES["cohere"]
    reply = await peer.reply(place, Rerank(place.model, "capital of France", ("Paris", "Rome", "It is Paris"), 2))
    assert (list(reply.scores.indexes), list(reply.scores.scores)) == ([2, 0], [0.9, 0.25])


@pytest.mark.parametrize("name", ["openai_chat", "anthropic", "ollama_native", "openrouter", "azure", "compatible"])
async def test_models(peer, name):
    assert any("gpt-4o" in model for model in await peer.models(PLACES[name]))
