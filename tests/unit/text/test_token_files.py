"""Tokenizers from files: counts of small ones made here, and what is said of files that are none."""

import base64
import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.errors import SetupError
from flowllm.text import token_files
from flowllm.text.token_files import FileCounter, open_tokenizer
from flowllm.text.token_patterns import PATTERNS

LETTERS = [bytes((byte,)) for byte in range(256)]
MERGED = [b"he", b"ll", b"hell", b"hello", b" w", b" wo", b"12", b"123"]


def ranks(tokens):
    return b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))


def tekken(tokens, **config):
    vocabulary = [{"rank": rank, "token_bytes": base64.b64encode(token).decode()} for rank, token in enumerate(tokens)]
    sizes = {"default_vocab_size": len(tokens) + 3, "default_num_special_tokens": 3, "pattern": PATTERNS["tekken"]}
    return json.dumps({"config": sizes | config, "vocab": vocabulary}).encode()


def file(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        ("small.cl100k.tiktoken", "", 0),
        ("small.cl100k.tiktoken", "hello", 1),
        ("small.cl100k.tiktoken", "hello world", 1 + 4),
        ("small.cl100k.tiktoken", "hellohello", 2),
        ("small.cl100k.tiktoken", "123", 1),
        ("small.qwen.tiktoken", "123", 3),
        ("small.o200k.tiktoken", "é", 2),
        ("tekken.json", "hello 123", 1 + 1 + 3),
    ],
)
def test_a_vocabulary_of_ranks(tmp_path, name, text, tokens):
    pytest.importorskip("tiktoken")
    tokens_of = tekken if name == "tekken.json" else ranks
    counter = FileCounter(file(tmp_path, name, tokens_of(LETTERS + MERGED)))
    assert counter.exact
    assert counter.count(text) == tokens


def test_the_family_tells_the_pattern_where_the_name_does_not(tmp_path):
    pytest.importorskip("tiktoken")
    path = file(tmp_path, "small.tiktoken", ranks(LETTERS + MERGED))
    assert open_tokenizer(path, "llama3")("123") == 1
    assert open_tokenizer(path, "qwen")("123") == 3


@given(st.text("ab \n1é", max_size=80), st.integers(1, 9))
def test_pieces_are_the_text_and_end_between_words(text, size):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(token_files, "_PIECE", size)
        pieces = list(token_files._pieces(text))
    assert "".join(pieces) == text
    assert all(len(piece) >= size and piece[-1] in "ab" for piece in pieces[:-1])
    assert all(piece[0] == " " and piece[1] in "ab" for piece in pieces[1:])


def test_pieces_count_what_the_whole_does(tmp_path, monkeypatch):
    pytest.importorskip("tiktoken")
    counting = open_tokenizer(file(tmp_path, "small.o200k.tiktoken", ranks(LETTERS + MERGED)))
    text = "hello world, it's 123\n\n  wo WORLD's he " * 50
    whole = counting(text)
    monkeypatch.setattr(token_files, "_PIECE", 1)
    assert counting(text) == whole


def trained(tmp_path, **padding):
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=300, special_tokens=["<s>"], show_progress=False)
    made.train_from_iterator(["the cat sat on the mat, the cat sat"] * 20, trainer)
    if padding:
        made.enable_padding(length=64)
        made.enable_truncation(3)
    path = tmp_path / "tokenizer.json"
    made.save(str(path))
    return path, made


@pytest.mark.parametrize("text", ["", "the cat sat", "on the mat the the", "the " * 500])
def test_a_tokenizer_json(tmp_path, text):
    path, made = trained(tmp_path)
    assert FileCounter(path).count(text) == len(made.encode(text).ids)


def test_padding_and_truncation_of_the_file_do_not_count(tmp_path):
    path, made = trained(tmp_path, padded=True)
    made.no_padding()
    made.no_truncation()
    assert FileCounter(path).count("the cat sat on the mat") == len(made.encode("the cat sat on the mat").ids) > 3


