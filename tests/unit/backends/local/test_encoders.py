import asyncio
import copy
import json

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.backends.local.batching import Limits
from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder as Loaded
from flowllm.backends.local.layout import describe
from flowllm.backends.local.pooling import POOLS
from flowllm.backends.local.sessions import open_session
from flowllm.core.errors import NodeFailure, ProviderFailure, SetupError
from flowllm.core.scope import Scope
from tests.local_models.encoders import (
    SENTENCES,
    WORDS,
    Encoder,
    embedding,
    ids_of,
    tokenizer,
    write_classifier,
    write_embedder,
    write_folder,
)

ENCODER = Encoder()
TEXTS = ["the cat", "", "a red fox jumps over the lazy dog .", "birds " * 60, "unheard words", "fish", "the cat"]
CPU = Device(provider="cpu", threads=1)


def loaded(folder, limits=None):
    found = describe(folder)
    return Loaded(found, open_session(found.file, CPU), limits)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    model = loaded(write_embedder(tmp_path_factory.mktemp("tiny"), ENCODER))
    yield model
    model.close()


async def rows_of(model, texts, **extra):
    rows, _ = await model.embed(texts, model.wanted(extra), Scope())
    return rows


async def test_vectors_are_those_of_the_reference_whatever_shares_their_batch(tiny):
    rows = await rows_of(tiny, TEXTS)
    expected = np.stack([embedding(ENCODER, text) for text in TEXTS])
    assert rows.dtype == np.float32
    assert (rows * expected).sum(1).min() > 1 - 1e-6
    assert np.abs(rows - expected).max() < 1e-5


async def test_the_fixed_padding_and_truncation_of_the_tokenizer_are_ignored(tiny):
    rows, used = await tiny.embed(["cat", "birds " * 60], tiny.wanted({}), Scope())
    assert used == 3 + 32
    assert not np.allclose(rows[1], embedding(ENCODER, "birds " * 60, window=8), atol=1e-3)


@settings(max_examples=25, deadline=None)
@given(
    texts=st.lists(st.lists(st.sampled_from(WORDS), max_size=40).map(" ".join), min_size=1, max_size=20),
    budget=st.sampled_from([1, 16, 64, 4096]),
)
def test_any_texts_under_any_budget(tiny, texts, budget):
    model = Loaded(tiny.description, tiny.opened, Limits(budget))
    try:
        rows = asyncio.run(rows_of(model, texts))
    finally:
        model.close()
    assert np.abs(rows - np.stack([embedding(ENCODER, text) for text in texts])).max() < 1e-5


def reference(pooling, text, unpooled=0):
    every = ENCODER.hidden(ids_of(text, window=32)[0])
    hidden = every[unpooled:]
    weights = np.arange(1 + unpooled, len(every) + 1)[:, None]
    return {
        "mean": lambda: hidden.mean(0),
        "cls": lambda: hidden[0],
        "last": lambda: hidden[-1],
        "max": lambda: hidden.max(0),
        "mean_sqrt_len": lambda: hidden.sum(0) / np.sqrt(len(hidden)),
        "weighted_mean": lambda: (hidden * weights).sum(0) / weights.sum(),
    }[pooling]()


@pytest.mark.parametrize("pooling", POOLS)
async def test_every_pooling_on_padded_batches(tiny, pooling):
    rows = await rows_of(tiny, TEXTS, pooling=pooling, normalize=False)
    assert np.abs(rows - np.stack([reference(pooling, text) for text in TEXTS])).max() < 1e-5


async def test_callers_with_other_poolings_share_batches(tiny):
    both = await asyncio.gather(rows_of(tiny, TEXTS, pooling="cls"), rows_of(tiny, TEXTS, pooling="max"))
    for rows, pooling in zip(both, ("cls", "max"), strict=True):
        vector = reference(pooling, TEXTS[2])
        assert np.allclose(rows[2], vector / np.linalg.norm(vector), atol=1e-5)


