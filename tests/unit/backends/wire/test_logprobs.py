"""Log probabilities: how each format is asked for them, and how it tells them."""

import orjson
import pytest

from flowllm.backends.framing import Sniffed
from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from flowllm.core.delta import Logprobs, Token, fold
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Message, Sampling, Text

NAMES = {"bedrock_converse": "anthropic.claude-x", "bedrock_invoke": "anthropic.claude-x"}
TEMPLATE = {"templates": {"chat": {"path": "/x", "body": {"messages": "{messages}"}, "text": "answer.text"}}}
QUIRKS = {"http_template": TEMPLATE, "watsonx": {"api": "generation"}}
TOP = (("He", -0.5), ("Do", -1.0))
TOKENS = (Token("He", -0.5, TOP), Token("llo", 0.0))


def wire_of(name, **quirks):
    return find_wire(name, ProviderCard("acme", quirks=quirks))


def chat(wire, logprobs, *, stream=False):
    hello = (Message("user", (Text("hi"),)),)
    return Chat(f"acme/{NAMES.get(wire, 'm')}", hello, Sampling(logprobs=logprobs), stream=stream)


def body(wire, logprobs, **quirks):
    return orjson.loads(wire_of(wire, **quirks).encode(chat(wire, logprobs)).body)


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize(
    ("wire", "quirks", "place", "asked", "some"),
    [
        ("openai_chat", {}, "", {"logprobs": True}, {"top_logprobs": 3}),
        ("watsonx", {"api": "chat"}, "", {"logprobs": True}, {"top_logprobs": 3}),
        ("ollama_native", {}, "", {"logprobs": True}, {"top_logprobs": 3}),
        ("openai_responses", {}, "", {"include": ["message.output_text.logprobs"]}, {"top_logprobs": 3}),
        ("gemini_generate", {}, "generationConfig", {"responseLogprobs": True}, {"logprobs": 3}),
    ],
)
def test_how_they_are_asked_for(wire, quirks, place, asked, some, count):
    without, told = body(wire, None, **quirks), body(wire, count, **quirks)
    if place:
        without, told = without.get(place, {}), told[place]
    assert not {*asked, *some} & without.keys()
    assert {word: value for word, value in told.items() if word not in without} == asked | (some if count else {})


def test_completions_have_one_word_for_both():
    assert [body("openai_completions", count).get("logprobs") for count in (None, 0, 3)] == [None, 0, 3]


def test_a_sealed_thought_is_asked_for_beside_them():
    request = Chat("acme/m", chat("", None).messages, Sampling(logprobs=0), reasoning="low")
    told = orjson.loads(wire_of("openai_responses").encode(request).body)
    assert told["include"] == ["reasoning.encrypted_content", "message.output_text.logprobs"]


@pytest.mark.parametrize(
    "wire",
    ["anthropic_messages", "bedrock_converse", "bedrock_invoke", "cohere_v2", "http_template", "replicate_predictions",
     "watsonx"],
)  # fmt: skip
def test_formats_without_a_place_for_them_refuse(wire):
    quirks = QUIRKS.get(wire, {})
    body(wire, None, **quirks)
    with pytest.raises(ProviderFailure, match="cannot say `logprobs`") as caught:
        body(wire, 0, **quirks)
    assert caught.value.code == "bad_request"


@pytest.mark.parametrize("family", ["titan", "llama", "cohere", "ai21", "mistral", "anthropic"])
def test_families_of_texts_refuse(family):
    with pytest.raises(ProviderFailure, match="cannot say `logprobs`"):
        body("bedrock_invoke", 0, family=family)


def row(text, number, top=()):
    return {"token": text, "logprob": number, "bytes": None, "top_logprobs": [row(*pair) for pair in top]}


def event(data):
    return b"data: " + orjson.dumps(data) + b"\n\n"


ROWS = [row("He", -0.5, TOP), row("llo", 0)]
COLUMNS = {"tokens": ["He", "llo"], "token_logprobs": [-0.5, 0], "top_logprobs": [{"Do": -1.0, "He": -0.5}, None]}
CHOSEN = [{"token": "He", "logProbability": -0.5}, {"token": "llo", "logProbability": 0}]
LIKELY = [{"candidates": [{"token": text, "logProbability": number} for text, number in TOP]}]
GEMINI = {
    "content": {"parts": [{"text": "Hello"}]},
    "finishReason": "STOP",
    "logprobsResult": {"chosenCandidates": CHOSEN, "topCandidates": LIKELY},
}
PART = {"type": "output_text", "text": "Hello", "logprobs": ROWS}


def completed(*output):
    return {"status": "completed", "output": list(output), "model": "m"}


def said(text, likely, end=None):
    return event({"choices": [{"delta": {"content": text}, "logprobs": likely, "finish_reason": end}]})


def whole(likely):
    return orjson.dumps({"choices": [{"message": {"content": "Hello"}, "logprobs": likely, "finish_reason": "stop"}]})


