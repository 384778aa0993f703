"""The kinds that work on texts: prompt, split, truncate."""

import pytest
from pydantic import ValidationError

from flowllm.core.errors import NodeFailure
from flowllm.core.scope import Scope
from flowllm.nodes.prompt import Prompt
from flowllm.nodes.split import Split
from flowllm.nodes.truncate import Truncate

TALK = [
    {"role": "system", "content": "s"},
    {"role": "user", "content": "old " * 50},
    {"role": "user", "content": "new"},
]


class Threads:
    """Counts what is sent to a thread."""

    def __init__(self):
        self.used = 0

    async def __call__(self, work):
        self.used += 1
        return work()


@pytest.mark.parametrize(
    ("inputs", "text", "messages"),
    [
        ({"text": "hi"}, "hi", [{"role": "user", "content": "hi"}]),
        ({"messages": TALK[::2]}, "s\n\nnew", TALK[::2]),
        (
            {"messages": [{"role": "user", "content": [{"text": "a"}, {"image": {}}, {"text": "b"}]}]},
            "ab",
            [{"role": "user", "content": [{"text": "a"}, {"image": {}}, {"text": "b"}]}],
        ),
    ],
)
def test_prompt(inputs, text, messages):
    assert Prompt().run(**inputs) == {"text": text, "messages": messages}


async def test_split_gives_parts_and_gaps():
    node = Split.model_validate({"by": "paragraphs", "max_tokens": 2})
    assert await node.run(scope=Scope(), text="One.\n\nTwo.") == {"parts": ["One.", "Two."], "gaps": ["\n\n", ""]}


@pytest.mark.parametrize(
    "params",
    [
        {"by": "tokens"},
        {"by": "lines"},
        {"max_tokens": 0},
        {"overlap": 5},
        {"max_tokens": 10, "overlap": 6},
        {"overlap": -1},
    ],
)
def test_bad_parameters_of_split(params):
    with pytest.raises(ValidationError):
        Split.model_validate(params)


async def test_truncate_text():
    ports = await Truncate(max_tokens=3, keep="head").run(scope=Scope(), text="one two three four five")
    assert ports == {"text": "one two …", "tokens": 3, "dropped": 2}


async def test_truncate_messages():
    ports = await Truncate(max_tokens=20).run(scope=Scope(), messages=TALK)
    assert ports == {"messages": TALK[::2], "tokens": 13, "dropped": 1}


async def test_the_port_limit_wins():
    ports = await Truncate(max_tokens=3).run(scope=Scope(), text="one two three four five", limit=100)
    assert ports["dropped"] == 0


@pytest.mark.parametrize(
    ("inputs", "code", "words"),
    [
        ({"messages": TALK, "limit": 5}, "context_too_long", "the last user message needs 8 tokens, and 5 are allowed"),
        ({"text": "abc", "limit": 0}, "context_too_long", "one character needs 1 tokens, and 0 are allowed"),
        ({"text": "abc"}, "node_failed", "max_tokens or limit"),
        ({"text": "abc", "messages": [], "limit": 5}, "node_failed", "give text or messages"),
    ],
)
async def test_truncate_fails(inputs, code, words):
    with pytest.raises(NodeFailure, match=words) as caught:
        await Truncate().run(scope=Scope(), **inputs)
    assert caught.value.code == code


@pytest.mark.parametrize(("length", "threads"), [(1_000, 0), (300_000, 1)])
@pytest.mark.parametrize("node", [Split(by="sentences"), Truncate(max_tokens=10)])
async def test_long_texts_go_to_a_thread(node, length, threads):
    scope = Scope(run_in_thread=Threads())
    await node.run(scope=scope, text="word. " * (length // 6))
    assert scope.run_in_thread.used == threads


@pytest.mark.parametrize(
    ("inputs", "names"),
    [
        ({"text": {}}, {"text", "tokens", "dropped"}),
        ({"messages": {}}, {"messages", "tokens", "dropped"}),
    ],
)
def test_truncate_gives_the_port_that_came_in(inputs, names):
    assert set(Truncate().output_ports(inputs, {})) == names
    assert set(Truncate.input_ports()) == {"text", "messages", "limit"}