async def test_pooling_in_the_graph(tmp_path):
    model = loaded(write_folder(tmp_path, ENCODER, pooled=True, files={"sentence_bert_config.json": {}}))
    rows = await rows_of(model, TEXTS[:3], normalize=True)
    model.close()
    assert np.abs(rows - np.stack([embedding(ENCODER, text) for text in TEXTS[:3]])).max() < 1e-5


async def test_a_prompt_stands_before_every_text(tmp_path):
    prompts = {"prompts": {"document": "the bird "}, "default_prompt_name": "document"}
    files = {**SENTENCES, "config_sentence_transformers.json": prompts}
    model = loaded(write_embedder(tmp_path, ENCODER, files=files))
    rows, plain = await rows_of(model, ["sings"]), await rows_of(model, ["sings"], prompt="")
    model.close()
    assert np.allclose(rows[0], embedding(ENCODER, "the bird sings"), atol=1e-5)
    assert np.allclose(plain[0], embedding(ENCODER, "sings"), atol=1e-5)


@pytest.mark.parametrize("modules", [True, False])
@pytest.mark.parametrize("pooling", POOLS)
async def test_a_prompt_that_is_not_pooled_is_read_alone(tmp_path, pooling, modules):
    """As sentence-transformers does it with ``include_prompt``: what the prompt has alone, but for its end, is left."""
    files = copy.deepcopy(SENTENCES)
    files["1_Pooling/config.json"]["include_prompt"] = False
    files["config_sentence_transformers.json"] = {"prompts": {"p": "the old tree "}, "default_prompt_name": "p"}
    if not modules:
        del files["modules.json"]
    model = loaded(write_embedder(tmp_path, ENCODER, files=files))
    texts = ["birds sing", "a red fox jumps", ""]
    rows = await rows_of(model, texts, pooling=pooling, normalize=False)
    plain = await rows_of(model, texts[:1], pooling=pooling, normalize=False, prompt="")
    model.close()
    for row, text in zip(rows, texts, strict=True):
        assert np.abs(row - reference(pooling, f"the old tree {text}", unpooled=4)).max() < 1e-5
    assert np.abs(plain[0] - reference(pooling, texts[0])).max() < 1e-5


async def test_a_prompt_that_fills_the_window_leaves_nothing_to_pool(tmp_path):
    files = copy.deepcopy(SENTENCES)
    files["1_Pooling/config.json"]["include_prompt"] = False
    model = loaded(write_embedder(tmp_path, ENCODER, files=files))
    model.tokenizer.is_special = lambda _: False
    rows = await rows_of(model, ["fish"], prompt="bird " * 99, normalize=True)
    model.close()
    assert not rows.any()


FEW = Limits(64, lengths=(8, 16))


class Shapes:
    """A session that notes the shapes of what it is given, and the fewest tokens of a row."""

    def __init__(self, opened):
        self.opened = opened
        self.seen = []
        self.fewest = []

    def __getattr__(self, name):
        return getattr(self.opened, name)

    def run(self, feeds, outputs=None):
        self.seen.append({array.shape for array in feeds.values()})
        self.fewest.append(feeds["attention_mask"].sum(axis=1).min())
        return self.opened.run(feeds, outputs)


@pytest.fixture
def few(tiny):
    shapes = Shapes(tiny.opened)
    model = Loaded(tiny.description, shapes, FEW)
    yield model, shapes
    model.close()


@pytest.mark.parametrize("pooling", POOLS)
async def test_few_shapes_change_no_vector(tiny, few, pooling):
    model, shapes = few
    rows = await rows_of(model, TEXTS, pooling=pooling)
    assert np.abs(rows - await rows_of(tiny, TEXTS, pooling=pooling)).max() < 1e-5
    assert shapes.seen == [{(8, 8)}, {(2, 32)}]
    # Rows that no text has are added; one of no token would be divided by none.
    assert (len(TEXTS) < 10, min(shapes.fewest)) == (True, 1)


async def test_few_shapes_are_left_where_a_model_has_no_mask(tmp_path):
    folder = write_embedder(tmp_path, ENCODER)
    onnx.save(without_mask(onnx.load(folder / "model.onnx")), folder / "model.onnx")
    model = loaded(folder, FEW)
    rows = await rows_of(model, TEXTS)
    model.close()
    assert np.abs(rows - np.stack([embedding(ENCODER, text) for text in TEXTS])).max() < 1e-5


