import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from flowllm.backends.local.graph_file import Port, read_graph
from flowllm.core.errors import SetupError
from tests.local_models.encoders import WIDTH, Encoder


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("graph") / "model.onnx"
    onnx.save(Encoder().graph(), path)
    return path


def saved(path, nodes, constants=(), outputs=("y",), **more):
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])]
    given_back = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in outputs]
    model = helper.make_model(helper.make_graph(nodes, "g", inputs, given_back, list(constants)), **more)
    path.write_bytes(model.SerializeToString())
    return path


def test_inputs_outputs_weights_and_operators(encoder_file):
    found = read_graph(encoder_file)
    assert found.inputs == tuple(
        Port(name, "int64", (None, None)) for name in ("input_ids", "attention_mask", "token_type_ids")
    )
    assert found.outputs == (Port("last_hidden_state", "float32", (None, None, WIDTH)),)
    assert found.weights["float32"] == sum(value.size for value in Encoder().weights.values()) + 3
    assert found.operators["LayerNormalization"] == 3
    assert found.external == ()


def test_what_it_finds_is_what_onnx_finds(encoder_file):
    model = onnx.load(encoder_file)
    assert [port.name for port in read_graph(encoder_file).inputs] == [port.name for port in model.graph.input]
    counted = {}
    for node in model.graph.node:
        counted[node.op_type] = counted.get(node.op_type, 0) + 1
    assert read_graph(encoder_file).operators == counted


@pytest.mark.parametrize("where", ["initializer", "constant", "branch", "function"])
def test_external_data_is_found_wherever_it_is_named(tmp_path, where):
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, "../../secret")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    held = helper.make_node("Constant", [], ["w"], value=tensor)
    add = helper.make_node("Add", ["x", "w"], ["y"])
    plain = helper.make_node("Identity", ["x"], ["y"])
    if where == "initializer":
        path = saved(tmp_path / "m.onnx", [add], [tensor])
    elif where == "constant":
        path = saved(tmp_path / "m.onnx", [held, add])
    elif where == "branch":
        out = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])
        branch = helper.make_graph([held], "b", [], [out])
        path = saved(tmp_path / "m.onnx", [plain, helper.make_node("If", ["c"], ["z"], then_branch=branch)])
    else:
        made = helper.make_function("own", "F", ["x"], ["y"], [held, add], [helper.make_opsetid("", 17)])
        path = saved(tmp_path / "m.onnx", [helper.make_node("F", ["x"], ["y"], domain="own")], functions=[made])
    assert read_graph(path).external == ("../../secret",)


def test_weights_that_old_files_list_as_inputs_are_none(tmp_path):
    weight = numpy_helper.from_array(np.ones(4, np.float32), "w")
    path = saved(tmp_path / "m.onnx", [helper.make_node("Add", ["x", "w"], ["y"])], [weight])
    model = onnx.load(path)
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4]))
    path.write_bytes(model.SerializeToString())
    assert [port.name for port in read_graph(path).inputs] == ["x"]


def test_the_width_of_weights_in_blocks(tmp_path):
    node = helper.make_node("MatMulNBits", ["x", "w"], ["y"], domain="com.microsoft", bits=4, block_size=32)
    assert read_graph(saved(tmp_path / "m.onnx", [node])).bits == 4


BROKEN = [
    (b"", "cannot be read"),
    (b"not a model at all", "cannot be read"),
    (b"\x3a\x05abc", "ends 2 bytes too early"),
    (b"\x08\x07", "holds no graph"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "cannot be read"),
]


@pytest.mark.parametrize(("content", "words"), BROKEN)
def test_what_is_no_model_is_said_so(tmp_path, content, words):
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SetupError) as caught:
        read_graph(path)
    assert caught.value.code == "bad_model_file"
    assert str(path) in caught.value.message
    assert words in caught.value.message or "no ONNX model that can be read" in caught.value.message


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SetupError) as caught:
        read_graph(tmp_path / "model.onnx")
    assert caught.value.code == "missing_model_file"


@settings(max_examples=60, deadline=None)
@given(share=st.floats(0, 1))
def test_every_cut_file_is_told(encoder_file, tmp_path_factory, share):
    whole = encoder_file.read_bytes()
    path = tmp_path_factory.mktemp("cut") / "model.onnx"
    path.write_bytes(whole[: int(share * (len(whole) - 1))])
    # Only what stands behind the graph may be absent without being missed.
    assert code_of(path) == "bad_model_file" or read_graph(path) == read_graph(encoder_file)


def code_of(path):
    """The code of the error that reading gives, None where it gives none."""
    try:
        read_graph(path)
    except SetupError as error:
        return error.code
    return None


@settings(max_examples=80, deadline=None)
@given(content=st.binary(max_size=400))
def test_any_bytes_are_read_or_told(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(SetupError):
        read_graph(path)


def test_a_changed_file_is_read_anew(tmp_path, encoder_file):
    path = tmp_path / "model.onnx"
    path.write_bytes(encoder_file.read_bytes())
    assert read_graph(path) is read_graph(path)
    onnx.save(Encoder(labels=2).graph(), path)
    assert [port.name for port in read_graph(path).outputs] == ["logits"]
