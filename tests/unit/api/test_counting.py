"""Counting from Python: by the tokenizer that a provider file names, else by an estimate; much of it in a thread."""

import asyncio
import threading

import pytest

import flowllm
from flowllm.api import Environment, Flow, RunOptions
from flowllm.api.counting import acount, count, counter_of
from flowllm.core.errors import PipelineInvalid, SetupError
from flowllm.text import token_files
from flowllm.text.tokens import LARGE

CARD = """
base_url: https://acme.example/v1
wire: {chat: openai_chat}
auth: {scheme: none}
models:
  big: {context: 1000, tokenizer: tokenizers/big.json}
  small: {context: 1000}
"""
CUT = {
    "inputs": {"text": "string"},
    "nodes": {
        "cut": {"kind": "truncate", "in": {"text": "inputs.text"}, "max_tokens": 2, "keep": "head", "for": "acme/big"}
    },
    "outputs": {"cut": "cut.text", "tokens": "cut.tokens"},
}


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A project whose model `acme/big` counts words, and the threads that opened its tokenizer."""
    folder = tmp_path / "providers" / "tokenizers"
    folder.mkdir(parents=True)
    (tmp_path / "providers" / "acme.yaml").write_text(CARD)
    (folder / "big.json").write_text("{}")
    threads = []

    def opened(path, data):
        threads.append(threading.current_thread())
        return lambda text: len(text.split())

    monkeypatch.setattr(token_files, "_by_tokenizers", opened)
    token_files._opened.cache_clear()
    return Environment(project=tmp_path), threads


def test_a_model_with_a_tokenizer_is_counted_exactly(world):
    environment, _ = world
    assert flowllm.count_tokens("one two three", "acme/big", environment=environment) == (3, True)
    assert not count("one two three", "acme/small", environment=environment).exact
    assert not count("one two three", "openai/gpt-4o", environment=environment).exact
    assert not count([{"role": "user", "content": "one two"}], "acme/big", environment=environment).exact


@pytest.mark.parametrize("model", ["acme/small", "acme/other", "nobody/big", "gpt-4o"])
def test_no_tokenizer(world, model):
    assert counter_of(world[0].catalog, model) is None


@pytest.mark.parametrize(
    ("model", "words", "said"),
    [
        ("big", 1_000, []),
        ("big", 1_001, ["context_too_long: the fixed text has 1,001 tokens, and `acme/big` reads 1,000"]),
        ("small", 1_500, ["over_window: the fixed text has about "]),
    ],
)
def test_a_check_counts_by_the_tokenizer_of_the_model(world, model, words, said):
    found = checked(world[0], model, words)
    assert [one[: len(start)] for one, start in zip(found, said, strict=True)] == said


def test_a_check_estimates_where_the_tokenizer_cannot_be_opened(world, tmp_path):
    (tmp_path / "providers" / "tokenizers" / "big.json").unlink()
    assert [one.partition(":")[0] for one in checked(world[0], "big", 1_500)] == ["over_window"]


def checked(environment, model, words):
    ask = {"kind": "call", "prompt": "word " * words, "model": f"acme/{model}"}
    try:
        found = Flow.of({"nodes": {"ask": ask}, "outputs": {"o": "ask.text"}}, environment=environment).check()
    except PipelineInvalid as invalid:
        found = invalid.problems
    return [f"{one.code}: {one.message}" for one in found]


async def test_a_node_counts_by_the_tokenizer_of_its_model_in_a_thread(world):
    environment, threads = world
    async with Flow.of(CUT, environment=environment) as flow:
        result = await flow.arun({"text": "one two three four"})
    assert result.outputs["tokens"] == 2
    assert result.outputs["cut"].startswith("one ")
    assert threads
    assert threading.current_thread() not in threads


async def test_a_tokenizer_that_was_opened_before_is_not_opened_while_a_pipeline_runs(world):
    environment, threads = world
    assert count("", "acme/big", environment=environment) == (0, True)
    assert threads == [threading.current_thread()]
    result = await Flow.of(CUT, environment=environment).arun({"text": "one two three four"})
    assert result.outputs["tokens"] == 2
    assert len(threads) == 1


PLACES = {
    "outside": CUT,
    "inside of another step": {
        "inputs": {"text": "string"},
        "nodes": {
            **CUT["nodes"],
            "all": {"kind": "map", "over": "{{ [inputs.text] }}", "as": "one", "around": ["cut"],
                    "of": {"tokens": "cut.tokens", "cut": "cut.text"}},
        },
        "outputs": {"tokens": "{{ all.items[0].tokens }}", "cut": "{{ all.items[0].cut }}"},
    },
    "split": {
        "inputs": {"text": "string"},
        "nodes": {
            "cut": {
                "kind": "split", "in": {"text": "inputs.text"}, "by": "tokens", "max_tokens": 2, "for": "acme/big",
            }
        },
        "outputs": {"tokens": "{{ cut.parts | length }}"},
    },
}  # fmt: skip


@pytest.mark.parametrize("where", PLACES)
def test_a_tokenizer_counts_in_its_own_environment_alone(world, tmp_path, where):
    environment, _ = world
    other = tmp_path / "other"
    (other / "providers").mkdir(parents=True)
    (other / "providers" / "acme.yaml").write_text(CARD.replace(", tokenizer: tokenizers/big.json", ""))
    text = {"text": "undeniably uncharacteristic incomprehensibilities unquestionably"}
    plain = Flow.of(PLACES[where], environment=Environment(project=other))
    before = plain.run(text).outputs
    exact = Flow.of(PLACES[where], environment=environment).run(text).outputs
    assert int(exact["tokens"]) == 2
    assert Flow.of(PLACES[where], environment=environment).run(text, RunOptions(rehearse=True)).outputs == exact
    assert plain.run(text).outputs == before != exact
    assert Flow.of(PLACES[where], environment=Environment(project=other)).run(text).outputs == before
    assert not count("one two", "acme/big", environment=Environment(project=other)).exact


@pytest.mark.parametrize(
    ("content", "model", "threaded"),
    [
        ("a" * LARGE, None, False),
        ("a" * (LARGE + 1), None, True),
        ("a", "acme/big", True),
        ("a", "acme/other", True),
        ([{"role": "user", "content": "a"}], None, True),
    ],
)
async def test_much_is_counted_in_a_thread(world, monkeypatch, content, model, threaded):
    calls = []

    async def to_thread(work):
        calls.append(work)
        return work()

    monkeypatch.setattr(asyncio, "to_thread", to_thread)
    found = await acount(content, model, environment=world[0])
    assert found == count(content, model, environment=world[0])
    assert bool(calls) == threaded


def test_a_tokenizer_that_is_not_there_is_said(world, tmp_path):
    (tmp_path / "providers" / "tokenizers" / "big.json").unlink()
    with pytest.raises(SetupError, match="cannot be read"):
        count("a", "acme/big", environment=world[0])
