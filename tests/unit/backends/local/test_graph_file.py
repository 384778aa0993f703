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


def elsewhere(place="../../secret"):
    """A tensor whose numbers are in another file."""
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    onnx.external_data_helper.set_external_data(tensor, place)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    return tensor


def sparse(tensor):
    places = helper.make_tensor("places", TensorProto.INT64, [4], range(4))
    return helper.make_sparse_tensor(tensor, places, [4])


ADD = helper.make_node("Add", ["x", "w"], ["y"])
PLAIN = helper.make_node("Identity", ["x"], ["y"])


def held(**value):
    return helper.make_node("Constant", [], ["w"], **value)


def branched(node):
    out = helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])
    return helper.make_node("If", ["c"], ["z"], then_branch=helper.make_graph([node], "b", [], [out]))


def function(node, default=None):
    made = helper.make_function("own", "F", ["x"], ["y"], [node, ADD], [helper.make_opsetid("", 17)])
    if default is not None:
        made.attribute_proto.append(helper.make_attribute("v", default))
    return {"nodes": [helper.make_node("F", ["x"], ["y"], domain="own")], "functions": [made]}


WHERE = {
    "initializer": lambda w: {"nodes": [ADD], "constants": [w]},
    "constant": lambda w: {"nodes": [held(value=w), ADD]},
    "sparse constant": lambda w: {"nodes": [held(sparse_value=sparse(w)), ADD]},
    "list": lambda w: {"nodes": [helper.make_node("Own", ["x"], ["y"], tensors=[w])]},
    "sparse list": lambda w: {"nodes": [helper.make_node("Own", ["x"], ["y"], tensors=[sparse(w)])]},
    "branch": lambda w: {"nodes": [PLAIN, branched(held(value=w))]},
    "function": lambda w: function(held(value=w)),
    "default of a function": lambda w: function(held(), w),
}


@pytest.mark.parametrize("where", WHERE)
def test_external_data_is_found_wherever_it_is_named(tmp_path, where):
    path = saved(tmp_path / "m.onnx", **WHERE[where](elsewhere()))
    assert read_graph(path).external == ("../../secret",)


def test_external_data_of_sparse_weights(tmp_path):
    model = onnx.load(saved(tmp_path / "m.onnx", [ADD]))
    model.graph.sparse_initializer.append(sparse(elsewhere()))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert read_graph(tmp_path / "m.onnx").external == ("../../secret",)


def field(number, content):
    """A field of protobuf: a number, or bytes with their length."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    return (bytes([value & 127 | 128]) + varint(value >> 7)) if value > 127 else bytes([value])


def with_tensor(path, content):
    """A file whose graph has a weight of these bytes."""
    plain = onnx.load(saved(path, [ADD]))
    graph = plain.graph.SerializeToString() + field(5, content)
    plain.ClearField("graph")
    path.write_bytes(plain.SerializeToString() + field(7, graph))
    return path


LOCATION, TRUE, FALSE = field(1, b"location"), field(2, b"true.bin"), field(2, b"false.bin")
WIDE = bytes([2 << 3 | 1]) + b"fals.bin"
ENTRIES = {
    "once": LOCATION + TRUE,
    "value again": LOCATION + FALSE + TRUE,
    "key again": field(1, b"length") + LOCATION + TRUE,
    "value of another type behind": LOCATION + TRUE + WIDE,
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_places_are_those_that_onnx_reads(tmp_path, entry):
    tensor = field(1, 4) + field(2, 1) + field(8, b"w") + field(13, ENTRIES[entry]) + field(14, 1)
    path = with_tensor(tmp_path / "m.onnx", tensor)
    known = {one.key: one.value for one in onnx.load(path, load_external_data=False).graph.initializer[0].external_data}
    assert read_graph(path).external == (known["location"],) == ("true.bin",)


PLACES = [
    ({"location": "w", "offset": "8", "length": "16"}, 24),
    ({"length": "16", "offset": "8", "location": "w"}, 24),
    ({"location": "w", "offset": "8"}, 8),
    ({"location": "w", "offset": "-8", "length": "x"}, 0),
    ({"location": "w"}, 0),
    ({"location": "w", "length": "9" * 5000}, 0),
]


@pytest.mark.parametrize(("entries", "reach"), PLACES)
def test_how_far_a_graph_reads(tmp_path, entries, reach):
    said = b"".join(field(13, field(1, word.encode()) + field(2, text.encode())) for word, text in entries.items())
    path = with_tensor(tmp_path / "m.onnx", field(1, 4) + field(2, 1) + field(8, b"w") + said + field(14, 1))
    assert (read_graph(path).external, read_graph(path).reach) == (("w",), (reach,))


def nested(depth):
    """A file with graphs inside of nodes, ``depth`` deep."""
    graph = field(1, field(4, b"Identity"))
    for _ in range(depth):
        graph = field(1, field(4, b"If") + field(5, field(6, graph)))
    return field(7, graph + field(12, field(1, b"y")))


def test_graphs_in_graphs_have_a_limit(tmp_path):
    (tmp_path / "fine.onnx").write_bytes(nested(16))
    (tmp_path / "deep.onnx").write_bytes(nested(17))
    assert read_graph(tmp_path / "fine.onnx").operators == {"If": 16, "Identity": 1}
    with pytest.raises(SetupError, match="nested too deep"):
        read_graph(tmp_path / "deep.onnx")


HIDDEN = varint(1 << 32 | 13 << 3 | 2) + varint(20) + LOCATION + TRUE
UNBOUNDED = [
    (field(1, 2) * 16, None),
    (field(1, 2) * 17, "more than any machine has room for"),
    (field(1, varint(2) * 17), "more than any machine has room for"),
    (field(1, 2**40 + 1), "more than any machine has room for"),
    (field(1, 4) + HIDDEN, "it is no protobuf"),
]


@pytest.mark.parametrize(("tensor", "words"), UNBOUNDED)
def test_a_tensor_has_a_size_that_can_be(tmp_path, tensor, words):
    path = with_tensor(tmp_path / "m.onnx", field(2, 1) + tensor)
    if words is None:
        assert read_graph(path).weights == {"float32": 2**16}
        return
    with pytest.raises(SetupError, match=words):
        read_graph(path)


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