@pytest.mark.parametrize("count", [1, 3, 5])
async def test_few_shapes_change_no_score(tmp_path, count):
    folder = write_classifier(tmp_path, Encoder(labels=1), ["score"])
    plain, few = loaded(folder), loaded(folder, FEW)
    documents = ["she sings", "cats eat fish", "", "birds " * 60, "the sea"][:count]
    scores = [(await model.score("the bird", documents, Scope()))[0] for model in (plain, few)]
    assert np.abs(np.subtract(*scores)).max() < 1e-6
    plain.close()
    few.close()


def without_mask(model):
    """A graph that cannot tell padding from text."""
    names = [node.name for node in model.graph.input]
    index = names.index("attention_mask")
    del model.graph.input[index]
    shape = next(node for node in model.graph.node if node.op_type == "Cast" and node.input[0] == "attention_mask")
    shape.input[0] = "ones"
    value = onnx.helper.make_tensor("value", onnx.TensorProto.INT64, [1], [1])
    filled = onnx.helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=value)
    model.graph.node.insert(1, filled)
    return model


async def test_a_model_without_a_mask_gets_texts_of_one_length_together(tmp_path):
    folder = write_embedder(tmp_path, ENCODER)
    onnx.save(without_mask(onnx.load(folder / "model.onnx")), folder / "model.onnx")
    model = loaded(folder)
    rows = await rows_of(model, TEXTS)
    model.close()
    assert np.abs(rows - np.stack([embedding(ENCODER, text) for text in TEXTS])).max() < 1e-5


async def test_half_precision_stays_near(tmp_path):
    model = loaded(write_embedder(tmp_path, ENCODER, half=True))
    rows = await rows_of(model, TEXTS)
    model.close()
    assert (rows * np.stack([embedding(ENCODER, text) for text in TEXTS])).sum(1).min() > 0.9999


@pytest.mark.parametrize("activation", ["sigmoid", "identity"])
async def test_scores_of_pairs_are_those_of_the_reference(tmp_path, activation):
    encoder = Encoder(labels=1)
    said = {"sentence_transformers": {"activation_fn": "torch.nn.Identity"}} if activation == "identity" else {}
    model = loaded(write_folder(tmp_path, encoder, config={"num_labels": 1, **said}))
    documents = [text for text in TEXTS if len(text) < 60]
    scores, used = await model.score("the bird sings", documents, Scope())
    model.close()
    logits = np.array([encoder.logits(*ids_of("the bird sings", text))[0] for text in documents])
    expected = 1 / (1 + np.exp(-logits)) if activation == "sigmoid" else logits
    assert np.abs(np.array(scores) - expected).max() < 1e-5
    assert used == sum(len(ids_of("the bird sings", text)[0]) for text in documents)


async def test_shares_of_labels_are_those_of_the_reference(tmp_path):
    encoder = Encoder(labels=3)
    model = loaded(write_classifier(tmp_path, encoder, ["good", "bad", "neither"]))
    shares, _ = await model.classify(TEXTS[2], Scope())
    model.close()
    powers = np.exp(encoder.logits(*ids_of(TEXTS[2])))
    assert list(shares) == ["good", "bad", "neither"]
    assert np.allclose(list(shares.values()), powers / powers.sum(), atol=1e-6)


MEN = "`pooling` is mean or cls or last or max or mean_sqrt_len or weighted_mean, not `men`"
REFUSED = [
    ({"poling": "mean"}, "unknown_field", "`extra` of `local/m` has no `poling`", "did you mean `pooling`?"),
    ({"pooling": "men"}, "bad_value", MEN, "did you mean `mean`?"),
    ({"pooling": ["cls"]}, "bad_value", MEN.replace("`men`", "a list"), "pooling: mean"),
    ({"normalize": "yes"}, "bad_value", "`normalize` is true or false, not `yes`", "normalize: true"),
    ({"prompt": 5}, "bad_value", "`prompt` is a text, not `5`", "prompt: 'query: '"),
]


