"""What a kind of users' own must give, what it must not do, and calls that have nothing to say."""

import asyncio
from typing import Any, NotRequired, TypedDict

import pytest

from flowllm.api import Environment, Flow
from flowllm.core.errors import Failure
from flowllm.core.node import Node


class Both(TypedDict):
    first: int
    second: NotRequired[int]


class Asked(Node):
    """Gives what the test wants, at once."""

    give: Any = None

    def run(self) -> Both:
        return self.give


class Later(Asked):
    async def run(self) -> Both:
        await asyncio.sleep(0)
        return self.give


class Leaves(Node):
    def run(self) -> Both:
        raise SystemExit(7)


class LeavesLater(Node):
    async def run(self) -> Both:
        await asyncio.sleep(0)
        raise SystemExit(7)


KINDS = {"asked": Asked, "later": Later, "leaves": Leaves, "leaves_later": LeavesLater}


def flow(node, **top):
    return Flow.of(
        {"nodes": {"a": node}, "outputs": {"o": "a.first"}, **top}, environment=Environment(registered=KINDS)
    )


@pytest.mark.parametrize("kind", ["asked", "later"])
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"frist": 1}, "declares the ports `first` and gave the keys `frist`"),
        ({"second": 1}, "gave the keys `second`"),
        ({}, "gave an empty mapping"),
        ([1], "gave list, no mapping"),
        (None, "gave NoneType, no mapping"),
    ],
)
def test_a_kind_that_does_not_give_its_ports_fails_where_it_stands(kind, given, words):
    with pytest.raises(Failure, match=words) as caught:
        flow({"kind": kind, "give": given}).run()
    assert (caught.value.code, caught.value.address) == ("node_failed", "a")


@pytest.mark.parametrize("kind", ["asked", "later"])
@pytest.mark.parametrize("given", [{"first": 1}, {"first": 1, "second": 2}, {"first": 1, "more": 3}])
def test_ports_that_may_be_missing_may_be_missing(kind, given):
    assert flow({"kind": kind, "give": given}).run()["o"] == 1


@pytest.mark.parametrize("kind", ["leaves", "leaves_later"])
def test_a_kind_cannot_end_the_program(kind):
    with pytest.raises(Failure, match="tried to end the program") as caught:
        flow({"kind": kind}).run()
    assert (caught.value.code, caught.value.address) == ("node_failed", "a")


@pytest.mark.parametrize(
    ("prompt", "words", "hint"),
    [
        ("{{ inputs.text }}", "because `inputs.text` is empty", "inputs: {text: {type: string, minLength: 1}}"),
        ("{{ inputs.text }} {{ inputs.more }}", "because `inputs.text` and `inputs.more` are empty", "minLength: 1"),
        ([{"user": "{{ before.text }}"}], "because `before.text` is empty", "prompt: 'Text: {{ before.text }}'"),
        (" ", "the prompt of `a` renders to nothing but blanks", "prompt: Say hello"),
        ("{% if inputs.no %}x{% endif %}", "renders to nothing but blanks", "prompt: Say hello"),
    ],
)
def test_a_call_without_words_says_what_was_empty(prompt, words, hint):
    pipeline = {
        "inputs": {"text": "string", "more": "string", "no": {"type": "boolean", "default": False}},
        "nodes": {
            "before": {"kind": "prompt", "text": "{{ inputs.text }}"},
            "a": {"kind": "call", "model": "mock/echo", "prompt": prompt},
        },
        "outputs": {"o": "a.text"},
    }
    with pytest.raises(Failure, match=words) as caught:
        Flow.of(pipeline).run({"text": "", "more": " \n"})
    assert hint in caught.value.hint
    assert caught.value.address == "a"
