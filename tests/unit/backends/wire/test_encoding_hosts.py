"""What is sent to watsonx, Replicate, plain completions and servers with templates."""

import orjson
import pytest

from flowllm.backends.wire import check_quirks, find_wire
from flowllm.core.card import ModelCard, ProviderCard
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Sampling, Text, Tool, ToolUse

PIXEL = Image(media_type="image/png", data="QUJD")
DRAWN = Sampling(0.5, 0.9, 99, ("x", "y"), 7)


def said(role, *parts, **more):
    return Message(role, tuple(Text(p) if isinstance(p, str) else p for p in parts), **more)


USER = (said("user", "hi"),)
TURNS = (said("system", "be kind"), said("user", "a"), said("assistant", "b"), said("user", "c"))


def parts(wire, request=None, quirks=None, settings=None, model_quirks=None, **more):
    models = {"m": ModelCard("m", quirks=model_quirks or {})}
    card = ProviderCard("acme", quirks=quirks or {}, models=models, settings=settings or {})
    return find_wire(wire, card).encode(request or Chat(**{"model": "acme/m", "messages": USER} | more))


def body(wire, *of, **more):
    return orjson.loads(parts(wire, *of, **more).body)


# a conversation as one text

PROMPTED = {
    "openai_completions": lambda sent: sent["prompt"],
    "replicate_predictions": lambda sent: sent["input"]["prompt"],
    "http_template": lambda sent: sent["p"],
    "watsonx": lambda sent: sent["input"],
}
QUIRKS = {
    "http_template": {"templates": {"chat": {"path": "/", "body": {"p": "{prompt}"}, "text": "answer"}}},
    "watsonx": {"api": "generation"},
}


@pytest.mark.parametrize("wire", PROMPTED)
@pytest.mark.parametrize(
    ("messages", "prompt"),
    [
        (USER, "hi"),
        ((said("system", "be kind"), *USER), "be kind\n\nhi"),
        (TURNS, "be kind\n\nUser: a\n\nAssistant: b\n\nUser: c\n\nAssistant:"),
        ((said("user", "a"), said("user", "b")), "User: a\n\nUser: b\n\nAssistant:"),
    ],
)
def test_a_conversation_is_told_as_one_text(wire, messages, prompt):
    assert PROMPTED[wire](body(wire, messages=messages, quirks=QUIRKS.get(wire))) == prompt


@pytest.mark.parametrize("wire", PROMPTED)
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tools": (Tool("f"),)}, "no tools"),
        ({"messages": (said("assistant", "", tool_calls=(ToolUse("f", "{}"),)),)}, "no tools"),
        ({"messages": (said("user", "a", PIXEL, PIXEL),)}, "images|one image"),
    ],
)
def test_what_a_text_cannot_hold_is_refused(wire, more, message):
    with pytest.raises(ProviderFailure, match=message) as caught:
        parts(wire, quirks=QUIRKS.get(wire), **more)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize("wire", PROMPTED)
def test_a_schema_is_asked_for_in_words(wire):
    told = PROMPTED[wire](body(wire, schema={"type": "object"}, quirks=QUIRKS.get(wire)))
    assert told.startswith("Answer with JSON alone")
    assert told.endswith("hi")