def test_a_file_is_opened_at_the_first_count_and_once(tmp_path, monkeypatch):
    path, _ = trained(tmp_path)
    opened = []
    monkeypatch.setattr(token_files, "_by_tokenizers", lambda path, data: (opened.append(path), len)[1])
    first, second = FileCounter(path), FileCounter(path)
    assert opened == []
    assert [first.count("ab"), first.count("abc"), second.count("a")] == [2, 3, 1]
    assert opened == [path]


LINE = base64.b64encode(b"a")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("x.tiktoken", ranks(LETTERS), "does not tell how texts are split"),
        ("cl100k.tiktoken", b"", "holds no token"),
        ("cl100k.tiktoken", LINE + b" 0\n", "has no token for the byte 0"),
        ("cl100k.tiktoken", LINE + b" 0\nYQ== -1\n", "has no token and rank on line 2"),
        ("cl100k.tiktoken", b"a === 0\n", "has no token and rank on line 1"),
        ("cl100k.tiktoken", b"YQ=YQ 0\n", "has no token and rank on line 1"),
        ("cl100k.tiktoken", b"abcde 0\n", "has no base64 on line 1"),
        ("cl100k.tiktoken", b"\x80\x04pickled", "has no token and rank on line 1"),
        ("cl100k.tiktoken", base64.b64encode(b"x" * 5000) + b" 0\n", "has an empty or a huge token on line 1"),
        ("tokenizer.json", b"{", "is no JSON"),
        ("tokenizer.json", b"{" + b'"a":{' * 100_000, "is no JSON"),
        ("tokenizer.json", b"{}", "is no tokenizer that can be used"),
        ("tekken.json", tekken(LETTERS, pattern="(a+)+$"), "splits texts by a pattern that is not Mistral's"),
        ("tekken.json", tekken(LETTERS, default_vocab_size="9"), "has no sizes of its vocabulary"),
        ("tekken.json", tekken(LETTERS).replace(b'"rank": 7,', b""), "has no bytes and rank for token 7"),
        (
            "tokenizer.json",
            json.dumps({"pre_tokenizer": {"pretokenizers": [{"pattern": {"Regex": "a" * 5000}}]}}).encode(),
            "has a pattern of more than 4000 characters",
        ),
    ],
)
def test_what_is_said_of_a_file_that_is_none(tmp_path, name, data, said):
    if "can be used" in said:
        pytest.importorskip("tokenizers")
    path = file(tmp_path, name, data)
    with pytest.raises(SetupError) as raised:
        FileCounter(path).count("a")
    assert raised.value.code == "bad_model_file"
    assert str(path) in raised.value.message
    assert said in raised.value.message
    assert raised.value.hint


@pytest.mark.parametrize(
    ("make", "said"), [(lambda path: None, "cannot be read"), (lambda path: path.mkdir(), "is no plain file")]
)
def test_a_path_without_a_file(tmp_path, make, said):
    make(tmp_path / "x.json")
    with pytest.raises(SetupError, match=said):
        FileCounter(tmp_path / "x.json").count("a")


def test_a_huge_file_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(token_files, "LIMIT", 10)
    with pytest.raises(SetupError, match="is larger than"):
        FileCounter(file(tmp_path, "cl100k.tiktoken", ranks(LETTERS))).count("a")


@pytest.mark.parametrize(
    ("name", "data", "package"),
    [("tokenizer.json", b"{}", "tokenizers"), ("cl100k.tiktoken", ranks(LETTERS), "tiktoken")],
)
def test_a_package_that_is_missing(tmp_path, monkeypatch, name, data, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SetupError, match=f"need {package}") as raised:
        FileCounter(file(tmp_path, name, data)).count("a")
    assert raised.value.code == "missing_extra"
    assert "[count]" in raised.value.hint
