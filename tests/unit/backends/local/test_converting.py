"""Other precisions of a graph, made as the exporter makes them, and what it asks of those who write graphs.

optimum itself is met by `bin/oracle peers`, the builder of onnxruntime-genai by `bin/oracle builder`.
"""

import json
import logging
import subprocess
import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace

import numpy as np
import onnx
import pytest

from flowllm.backends.local import converting
from flowllm.backends.local.converting import narrowed
from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder as Loaded
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, embedding, write_embedder
from tests.local_models.texts import TEXTS

PATIENCE = 60


@pytest.fixture
def folder(tmp_path):
    return write_embedder(tmp_path / "tiny")


@pytest.mark.parametrize(("precision", "least"), [("fp16", 0.9999), ("int8", 0.99), ("int4", 0.9)])
async def test_a_precision_is_read_as_such_and_near_the_whole(folder, precision, least):
    made = narrowed(folder, precision)
    assert [path.name for path in folder.glob("*.onnx*")] == [made.name] == [f"model_{precision}.onnx"]
    found = describe(folder, precision)
    assert (found.file, found.precision) == (made, precision)
    assert {port.type.tensor_type.elem_type for port in onnx.load(made).graph.output} == {onnx.TensorProto.FLOAT}
    model = Loaded(found, open_session(found.file, Device(provider="cpu", threads=1)))
    rows, _ = await model.embed(TEXTS, model.wanted({}), Scope())
    model.close()
    cosines = (rows * np.array([embedding(Encoder(), text) for text in TEXTS])).sum(1)
    assert cosines.min() > least


def test_eight_bits_have_a_scale_for_each_channel(folder):
    scales = [
        onnx.numpy_helper.to_array(one)
        for one in onnx.load(narrowed(folder, "int8")).graph.initializer
        if one.name.endswith("_scale")
    ]
    assert any(scale.size > 1 for scale in scales)


@pytest.mark.parametrize("precision", ["fp16", "int8", "int4"])
def test_weights_beside_the_graph_stay_beside_it(folder, precision):
    whole = onnx.load(folder / "model.onnx")
    onnx.save(whole, folder / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0)
    made = narrowed(folder, precision)
    graph, *data = sorted(path.name for path in folder.glob("model*"))
    assert (graph, len(data)) == (made.name, 1)
    assert [path.name for path in describe(folder, precision).external] == data
    onnx.checker.check_model(str(made))