def test_completions():
    sent = parts(
        "openai_completions", sampling=DRAWN, stream=True, quirks={"rename": {"seed": "random"}, "drop": ["stop"]}
    )
    assert (sent.path, sent.stream) == ("/completions", True)
    assert orjson.loads(sent.body) == {
        "model": "m", "prompt": "hi", "temperature": 0.5, "top_p": 0.9, "max_tokens": 99, "random": 7, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


# watsonx

PROJECT = {"add": {"project_id": "{project_id}"}}


@pytest.mark.parametrize(
    ("api", "stream", "path"),
    [("chat", False, "/text/chat"), ("chat", True, "/text/chat_stream"), ("generation", False, "/text/generation"),
     ("generation", True, "/text/generation_stream")],
)  # fmt: skip
def test_watsonx_says_the_project_and_streams_by_another_path(api, stream, path):
    sent = parts("watsonx", quirks=PROJECT, settings={"project_id": "p-1"}, model_quirks={"api": api}, stream=stream)
    assert (sent.path, sent.stream) == (path, stream)
    told = orjson.loads(sent.body)
    assert (told["model_id"], told["project_id"]) == ("m", "p-1")
    assert not {"stream", "stream_options", "model"} & told.keys()


def test_watsonx_generation_draws_only_where_it_is_told_how():
    told = body("watsonx", quirks={"api": "generation"}, sampling=DRAWN)
    assert told["parameters"] == {
        "max_new_tokens": 99, "stop_sequences": ["x", "y"], "temperature": 0.5, "top_p": 0.9, "random_seed": 7,
        "decoding_method": "sample",
    }  # fmt: skip
    assert body("watsonx", quirks={"api": "generation"})["parameters"] == {"max_new_tokens": 1024}
    assert body("watsonx", quirks={"api": "generation", "max_new_tokens": 7})["parameters"] == {"max_new_tokens": 7}
    assert "max_new_tokens" not in orjson.dumps(body("watsonx")).decode()
    greedy = body("watsonx", quirks={"api": "generation"}, sampling=Sampling(0.0, max_output_tokens=9))
    assert "decoding_method" not in greedy["parameters"]


def test_watsonx_chat_holds_images_and_tools():
    told = body("watsonx", messages=(said("user", "look", PIXEL),), tools=(Tool("f"),))
    assert told["messages"][0]["content"][1]["image_url"]["url"] == "data:image/png;base64,QUJD"
    assert told["tools"][0]["function"]["name"] == "f"


# Replicate

VERSION = "0" * 64


@pytest.mark.parametrize(
    ("name", "path", "version"),
    [
        ("meta/llama", "/models/meta/llama/predictions", None),
        (f"meta/llama:{VERSION}", "/predictions", VERSION),
        (VERSION, "/predictions", VERSION),
    ],
)
def test_where_a_prediction_is_made(name, path, version):
    sent = parts("replicate_predictions", model=f"acme/{name}")
    assert sent.path == path
    assert orjson.loads(sent.body).get("version") == version


def test_what_a_prediction_takes():
    quirks = {"rename": {"max_tokens": "max_new_tokens"}, "drop": ["seed"], "add": {"top_k": 5}, "wait": 9}
    sent = parts("replicate_predictions", messages=(said("user", "look", PIXEL),), sampling=DRAWN, quirks=quirks,
                 extra={"debug": True})  # fmt: skip
    assert sent.headers == {"prefer": "wait=9", "cancel-after": "10m"}
    assert orjson.loads(sent.body) == {"input": {
        "prompt": "look", "image": "data:image/png;base64,QUJD", "temperature": 0.5, "top_p": 0.9,
        "max_new_tokens": 99, "stop_sequences": "x,y", "top_k": 5, "debug": True,
    }}  # fmt: skip


# templates

CHAT = {
    "path": "/endpoints/{endpoint}/{model}",
    "body": {
        "messages": "{messages}",
        "tools": "{tools}",
        "parameters": {"max_new_tokens": "{max_tokens}", "stop": "{stop}", "temperature": "{temperature}",
                       "fixed": [1, "a"]},
        "note": "{model} at {endpoint}",
        "stream": "{stream}",
    },
    "text": "answer.text",
}  # fmt: skip


def chat_template(**more):
    return {"templates": {"chat": {**CHAT, **more}}}


def test_a_template_is_filled_with_values_as_they_are():
    sent = parts("http_template", quirks=chat_template(), settings={"endpoint": "e 1"}, sampling=DRAWN)
    assert sent.path == "/endpoints/e%201/m"
    assert orjson.loads(sent.body) == {
        "messages": [{"role": "user", "content": "hi"}],
        "parameters": {"max_new_tokens": 99, "stop": ["x", "y"], "temperature": 0.5, "fixed": [1, "a"]},
        "note": "m at e 1",
        "stream": False,
    }


def test_what_is_unsaid_is_left_out_and_what_is_said_is_not_read_again():
    messages = (said("user", "{model} {endpoint}"),)
    told = body("http_template", quirks=chat_template(), settings={"endpoint": "e"}, messages=messages)
    assert told["parameters"] == {"fixed": [1, "a"]}
    assert told["messages"][0]["content"] == "{model} {endpoint}"


def test_tools_that_a_template_has_no_place_for_are_refused():
    quirks = {"templates": {"chat": {"path": "/", "body": {"turns": "{messages}"}, "text": "answer"}}}
    assert body("http_template", quirks=quirks) == {"turns": [{"role": "user", "content": "hi"}]}
    with pytest.raises(ProviderFailure, match="no place for tools"):
        parts("http_template", quirks=quirks, tools=(Tool("f"),))


def test_a_template_that_streams():
    stream = {
        "path": "/stream",
        "body": {"parameters": {"details": True}},
        "json_form": "lines",
        "text": "answer.token",
    }
    sent = parts("http_template", quirks=chat_template(stream=stream), settings={"endpoint": "e"}, stream=True)
    assert (sent.path, sent.stream, sent.json) == ("/stream", True, "lines")
    told = orjson.loads(sent.body)
    assert (told["stream"], told["parameters"]) == (True, {"fixed": [1, "a"], "details": True})


@pytest.mark.parametrize(
    ("request_", "template", "sent"),
    [
        (Embed("acme/m", ("a", "b"), 8),
         {"embed": {"path": "/{model}", "body": {"in": "{texts}", "n": "{dimensions}"}, "vectors": "answer"}},
         {"in": ["a", "b"], "n": 8}),
        (Embed("acme/m", ("a", "b")),
         {"embed": {"path": "/{model}", "vectors": "answer",
                    "body": {"in": [{"of": "{text}", "n": "{dimensions}", "to": "{texts}"}, 1]}}},
         {"in": [{"of": "a", "to": ["a", "b"]}, {"of": "b", "to": ["a", "b"]}, 1]}),
        (Rerank("acme/m", "q", ("a", "b")),
         {"rerank": {"path": "/{model}", "body": {"in": ["{document}"]}, "scores": "answer"}}, {"in": ["a", "b"]}),
        (Rerank("acme/m", "q", ("a", "b")),
         {"rerank": {"path": "/{model}", "body": {"q": "{query}", "of": ["{k}", "{documents}"]}, "scores": "answer"}},
         {"q": "q", "of": [["a", "b"]]}),
    ],
)  # fmt: skip
def test_templates_of_other_tasks(request_, template, sent):
    found = parts("http_template", request_, quirks={"templates": template})
    assert (found.path, orjson.loads(found.body)) == ("/m", sent)


def test_a_task_without_a_template_is_refused():
    with pytest.raises(SetupError, match="has no template for `chat`") as caught:
        parts("http_template")
    assert caught.value.hint


EMBED = {"path": "/{model}", "body": {"in": "{texts}"}, "vectors": "answer"}


@pytest.mark.parametrize(
    ("templates", "steps", "message", "hint"),
    [
        (chat_template(path="/{modle}"), ("chat", "path"), "is no part of a request", "did you mean `model`?"),
        (chat_template(path="/{endpiont}"), ("chat", "path"), "and no setting", "did you mean `endpoint`?"),
        (chat_template(path="/{Model}"), ("chat", "path"), "`Model` in a template", "did you mean `model`?"),
        (chat_template(path="/{"), ("chat", "path"), "`{` in a template", "known here: endpoint, "),
        (chat_template(body={"a": [1, {"b": "say {promt}"}]}), ("chat", "body", "a", 1, "b"), "`promt`", "`prompt`?"),
        (chat_template(stream={"path": "/{modle}", "text": "answer"}), ("chat", "stream", "path"), "`modle`", "model"),
        (chat_template(stream={"body": {"a": "{texts}"}, "text": "answer"}), ("chat", "stream", "body", "a"), "`texts`",
         "known here: endpoint, "),
        ({"templates": {"embed": EMBED | {"path": "/{text}"}}}, ("embed", "path"), "`text`", "did you mean `texts`?"),
        ({"templates": {"embed": EMBED | {"body": {"in": "{text}"}}}}, ("embed", "body", "in"), "one of several",
         '["{text}"], or "{texts}" for all'),
        ({"templates": {"rerank": {"path": "/r", "body": {"in": [["{documnt}"]]}, "scores": "answer"}}},
         ("rerank", "body", "in", 0, 0), "`documnt`", "did you mean `document`?"),
    ],
)  # fmt: skip
def test_a_slot_that_nothing_fills_is_told_when_the_file_is_read(templates, steps, message, hint):
    (found,) = check_quirks(["http_template"], templates, ("endpoint",))
    assert (found.code, found.steps) == ("bad_value", ("quirks", "templates", *steps))
    assert message in found.message
    assert hint in found.hint


def test_slots_that_can_be_filled_are_no_finding():
    embed = EMBED | {"path": "/{endpoint}", "body": {"in": [{"of": "{text}", "n": "{dimensions}"}]}}
    for templates in (chat_template(), {"templates": {"embed": embed}}, {}):
        assert check_quirks(["http_template"], templates, ("endpoint",)) == []


@pytest.mark.parametrize(("dimensions", "path"), [(8, "/m/8"), (None, None)])
def test_a_path_holds_all_that_it_names(dimensions, path):
    quirks = {"templates": {"embed": EMBED | {"path": "/{model}/{dimensions}"}}}
    request = Embed("acme/m", ("a",), dimensions)
    if path:
        assert parts("http_template", request, quirks=quirks).path == path
        return
    with pytest.raises(ProviderFailure, match="needs `dimensions`, and it is not said") as caught:
        parts("http_template", request, quirks=quirks)
    assert (caught.value.code, caught.value.hint) == ("bad_request", "dimensions: ...")


@pytest.mark.parametrize(
    ("path", "right"),
    [("answer", True), ("answer[0].a", True), ("answer[].a.b", True), ("body.a", False), ("answer.__class__()", False),
     ("{{ answer }}", False), ("answer[", False), (7, False)],
)  # fmt: skip
def test_a_response_path_is_one_of_the_language(path, right):
    found = check_quirks(["http_template"], chat_template(text=path))
    assert [misfit.steps for misfit in found] == ([] if right else [("quirks", "templates", "chat", "text")])


def test_a_word_that_no_template_knows_is_named_with_its_place():
    (found,) = check_quirks(["http_template"], chat_template(txt="answer"))
    assert found.steps == ("quirks", "templates", "chat", "txt")


def test_a_count_names_the_model_where_a_chat_has_it_in_its_path():
    card = ProviderCard("acme", "https://acme.example", {"chat": "anthropic_messages"}, quirks={"drop": ["model"]})
    parts = find_wire("anthropic_messages", card).count(Chat("acme/m", (Message("user", (Text("hi"),)),)))
    assert orjson.loads(parts.body)["model"] == "m"
