import json

import pytest
from tokenizers import Tokenizer as Library

from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.errors import NodeFailure, SetupError
from tests.local_models.encoders import tokenizer, write_embedder


@pytest.fixture
def folder(tmp_path):
    return write_embedder(tmp_path / "m")


def test_padding_and_truncation_of_the_file_are_switched_off(folder):
    assert Library.from_file(str(folder / "tokenizer.json")).padding["length"] == 8
    short, long = Tokenizer(folder, 12).encode(["cat", "cat " * 30])
    assert (len(short.ids), len(long.ids)) == (3, 12)


def test_without_a_window_nothing_is_cut(folder):
    assert len(Tokenizer(folder).encode(["cat " * 300])[0].ids) == 302


def test_pairs_have_types(folder):
    (pair,) = Tokenizer(folder, 64).encode_pairs("cat", ["dog runs"])
    expected = tokenizer(fixed=False).encode("cat", "dog runs")
    assert (pair.ids, pair.types) == (expected.ids, expected.type_ids)
    assert set(pair.types) == {0, 1}


def test_counting_and_decoding_are_of_the_whole_text(folder):
    made = Tokenizer(folder, 8)
    assert made.count("cat " * 20) == 20
    assert made.decode(made.ids("the red fox")) == "the red fox"
    assert made.ids("cat", special=True) == [2, made.id_of("cat"), 3]
    assert made.id_of("nobody") is None


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": "9"}', '{"model": {"type": "WordPiece"}}'])
def test_what_is_no_tokenizer_is_told(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(SetupError) as caught:
        Tokenizer(folder)
    assert caught.value.code == "bad_model_file"
    assert "tokenizer.json" in caught.value.message


def test_a_tokenizer_that_is_not_there(folder):
    (folder / "tokenizer.json").unlink()
    with pytest.raises(SetupError) as caught:
        Tokenizer(folder)
    assert caught.value.code == "missing_model_file"


ENDLESS = {"type": "Split", "pattern": {"Regex": "(a|a)+$|(a+)+b"}, "behavior": "Isolated", "invert": False}
LONG = "a" * 40 + "!"


@pytest.mark.parametrize(
    "read",
    [
        lambda made: made.encode(["cat", LONG]),
        lambda made: made.encode_pairs("cat", [LONG]),
        lambda made: made.ids(LONG),
        lambda made: made.count(LONG),
    ],
)
def test_a_text_that_the_library_panics_at_is_a_typed_failure(folder, read):
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"pre_tokenizer": ENDLESS}))
    made = Tokenizer(folder)
    with pytest.raises(NodeFailure, match="the tokenizer of m failed: "):
        read(made)
    assert len(made.ids("cat")) == 1


def test_tokens_that_the_library_panics_at_are_a_typed_failure(folder):
    file = folder / "tokenizer.json"
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 1}
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"decoder": {"type": "Sequence", "decoders": [blank(), strip]}})
    )
    with pytest.raises(NodeFailure, match="the tokenizer of m failed: slice index"):
        Tokenizer(folder).decode([5])


def blank() -> dict:
    """A decoder that makes a blank of every token."""
    return {"type": "Replace", "pattern": {"Regex": r"[\s\S]+"}, "content": " "}