PIECES = [
    {"type": "response.output_text.delta", "output_index": 0, "delta": text, "logprobs": rows}
    for text, rows in (("He", ROWS[:1]), ("llo", ROWS[1:]))
]
MESSAGE = {"type": "message", "content": [PART]}
ANSWERS = {
    "openai_chat": ("openai_chat", whole({"content": ROWS})),
    "openai_chat stream": (
        "openai_chat",
        said("He", {"content": ROWS[:1]}) + said("llo", {"content": ROWS[1:], "refusal": None}, "stop"),
    ),
    "openai_chat in columns": ("openai_chat", whole({**COLUMNS, "content": None})),
    "openai_completions": (
        "openai_completions",
        orjson.dumps({"choices": [{"text": "Hello", "logprobs": COLUMNS, "finish_reason": "stop"}]}),
    ),
    "openai_responses": ("openai_responses", orjson.dumps(completed(MESSAGE))),
    "openai_responses stream": (
        "openai_responses",
        b"".join(map(event, [*PIECES, {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}]))
        + event({"type": "response.completed", "response": completed(MESSAGE)}),
    ),
    "gemini_generate": ("gemini_generate", orjson.dumps({"candidates": [GEMINI]})),
    "ollama_native": (
        "ollama_native",
        orjson.dumps({"message": {"content": "Hello"}, "logprobs": ROWS, "done": True, "done_reason": "stop"}),
    ),
}


def decoded(wire, answer):
    framing, decoder = Sniffed(), wire_of(wire).decoder(chat(wire, 2))
    frames = [*framing.feed(answer), *framing.finish()]
    return [*(delta for frame in frames for delta in decoder.feed(frame)), *decoder.finish()]


@pytest.mark.parametrize(("wire", "answer"), ANSWERS.values(), ids=ANSWERS)
def test_how_they_are_told(wire, answer):
    reply = fold(decoded(wire, answer))
    assert (reply.text, reply.finish, reply.logprobs) == ("Hello", "stop", TOKENS)


def completion(likely):
    return orjson.dumps({"choices": [{"text": "Hello", "logprobs": likely, "finish_reason": "stop"}]})


def generated(likely):
    return orjson.dumps({"candidates": [{**GEMINI, "logprobsResult": likely}]})


def written(likely):
    return orjson.dumps(completed({"type": "message", "content": [{**PART, "logprobs": likely}]}))


def streamed(likely):
    pieces = [{**piece, "logprobs": likely} for piece in PIECES]
    return b"".join(map(event, [*pieces, {"type": "response.completed", "response": completed(MESSAGE)}]))


def local(likely):
    return orjson.dumps({"message": {"content": "Hello"}, "logprobs": likely, "done": True, "done_reason": "stop"})


ODD = [None, {}, [], 0, -0.5, "x", [1], [None], ["x"], [[]], [{"token": "a"}], [{"token": "a", "logprob": "x"}]]
ODD_CHATS = [
    *({"content": odd} for odd in (*ODD, {"a": 1}, [None, {"token": "a"}], [{"token": "a", "logprob": True}])),
    {"tokens": ["a"], "token_logprobs": [None]}, {"tokens": ["a"]}, {"tokens": 5, "token_logprobs": 4},
]  # fmt: skip
ODD_COLUMNS = [{"tokens": 5}, {"tokens": ["a"], "token_logprobs": 5}, {"tokens": {"a": 1}, "token_logprobs": [-1]}]
ODD_CANDIDATES = [{"chosenCandidates": odd} for odd in (5, [1], [{"token": "a"}], {"token": "a", "logProbability": -1})]


@pytest.mark.parametrize(
    ("wire", "answer", "odd"),
    [
        ("openai_chat", whole, [*ODD, *ODD_CHATS]),
        ("openai_completions", completion, [*ODD, *ODD_COLUMNS]),
        ("gemini_generate", generated, [*ODD, *ODD_CANDIDATES]),
        ("openai_responses", written, ODD),
        ("openai_responses", streamed, ODD),
        ("ollama_native", local, ODD),
    ],
)
def test_what_tells_none_is_none_and_costs_no_answer(wire, answer, odd):
    for likely in odd:
        deltas = decoded(wire, answer(likely))
        assert not [delta for delta in deltas if isinstance(delta, Logprobs)], likely
        reply = fold(deltas)
        assert (reply.text, reply.finish, reply.logprobs) == ("Hello", "stop", None), likely


CHOSEN_ONE = {"token": "b", "logProbability": -2}


@pytest.mark.parametrize(
    ("wire", "answer", "likely", "tokens"),
    [
        ("openai_chat", whole, {"content": [{**row("a", -1), "top_logprobs": 5}]}, [Token("a", -1)]),
        ("openai_chat", whole, {"content": [{**row("a", -1), "top_logprobs": [None, row("b", -2)]}]},
         [Token("a", -1, (("b", -2),))]),
        ("openai_completions", completion, {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": 7},
         [Token("a", -1)]),
        ("openai_completions", completion, {"tokens": ["a", "b"], "token_logprobs": [None, -1]}, [Token("b", -1)]),
        ("gemini_generate", generated, {"chosenCandidates": [CHOSEN_ONE], "topCandidates": {"x": 1}},
         [Token("b", -2)]),
        ("gemini_generate", generated, {"chosenCandidates": [CHOSEN_ONE], "topCandidates": [None]}, [Token("b", -2)]),
        ("gemini_generate", generated,
         {"chosenCandidates": [{"token": "a"}, CHOSEN_ONE], "topCandidates": [*LIKELY, {"candidates": [CHOSEN_ONE]}]},
         [Token("b", -2, (("b", -2),))]),
    ],
)  # fmt: skip
def test_rows_of_another_shape_are_left_out_and_the_others_keep_their_places(wire, answer, likely, tokens):
    assert fold(decoded(wire, answer(likely))).logprobs == tuple(tokens)