def test_four_bits_are_blocks_of_thirty_two_with_one_scale(folder):
    nodes = [node for node in onnx.load(narrowed(folder, "int4")).graph.node if node.op_type == "MatMulNBits"]
    found = [{one.name: one.i for one in node.attribute} for node in nodes]
    assert found
    assert {(one["bits"], one["block_size"], one["accuracy_level"]) for one in found} == {(4, 32, 4)}
    assert all(len(node.input) == 3 for node in nodes), "symmetric: no zero points"


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 100])
def test_no_weight_in_four_bits_is_a_step_off(rows):
    matrix = np.random.default_rng(rows).standard_normal((rows, 5)).astype(np.float32)
    matrix[:, 3] = 0
    packed, scales = (onnx.numpy_helper.to_array(one) for one in converting._blocks("x", matrix))
    assert (packed.shape, scales.shape) == ((5, -(-rows // 32), 16), (5, -(-rows // 32)))
    known = np.stack([packed & 15, packed >> 4], -1).reshape(*scales.shape, 32).astype(np.float32) - 8
    whole = (known * scales[..., None]).reshape(5, -1)[:, :rows].T
    steps = np.repeat(abs(scales), 32, axis=1)[:, :rows].T
    assert (abs(whole - matrix) <= steps + 1e-6).all()
    assert np.median(abs(whole - matrix)[:, :3] / steps[:, :3]) < 0.5
    assert (whole[:, 3] == 0).all()
    blocks = np.pad(matrix, ((0, -rows % 32), (0, 0))).T.reshape(*scales.shape, 32)
    assert abs(scales) * 8 == pytest.approx(abs(blocks).max(-1)), "all sixteen values are used"
    assert (known.min(-1)[scales != 0] == -8).all()


def test_a_weight_that_an_inner_graph_reads_too_stays_in_four_bits(tmp_path):
    helper, number = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.eye(32, dtype=np.float32), "w")
    inner = [
        helper.make_graph(
            [helper.make_node("Add", ["x", word], ["z"])],
            word,
            [],
            [helper.make_tensor_value_info("z", number, [32, 32])],
        )
        for word in ("w", "x")
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("If", ["which"], ["chosen"], then_branch=inner[0], else_branch=inner[1]),
    ]
    given = [
        helper.make_tensor_value_info("x", number, [32, 32]),
        helper.make_tensor_value_info("which", onnx.TensorProto.BOOL, []),
    ]
    made = [helper.make_tensor_value_info(name, number, [32, 32]) for name in ("y", "chosen")]
    graph = helper.make_graph(nodes, "g", given, made, [weight])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "model.onnx"
    )
    whole = onnx.load(narrowed(tmp_path, "int4")).graph
    assert {one.name for one in whole.initializer} == {"w", "w_Q4", "w_scales"}


def test_the_whole_is_left_as_it_is(folder):
    before = (folder / "model.onnx").read_bytes()
    assert narrowed(folder, "fp32").read_bytes() == before


CHILD = """\
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("converting", sys.argv[1])
child = importlib.util.module_from_spec(spec)
spec.loader.exec_module(child)
def converted(job):
    print("a library prints")
    if job["task"] == "fail":
        raise ValueError("first " + job["source"] + "/x\\n\\n second")
    if job["task"] == "full":
        raise OSError(28, "No space left on device")
    if job["task"] == "full in C++":
        raise RuntimeError("write failed: No space left on device")
    time.sleep(job["seconds"])
    return {"by": {}, "doubts": []}
child.converted = converted
child.unready = lambda job: job.get("absent", "")
child.main()
"""


def child(**job):
    job |= {"source": "/hidden", "named": "tiny"}
    command = [sys.executable, "-P", "-c", CHILD, converting.__file__]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
    process.stdin.write(json.dumps(job).encode() + b"\n")
    process.stdin.flush()
    return process


@pytest.mark.parametrize(
    ("task", "outcome"),
    [
        ("embed", {"by": {}, "doubts": []}),
        (
            "fail",
            {"code": "bad_model_file", "error": "the exporter cannot read tiny: ValueError: first tiny/x second"},
        ),
        ("full", {"full": True}),
        ("full in C++", {"full": True}),
    ],
)
def test_the_process_takes_the_job_and_answers_with_one_line(task, outcome):
    with child(task=task, seconds=0) as process:
        assert process.stdout.readline() == converting.BEGUN.encode() + b"\n"
        assert json.loads(process.stdout.read()) == outcome
        assert process.wait(PATIENCE) == 0


def test_a_process_without_exporter_does_not_take_the_job():
    with child(task="embed", absent="No module named 'x'") as process:
        (line,) = process.stdout.read().splitlines()
        said = "the exporter does not start: No module named 'x'"
        assert json.loads(line) == {"code": "missing_extra", "error": said}
        assert process.wait(PATIENCE) == 0


def test_the_process_ends_with_the_one_that_started_it():
    with child(task="embed", seconds=PATIENCE * 2) as process:
        process.stdin.close()
        assert process.wait(PATIENCE) == 1
        assert process.stdout.read() == converting.BEGUN.encode() + b"\n"


def test_of_what_optimum_says_doubts_of_its_numbers_alone_are_kept():
    doubts, log = converting._Doubts(), logging.getLogger("tests.converting")
    log.addHandler(doubts)
    log.warning("Weight deduplication needs another package")
    log.warning("The ONNX export succeeded with the warning: off by\n 0.1.\n The exported model was saved at: /x")
    assert doubts.said == ["off by 0.1."]


def a_config(name="LlamaForCausalLM", **more):
    return SimpleNamespace(architectures=[name], num_hidden_layers=2, **more)


@pytest.fixture
def builder(monkeypatch, tmp_path):
    """The builder of onnxruntime-genai as far as it is asked here; `calls` are what it was told."""
    made = SimpleNamespace(calls=[], config=a_config(), raises=None, unfilled={})

    def parse_extra_options(name, source, target, precision, device, cache, options):
        made.calls.append((name, source, target, precision, device, cache, tuple(sorted(options))))
        return {"hf_details": {"hf_config": made.config}}

    def create_model(name, source, target, precision, device, cache, *, hf_details):
        if made.raises is not None:
            raise made.raises
        made.calls.append((name, source, target, precision, device, cache))

    module = ModuleType("onnxruntime_genai.models")
    made.parse_extra_options, made.create_model, module.builder = parse_extra_options, create_model, made
    monkeypatch.setitem(sys.modules, "onnxruntime_genai", ModuleType("onnxruntime_genai"))
    monkeypatch.setitem(sys.modules, "onnxruntime_genai.models", module)
    monkeypatch.setattr(converting, "_versions", lambda *names: dict.fromkeys(names, "1"))
    monkeypatch.setattr(converting, "_unfilled", lambda job: made.unfilled)
    return made


def job(tmp_path, **more):
    return {
        "source": str(tmp_path / "source"),
        "target": str(tmp_path / "made"),
        "type": "llama",
        "task": "chat",
    } | more


@pytest.mark.parametrize(("precision", "device"), [("fp32", "cpu"), ("int8", "cpu"), ("int4", "cpu"), ("fp16", "cuda")])
def test_decoders_are_written_by_the_builder_without_code_token_or_windows(builder, tmp_path, precision, device):
    outcome = converting.converted(job(tmp_path, precision=precision))
    assert (outcome["exporter"], "onnxruntime-genai" in outcome["by"], outcome["doubts"]) == ("builder", True, [])
    places = ("", f"{tmp_path}/source", f"{tmp_path}/made", precision, device, f"{tmp_path}/cache")
    options = ("fuse_qk_norm_gqa=false", "hf_remote=false", "hf_token=false", "windowed_kv_cache=false")
    assert builder.calls == [(*places, options), places]


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("The {source} model is not currently supported."), "The this model is not"),
        (KeyError("rope_type"), "KeyError: 'rope_type'"),
    ],
)
def test_what_the_builder_does_not_know_is_told(builder, tmp_path, raised, said):
    builder.raises = type(raised)(str(raised.args[0]).format(source=tmp_path / "source"))
    outcome = converting.converted(job(tmp_path, precision="fp32"))
    assert outcome["code"] == "capability_mismatch"
    assert "a model like this `llama`" in outcome["error"]
    assert said in outcome["error"]
    assert str(tmp_path) not in outcome["error"]
    assert outcome["hint"].startswith("FLOWLLM_EXPORTER=")


