"""Paths and words of a body in quirks are held to what a format has, and the lists of words to what it writes."""

import orjson
import pytest

from flowllm.backends.body_words import _WORDS
from flowllm.backends.wire import check_quirks, find_wire, wire_names
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.request import Chat, Embed, Message, Rerank, Sampling, Text, Tool

TEMPLATE = {"body": {"path": "x"}, "text": "answer.t"}


@pytest.mark.parametrize(
    ("wire", "quirks", "steps", "hint"),
    [
        ("openai_chat", {"path": "talk"}, ("path",), "path: /talk"),
        ("openai_chat", {"path": "https://a.example/v1/talk"}, ("path",), "path: /v1/talk"),
        ("openai_chat", {"path": "//a.example/talk"}, ("path",), "path: /talk"),
        ("openai_chat", {"path": "{model}/talk"}, ("path",), 'path: "/{model}/talk"'),
        ("openai_embeddings", {"embeddings_path": "e"}, ("embeddings_path",), "embeddings_path: /e"),
        ("openai_completions", {"completions_path": "e"}, ("completions_path",), "completions_path: /e"),
        ("openai_responses", {"responses_path": "e"}, ("responses_path",), "responses_path: /e"),
        ("rerank", {"rerank_path": "e"}, ("rerank_path",), "rerank_path: /e"),
        ("bedrock_converse", {"converse_path": "e"}, ("converse_path",), "converse_path: /e"),
        ("anthropic_messages", {"stream_path": "e"}, ("stream_path",), "stream_path: /e"),
        (
            "http_template",
            {"templates": {"chat": {"path": "gen", **TEMPLATE}}},
            ("templates", "chat", "path"),
            "path: /gen",
        ),
        (
            "http_template",
            {"templates": {"chat": {"path": "/gen", **TEMPLATE, "stream": {"path": "s", "text": "answer.t"}}}},
            ("templates", "chat", "stream", "path"),
            "path: /s",
        ),
        ("openai_chat", {"drop": ["sed"]}, ("drop", 0), "did you mean `seed`?"),
        ("openai_chat", {"drop": ["seed", "messages"]}, ("drop", 1), "another name for it: rename: {messages: ...}"),
        ("openai_chat", {"drop": ["model"]}, ("drop", 0), "another name for it: rename: {model: ...}"),
        ("cohere_v2", {"drop": ["texts"]}, ("drop", 0), "another name for it: rename: {texts: ...}"),
        ("anthropic_messages", {"drop": ["system"]}, ("drop", 0), "another name for it: rename: {system: ...}"),
        ("openai_chat", {"rename": {"maxtokens": "n"}}, ("rename", "maxtokens"), "did you mean `max_tokens`?"),
        (
            "openai_chat",
            {"rename": {"max_tokens": "temperature"}},
            ("rename", "max_tokens"),
            "max_tokens: a name that no other word has",
        ),
    ],
)
def test_what_no_request_could_follow_is_told_with_its_place(wire, quirks, steps, hint):
    (found,) = check_quirks([wire], quirks)
    assert (found.steps, found.hint) == (("quirks", *steps), hint)


@pytest.mark.parametrize(
    ("wires", "quirks"),
    [
        (["openai_chat"], {"path": "/talk/{model}", "drop": ["model", "seed", "stream_options", "tools"]}),
        (["openai_chat"], {"rename": {"max_tokens": "limit", "messages": "talk"}}),
        (["openai_chat"], {"rename": {"max_tokens": "seed"}, "drop": ["seed"]}),
        (["openai_chat"], {"rename": {"max_tokens": "seed", "seed": "max_tokens"}}),
        (["openai_chat", "openai_embeddings"], {"rename": {"dimensions": "size", "seed": "random_seed"}}),
        (["openai_responses"], {"rename": {"max_tokens": "max_completion_tokens"}, "drop": ["stop", "temperature"]}),
        (["http_template"], {"templates": {"chat": {"path": "/gen", **TEMPLATE}}}),
        (["anthropic_messages"], {"stream_path": ""}),
    ],
)
def test_what_a_request_can_follow_is_taken(wires, quirks):
    assert check_quirks(wires, quirks) == []


def test_two_words_of_one_name():
    found = check_quirks(["openai_chat"], {"rename": {"max_tokens": "x", "seed": "x"}})
    assert [one.steps[-1] for one in found] == ["max_tokens", "seed"]


SCHEMA = {"type": "object", "properties": {}}
SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_output_tokens=9000, stop=("x",), seed=3)
ASKED = (Message("system", (Text("be kind"),)), Message("user", (Text("hi"),)))
PLAIN = Chat("acme/m", ASKED, SAMPLING, stream=True)
FULL = Chat("acme/m", ASKED, SAMPLING, (Tool("t", "d", SCHEMA),), SCHEMA, "high", stream=True)
REQUESTS = (PLAIN, FULL, Embed("acme/m", ("a",), 3), Rerank("acme/m", "q", ("a",), 1))


@pytest.mark.parametrize("wire", sorted(_WORDS))
def test_the_words_are_those_that_the_format_writes(wire):
    card = ProviderCard("acme", "https://acme.example", {}, Auth(), settings={})
    known, seen = set(_WORDS[wire].split()), set()
    for request in REQUESTS:
        try:
            body = orjson.loads(find_wire(wire, card).encode(request).body)
        except Exception:  # noqa: BLE001  not every format has every task
            continue
        inner = {"gemini_generate": "generationConfig", "replicate_predictions": "input"}.get(wire)
        seen |= (body.get(inner) or {}).keys() if inner else body.keys()
    assert seen
    assert seen - {"version", "stream"} <= known


def test_every_format_with_words_to_drop_has_a_list():
    def fields(wire):
        return set(find_wire(wire, ProviderCard("acme", "https://acme.example", {}, Auth())).vocabulary.model_fields)

    assert {wire for wire in wire_names() if fields(wire) & {"drop", "rename"}} == set(_WORDS)
