"""The key of a request: it differs wherever the answer could, and nowhere else."""

from dataclasses import fields, replace
from itertools import combinations

import pytest

from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Sampling, Text, Thought, Tool, ToolUse, digest

HELLO = Message("user", (Text("hello"),))
CHAT = Chat("a/b", (HELLO,))
OTHERS = {
    "model": "a/c",
    "messages": (Message("user", (Text("bye"),)),),
    "sampling": Sampling(temperature=0.0),
    "schema": {"type": "object"},
    "choices": ("yes", "no"),
    "tools": (Tool("look"),),
    "reasoning": "low",
    "extra": {"user": "me"},
    "stream": True,
    "tool_choice": "required",
    "parallel_tool_calls": False,
}
MESSAGES = [
    (),
    (HELLO,),
    (HELLO, HELLO),
    (Message("assistant", (Text("hello"),)),),
    (Message("user", (Text("hel"), Text("lo"))),),
    (Message("user", (Text("hello"), Image(url="https://a.example/x.png"))),),
    (Message("user", (Image(url="https://a.example/x.png"),)),),
    (Message("user", (Image(data="hello", media_type="image/png"),)),),
    (Message("user"),),
    (Message("tool", (Text("hello"),), tool_call_id="1"),),
    (Message("tool", (Text("hello"),), tool_call_id="2"),),
    (Message("tool", (Text("hello"),), tool_call_id="2", failed=True),),
    (Message("assistant", (Text("hello"),), (ToolUse("look", "{}"),)),),
    (Message("assistant", (Text("hello"),), (ToolUse("look", "{}", "1"),)),),
]
SAMPLINGS = [
    Sampling(),
    Sampling(temperature=1.0),
    Sampling(top_p=1.0),
    Sampling(max_output_tokens=1),
    Sampling(stop=("1",)),
    Sampling(seed=1),
    Sampling(logprobs=0),
    Sampling(logprobs=1),
]
OF_A_MESSAGE = {
    "role": "assistant",
    "parts": (Text("bye"),),
    "tool_calls": (ToolUse("look", "{}"),),
    "tool_call_id": "1",
    "thoughts": (Thought("hm"),),
    "failed": True,
}
KINDS = [CHAT, Embed("a/b", ("hello",)), Embed("a/b", ("hel", "lo")), Rerank("a/b", "hello", ()), Rerank("a/b", "", ())]


@pytest.mark.parametrize("name", [field.name for field in fields(Chat)])
def test_every_field_counts_but_stream(name):
    assert (digest(replace(CHAT, **{name: OTHERS[name]})) == digest(CHAT)) is (name == "stream")


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0.5), ("top_p", 0.5), ("max_output_tokens", 5), ("stop", ("x",)), ("seed", 5), ("logprobs", 0)],
)
def test_every_way_to_draw_counts(name, value):
    known = {"temperature", "top_p", "max_output_tokens", "stop", "seed", "logprobs"}
    assert {found.name for found in fields(Sampling)} == known
    assert digest(replace(CHAT, sampling=Sampling(**{name: value}))) != digest(CHAT)


@pytest.mark.parametrize("name", [field.name for field in fields(Message)])
def test_every_field_of_a_message_counts(name):
    changed = replace(CHAT, messages=(replace(HELLO, **{name: OF_A_MESSAGE[name]}),))
    assert digest(changed) != digest(CHAT)


@pytest.mark.parametrize(
    "requests",
    [
        [replace(CHAT, messages=messages) for messages in MESSAGES],
        [replace(CHAT, sampling=sampling) for sampling in SAMPLINGS],
        KINDS,
    ],
)
def test_no_two_are_the_same(requests):
    assert all(digest(a) != digest(b) for a, b in combinations(requests, 2))


CALLED = (
    Message("system", (Text("s"),)),
    Message("user", (Text("look"), Image(url="https://a.example/x.png"))),
    Message("assistant", (Text("so"),), (ToolUse("f", '{"a":1}', "x", "S"),), thoughts=(Thought("hm", "S", "t"),)),
    Message("tool", (Text("1"),), tool_call_id="x"),
)
APART = (
    Message("user", (Text("a"), Text("b"))),
    Message("user", (Image(media_type="image/png", data="QQ=="),)),
)
LOOK = Tool("f", "d", {"type": "object"})


@pytest.mark.parametrize(
    ("request_", "key"),
    [
        (CHAT, "798595d300e6a99b9c1757733a4618f98142af294dde88720bda715869b78712"),
        (Chat("a/b", APART), "95c2116e5de224343e6ab0b2383f19d79a5a9afb6fe98e705c1e790da226970b"),
        (Chat("a/b", CALLED, Sampling(0.5, 0.9, 7, ("x",), 1), {"type": "object"}, ("y", "n"), (LOOK,), "low",
              {"user": "me"}), "8cb963d9e839ba86463e4314daa78ac1449442a70e8121afa369cefc626108b2"),
    ],
)  # fmt: skip
def test_keys_stay_what_they_were(request_, key):
    assert digest(request_, "s", "i") == key


@pytest.mark.parametrize(
    ("plain", "marked"),
    [
        (CHAT, replace(CHAT, messages=(Message("user", (Text("hello", "1h"),)),))),
        (Chat("a/b", APART), Chat("a/b", (Message("user", (Text("a", "5m"), Text("b"))), APART[1]))),
        (
            Chat("a/b", APART),
            Chat("a/b", (APART[0], Message("user", (replace(APART[1].parts[0], prompt_cache="5m"),)))),
        ),
        (replace(CHAT, tools=(LOOK,)), replace(CHAT, tools=(replace(LOOK, prompt_cache="1h"),))),
    ],
)
def test_a_mark_for_the_provider_changes_no_key(plain, marked):
    assert plain != marked
    assert digest(plain) == digest(marked)


def test_the_salt_counts_and_the_order_of_keys_does_not():
    assert digest(CHAT, "2") != digest(CHAT)
    first, second = ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    assert digest(replace(CHAT, extra=first)) == digest(replace(CHAT, extra=second))