@pytest.mark.parametrize(("extra", "code", "words", "hint"), REFUSED)
def test_words_and_values_that_no_model_reads(tiny, extra, code, words, hint):
    with pytest.raises(ProviderFailure) as caught:
        tiny.wanted(extra)
    name = f"local/{tiny.description.folder.name}"
    assert (caught.value.code, caught.value.message.replace(name, "local/m"), caught.value.hint) == (code, words, hint)


@pytest.mark.parametrize("pooling", POOLS)
def test_every_pooling_can_be_asked_for(tiny, pooling):
    assert tiny.wanted({"pooling": pooling}).pooling == pooling


def test_a_pooling_that_no_file_says_is_asked_for(tmp_path):
    model = loaded(write_folder(tmp_path, ENCODER))
    with pytest.raises(ProviderFailure) as caught:
        model.wanted({})
    assert caught.value.code == "missing_field"
    assert "extra: {pooling: mean}" in caught.value.hint
    assert model.wanted({"pooling": "cls"}).pooling == "cls"


def spoiled(model, value):
    weight = next(one for one in model.graph.initializer if one.name == "shift2")
    weight.raw_data = np.full(16, value, np.float32).tobytes()
    return model


async def test_numbers_that_are_none_fail_the_call_and_not_the_next_one(tmp_path):
    folder = write_embedder(tmp_path, ENCODER)
    onnx.save(spoiled(onnx.load(folder / "model.onnx"), np.nan), folder / "model.onnx")
    model = loaded(folder)
    for _ in range(2):
        with pytest.raises(NodeFailure) as caught:
            await rows_of(model, ["cat"])
        assert "gave what is no number" in caught.value.message
    model.close()


ROWS = len(WORDS) + 5
MISFITS = [
    ("unheard", f"its tokenizer.json gives the number {ROWS}, and its config.json has a vocab_size of {ROWS}"),
    ("cat " * 100, "it was given 102 tokens, and its config.json has 64 max_position_embeddings"),
]


@pytest.mark.parametrize(("text", "why"), MISFITS)
async def test_small_files_of_another_model_are_called_by_their_names(tmp_path, text, why):
    files = {**SENTENCES, "sentence_bert_config.json": {"max_seq_length": 200}}
    folder = write_embedder(tmp_path / "m", ENCODER, config={"vocab_size": ROWS}, files=files)
    tokens = tokenizer()
    tokens.add_tokens(["unheard"])
    tokens.save(str(folder / "tokenizer.json"))
    model = loaded(folder)
    with pytest.raises(SetupError) as caught:
        await rows_of(model, [text])
    model.close()
    assert caught.value.code == "bad_model_file"
    assert caught.value.message == f"the files of the model in m do not fit each other: {why}"


def without_a_word(model, word):
    """A graph that makes no numbers of texts with the word."""
    weight = next(one for one in model.graph.initializer if one.name == "words")
    rows = onnx.numpy_helper.to_array(weight).copy()
    rows[ids_of(word)[0][1]] = np.nan
    weight.CopyFrom(onnx.numpy_helper.from_array(rows, "words"))
    return model


async def test_a_text_that_gives_no_number_fails_its_caller_alone(tmp_path):
    folder = write_embedder(tmp_path, ENCODER)
    onnx.save(without_a_word(onnx.load(folder / "model.onnx"), "fox"), folder / "model.onnx")
    shapes = Shapes(open_session(folder / "model.onnx", CPU))
    model = Loaded(describe(folder), shapes, Limits(4096, wait=30))
    asked = (rows_of(model, texts) for texts in (["the cat", "red fox"], ["blue sky"]))
    bad, good = await asyncio.gather(*asked, return_exceptions=True)
    model.close()
    assert shapes.seen == [{(3, 4)}]
    assert "gave what is no number" in bad.message
    assert np.allclose(good[0], embedding(ENCODER, "blue sky"), atol=1e-5)


