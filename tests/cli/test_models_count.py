"""`flowllm models count`: the tokens of a text, a file or stdin, and whether they are exact."""

import io

import pytest

from flowllm.config.files import LIMIT
from flowllm.text import token_files

MODEL, LINE = "openai/gpt-4o", "How long is a text?"
CARD = """\
base_url: https://acme.example/v1
wire: {chat: openai_chat}
auth: {scheme: none}
models: {own: {context: 1000, tokenizer: own.json}}
"""


def test_a_text_is_counted_by_an_estimate(flowllm):
    told = flowllm("models", "count", MODEL, LINE, "--json").data
    assert told == {"model": MODEL, "tokens": told["tokens"], "exact": False}
    assert 4 <= told["tokens"] <= 9
    assert flowllm("models", "count", MODEL, LINE).out.split()[:2] == [str(told["tokens"]), "estimate:"]


def test_a_file_and_stdin_are_read_to_their_end(flowllm, folder, monkeypatch):
    (folder / "long.txt").write_text(f"{LINE}\n" * 100)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(f"{LINE}\n".encode() * 100)))
    of_file, of_stdin = (flowllm("models", "count", MODEL, "--file", name, "--json").data for name in ("long.txt", "-"))
    assert of_file == of_stdin
    assert 400 <= of_file["tokens"] <= 900


def test_the_tokenizer_of_the_model_counts_exactly(flowllm, folder, monkeypatch):
    (folder / "providers").mkdir()
    (folder / "providers/acme.yaml").write_text(CARD)
    (folder / "providers/own.json").write_text("{}")
    monkeypatch.setattr(token_files, "_by_tokenizers", lambda path, data: lambda text: len(text.split()))
    token_files._opened.cache_clear()
    assert flowllm("models", "count", "acme/own", LINE).out.split() == ["5", "exact"]
    assert flowllm("models", "count", "acme/own", LINE, "--json").data["exact"] is True


@pytest.mark.parametrize("command", [("count", MODEL, "--file"), ("price", MODEL, "--usage")])
@pytest.mark.parametrize(
    ("data", "said"), [(b" " * (LIMIT + 1), "it is larger than 10 MiB"), (b'{"input": 1}\xff', "save it as UTF-8")]
)
def test_a_file_and_stdin_are_held_to_the_same_rules(flowllm, folder, monkeypatch, command, data, said):
    (folder / "long.txt").write_bytes(data)
    for name in ("long.txt", "-"):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        done = flowllm("models", *command, name)
        assert (done.status, said in done.err, done.out) == (2, True, "")


def test_without_standard_input_a_file_is_asked_for(flowllm, monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    done = flowllm("models", "count", MODEL, "--file", "-")
    assert (done.status, "there is no standard input to read" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("opnai/gpt-4o", "did you mean `openai`?"),
        ("nobody/x", "flowllm providers list"),
        ("", "provider/model"),
        ("openai/", "provider/model"),
        ("gpt-5.4-mini", "did you mean `openai/gpt-5.4-mini`?"),
    ],
)
def test_a_name_that_is_no_model_is_refused_as_it_is_where_it_is_priced(flowllm, name, hint):
    for words in (("count", name, "hi"), ("price", name, "input=1")):
        done = flowllm("models", *words)
        assert (done.status, hint in done.err, done.out) == (2, True, "")


def test_a_model_of_which_nothing_is_known_is_counted_by_an_estimate(flowllm):
    assert flowllm("models", "count", "openai/of-tomorrow", LINE, "--json").data["exact"] is False


@pytest.mark.parametrize("words", [(), ("a", "--file", "long.txt")])
def test_a_text_or_a_file_is_told(flowllm, words):
    done = flowllm("models", "count", MODEL, *words)
    assert done.status == 2
    assert "a text is given as a word or by --file FILE" in done.err