def test_nothing_is_built_of_weights_that_do_not_fill_the_model(builder, tmp_path):
    builder.unfilled = {"class": "LlamaForCausalLM", "lacking": ["x"]}
    assert converting.converted(job(tmp_path, precision="fp32")) == builder.unfilled
    assert len(builder.calls) == 1, "no model was asked for"


def test_a_disk_that_is_full_is_no_fault_of_the_model(builder, tmp_path):
    builder.raises = RuntimeError("cannot write: No space left on device")
    with pytest.raises(RuntimeError):
        converting.converted(job(tmp_path, precision="fp32"))


class Transformers:
    """What is asked of transformers and torch: it lists weights as `found` has them, and notes what it was given."""

    def __init__(self, **found):
        self.found = {"missing_keys": [], "mismatched_keys": []} | found
        self.AutoConfig = SimpleNamespace(from_pretrained=lambda *_, **__: SimpleNamespace(vocab_size=1))
        names = ("embed.weight", "pooler.dense.weight", "head.weight")
        model = SimpleNamespace(named_parameters=lambda remove_duplicate: [(name, 0) for name in names])
        self.Made = type("Made", (), {"from_pretrained": lambda *_, **given: (model, self.found | {"given": given})})
        for name in ("AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification"):
            setattr(self, name, SimpleNamespace(from_config=lambda _config: self.Made()))