def averaged(model, name):
    """A graph that gives one row whatever it is asked."""
    node = next(node for node in model.graph.node if name in node.output)
    node.output[0] = "rows"
    model.graph.node.append(onnx.helper.make_node("ReduceMean", ["rows"], [name], axes=[0], keepdims=1))
    return model


def flat(model, name):
    """A graph whose output is one long row."""
    node = next(node for node in model.graph.node if name in node.output)
    node.output[0] = "rows"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "all_of_it"))
    model.graph.node.append(onnx.helper.make_node("Reshape", ["rows", "all_of_it"], [name]))
    return model


MISSHAPEN = [
    (averaged, True, "gave 1 x 16 numbers for a batch of 2"),
    (averaged, False, "gave 1 x 4 x 16 numbers for a batch of 2"),
    (flat, True, "gave 32 numbers for a batch of 2"),
]


@pytest.mark.parametrize(("bend", "pooled", "words"), MISSHAPEN)
async def test_a_graph_that_gives_no_row_for_each_text_is_told(tmp_path, bend, pooled, words):
    folder = write_embedder(tmp_path, ENCODER, pooled=pooled)
    name = "sentence_embedding" if pooled else "last_hidden_state"
    onnx.save(bend(onnx.load(folder / "model.onnx"), name), folder / "model.onnx")
    model = loaded(folder)
    for _ in range(2):
        with pytest.raises(NodeFailure) as caught:
            await rows_of(model, ["the cat", "red fox"])
        assert caught.value.message.endswith(words)
    model.close()


@pytest.mark.parametrize("labels", [["no", "yes"], ["score"]])
async def test_another_number_of_labels_than_the_files_name_is_told(tmp_path, labels):
    folder = write_classifier(tmp_path, Encoder(labels=3), labels)
    graph = onnx.load(folder / "model.onnx")
    graph.graph.output[0].type.tensor_type.shape.dim[1].dim_param = "labels"
    onnx.save(graph, folder / "model.onnx")
    model = loaded(folder)
    with pytest.raises(
        NodeFailure, match=rf"1 x 3 numbers for a batch of 1, and its files name labels for {len(labels)}"
    ):
        await (model.classify("cat", Scope()) if len(labels) > 1 else model.score("cat", ["dog"], Scope()))
    model.close()


@pytest.fixture
def bare(tmp_path):
    """A model whose tokenizer puts nothing around texts."""
    folder = write_embedder(tmp_path / "bare", ENCODER)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    model = loaded(folder)
    yield model
    model.close()


@pytest.mark.parametrize("pooling", POOLS)
@pytest.mark.parametrize("texts", [["", "cat"], ["cat", ""], [""]])
async def test_a_text_of_no_tokens_is_told_with_its_place(bare, pooling, texts):
    with pytest.raises(NodeFailure) as caught:
        await rows_of(bare, texts, pooling=pooling)
    assert caught.value.message.startswith(
        f"text {texts.index('')} of {len(texts)} has no token that the model in bare"
    )
    assert caught.value.hint == "leave empty texts out"


async def test_nothing_is_asked_about_no_texts(tiny, tmp_path):
    rows, used = await tiny.embed([], tiny.wanted({}), Scope())
    assert (rows.shape, rows.dtype, used) == ((0, 0), np.float32, 0)
    model = loaded(write_classifier(tmp_path, Encoder(labels=1), ["score"]))
    assert await model.score("the bird", [], Scope()) == ([], 0)
    model.close()


async def test_a_failing_graph_fails_the_batch_alone(tmp_path):
    # The positions end at 64, which no file says; the window is more than the graph can.
    files = {**SENTENCES, "sentence_bert_config.json": {"max_seq_length": 99}}
    folder = write_embedder(tmp_path, ENCODER, config={"max_position_embeddings": None}, files=files)
    model = loaded(folder, Limits(budget=8))
    long = asyncio.ensure_future(rows_of(model, ["bird " * 98]))
    short = await rows_of(model, ["cat"])
    with pytest.raises(NodeFailure) as caught:
        await long
    model.close()
    assert np.allclose(short[0], embedding(ENCODER, "cat"), atol=1e-5)
    assert "failed" in caught.value.message
