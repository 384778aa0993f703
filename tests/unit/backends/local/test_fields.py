"""What a model's small files say, of types that it cannot have."""

import json

import pytest

from flowllm.backends.local.layout import describe
from flowllm.core.errors import SetupError
from tests.local_models.encoders import SENTENCES, Encoder, write_classifier, write_embedder
from tests.unit.backends.local.generation.folders_made import folder as write_decoder

COUNT, IDS = "a whole number above 0", "the number of a token, or a list of them"
WRONG = [
    ("config.json", {"architectures": 5}, "`architectures` is a list of texts, not `5`"),
    ("config.json", {"architectures": [5]}, "`architectures` is a list of texts, not `[5]`"),
    ("config.json", {"model_type": []}, "`model_type` is a text, not `[]`"),
    ("config.json", {"max_position_embeddings": "many"}, f"`max_position_embeddings` is {COUNT}, not `many`"),
    ("config.json", {"max_position_embeddings": -5}, f"`max_position_embeddings` is {COUNT}, not `-5`"),
    ("config.json", {"max_position_embeddings": 0}, f"`max_position_embeddings` is {COUNT}, not `0`"),
    ("config.json", {"max_position_embeddings": 1e22}, f"`max_position_embeddings` is {COUNT}, not `1e+22`"),
    ("config.json", {"max_position_embeddings": True}, f"`max_position_embeddings` is {COUNT}, not `true`"),
    (
        "config.json",
        {"text_config": {"max_position_embeddings": "x"}},
        f"`text_config.max_position_embeddings` is {COUNT}, not `x`",
    ),
    ("config.json", {"id2label": [1, 2]}, "`id2label` is names by their numbers, not `[1, 2]`"),
    ("config.json", {"id2label": {"a": "b"}}, '`id2label` is names by their numbers, not `{"a": "b"}`'),
    ("config.json", {"num_labels": "two"}, f"`num_labels` is {COUNT}, not `two`"),
    ("config.json", {"eos_token_id": "abc"}, f"`eos_token_id` is {IDS}, not `abc`"),
    ("config.json", {"pad_token_id": [True]}, f"`pad_token_id` is {IDS}, not `[true]`"),
    ("tokenizer_config.json", {"model_max_length": "512"}, '`model_max_length` is a number above 0, not `"512"`'),
    ("tokenizer_config.json", {"model_max_length": 0}, "`model_max_length` is a number above 0, not `0`"),
    ("tokenizer_config.json", {"pad_token": 5}, "`pad_token` is a text, or a mapping with its content, not `5`"),
    ("tokenizer_config.json", {"chat_template": 5}, "`chat_template` is a text, or a list of named ones, not `5`"),
    ("sentence_bert_config.json", {"max_seq_length": "x"}, f"`max_seq_length` is {COUNT}, not `x`"),
    ("sentence_bert_config.json", {"max_seq_length": -1}, f"`max_seq_length` is {COUNT}, not `-1`"),
    ("sentence_bert_config.json", {"max_seq_length": True}, f"`max_seq_length` is {COUNT}, not `true`"),
]
OF_DECODERS = [
    ("generation_config.json", {"do_sample": "yes"}, "`do_sample` is true or false, not `yes`"),
    ("generation_config.json", {"temperature": "hot"}, "`temperature` is a number from 0 to 100, not `hot`"),
    ("generation_config.json", {"temperature": -1}, "`temperature` is a number from 0 to 100, not `-1`"),
    ("generation_config.json", {"top_k": -3}, "`top_k` is a whole number from 0 to 1073741824, not `-3`"),
    ("generation_config.json", {"top_p": 7}, "`top_p` is a number from 0 to 1, not `7`"),
    ("generation_config.json", {"eos_token_id": ["abc"]}, f'`eos_token_id` is {IDS}, not `["abc"]`'),
    ("genai_config.json", {"model": {"context_length": "x"}}, f"`model.context_length` is {COUNT}, not `x`"),
]


def spoilt(folder, name, values):
    path = folder / name
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))
    return path


def told(folder):
    with pytest.raises(SetupError) as caught:
        describe(folder)
    assert caught.value.code == "bad_model_file"
    return caught.value.message


@pytest.mark.parametrize(("name", "values", "why"), WRONG)
def test_an_encoder_s_file_names_its_key(tmp_path, name, values, why):
    path = spoilt(write_embedder(tmp_path / "m"), name, values)
    assert told(path.parent) == f"{path} is wrong: {why}"


@pytest.mark.parametrize(("name", "values", "why"), OF_DECODERS)
def test_a_decoder_s_file_names_its_key(tmp_path, name, values, why):
    path = spoilt(write_decoder(tmp_path / "m"), name, values)
    assert told(path.parent) == f"{path} is wrong: {why}"


FINE = [
    ("config.json", dict.fromkeys(("architectures", "model_type", "eos_token_id", "text_config"))),
    ("config.json", {"eos_token_id": [1, 2], "pad_token_id": -1, "bos_token_id": None}),
    ("tokenizer_config.json", {"model_max_length": 1e30, "pad_token": {"content": "[PAD]"}, "bos_token": None}),
    ("sentence_bert_config.json", {"max_seq_length": None}),
]


@pytest.mark.parametrize(("name", "values"), FINE)
def test_what_real_files_hold_is_fine(tmp_path, name, values):
    assert describe(spoilt(write_embedder(tmp_path / "m"), name, values).parent).task == "embed"


def test_what_real_files_say_of_drawing_is_fine(tmp_path):
    said = {"do_sample": True, "temperature": 0, "top_k": None, "top_p": 1, "min_p": 0.0, "eos_token_id": 1}
    assert describe(write_decoder(tmp_path / "m", generation_config=said)).generation == said


def test_tokens_that_end_an_answer_are_of_the_vocabulary(tmp_path):
    folder = write_decoder(tmp_path / "m", generation_config={"eos_token_id": [7, 99999999]})
    spoilt(folder, "config.json", {"vocab_size": 300})
    assert told(folder) == f"the model in {folder} ends with the token 99999999, and its vocabulary has 300"


@pytest.mark.parametrize("labels", [{"0": "no", "1": "yes"}, {1: "yes", 0: "no"}])
def test_labels_by_their_numbers(tmp_path, labels):
    folder = write_classifier(tmp_path / "m", Encoder(labels=2), ["a", "b"])
    spoilt(folder, "config.json", {"id2label": labels})
    assert describe(folder).labels == ("no", "yes")


def test_the_files_of_sentence_transformers_are_read(tmp_path):
    assert describe(write_embedder(tmp_path / "m", files=SENTENCES)).window == 32