@pytest.mark.parametrize(
    ("task", "found", "lacking"),
    [
        ("chat", {}, None),
        ("chat", {"missing_keys": ["head.weight", "embed.weight"]}, ["embed.weight", "head.weight"]),
        ("chat", {"missing_keys": {"a_buffer"}}, None),
        ("embed", {"missing_keys": ["pooler.dense.weight"]}, None),
        ("rerank", {"missing_keys": ["pooler.dense.weight"]}, ["pooler.dense.weight"]),
        ("chat", {"mismatched_keys": {("embed.weight", (2, 3), (2, 4))}}, ["embed.weight (of another shape)"]),
    ],
)
def test_weights_that_transformers_would_draw_are_told(monkeypatch, task, found, lacking):
    torch = SimpleNamespace(device=lambda _: nullcontext(), float32=None)
    known = {"transformers": Transformers(**found), "torch": torch}
    monkeypatch.setattr(converting, "import_module", known.__getitem__)
    monkeypatch.setattr(converting, "_held", lambda *_: {})
    told = converting._unfilled({"source": "x", "task": task})
    assert told == ({"class": "Made", "lacking": lacking} if lacking else {})


LOCAL, GLOBAL = {"rope_theta": 1e4, "rope_type": "default"}, {"rope_theta": 1e6, "rope_type": "default"}


@pytest.mark.parametrize(
    ("config", "known"),
    [
        ({"sliding_window": 8}, {"layer_types": ["sliding_attention"] * 2}),
        ({"sliding_window": None}, {}),
        ({"sliding_window": 8, "layer_types": ["full_attention"] * 2}, {"layer_types": ["full_attention"] * 2}),
        ({"rope_parameters": LOCAL}, {"rope_parameters": LOCAL}),
        (
            {"rope_parameters": {"rope_type": "longrope"}},
            {"rope_parameters": {"rope_type": "longrope", "type": "longrope"}},
        ),
        (
            {"rope_parameters": {"full_attention": GLOBAL, "sliding_attention": LOCAL}},
            {"rope_parameters": GLOBAL, "rope_local_base_freq": 1e4},
        ),
    ],
)
def test_layers_that_differ_are_told_apart(builder, tmp_path, config, known):
    builder.config = a_config(**config)
    converting.converted(job(tmp_path, precision="fp32"))
    found = vars(builder.config)
    assert {name: found[name] for name in known} == known
    assert found.keys() == {"architectures", "num_hidden_layers", *config, *known}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (a_config("OlmoForCausalLM"), "no builder's model of the class OlmoForCausalLM was seen"),
        (a_config(rope_parameters={"rope_type": "yarn"}), "the class LlamaForCausalLM with yarn positions"),
        (a_config("Qwen2ForCausalLM", rope_parameters={"rope_type": "llama3"}), "with llama3 positions"),
        (a_config("Phi3ForCausalLM", rope_parameters={"rope_type": "longrope"}), ""),
        (a_config(rope_parameters=None), ""),
        (SimpleNamespace(architectures=None), "the class  was"),
    ],
)
def test_what_no_oracle_has_compared_is_refused(builder, tmp_path, config, said):
    builder.config = config
    outcome = converting.converted(job(tmp_path, precision="fp32"))
    assert (outcome.get("code") == "capability_mismatch", len(builder.calls)) == (bool(said), 1 if said else 2)
    assert said in outcome.get("error", "")


@pytest.mark.parametrize(
    ("task", "said"), [("embed", "No module named 'optimum'"), ("chat", "No module named 'onnxruntime_genai'; No mod")]
)
def test_without_any_exporter_it_says_which_are_absent(monkeypatch, tmp_path, task, said):
    for name in ("onnxruntime_genai", "optimum"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [])
    outcome = converting.converted(job(tmp_path, precision="fp32", task=task))
    assert outcome["code"] == "missing_extra"
    assert said in outcome["error"]
