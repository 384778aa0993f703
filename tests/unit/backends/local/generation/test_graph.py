from types import SimpleNamespace

import pytest

from flowllm.backends.local.generation.graph import SHARING, read_decoder
from flowllm.core.errors import SetupError
from tests.unit.backends.local.generation.decoders_made import LLAMA, QWEN2
from tests.unit.backends.local.generation.engine_made import WAYS, decoder


def port(name, kind="tensor(float)", shape=("batch", 2, "past", 16)):
    return SimpleNamespace(name=name, type=kind, shape=list(shape))


def session(inputs=(), outputs=(), *, without=()):
    whole = ("batch", "sequence")
    taken = [port("input_ids", "tensor(int64)", whole), port("attention_mask", "tensor(int64)", whole)]
    taken += [port(f"past_key_values.{layer}.{half}") for layer in (0, 10, 2) for half in ("key", "value")]
    given = [port("logits", shape=("batch", "sequence", 64))]
    given += [port(one.name.replace("past_key_values", "present")) for one in taken if "past" in one.name]
    changed = {one.name: one for one in (*inputs, *outputs)}
    ports = [[changed.pop(one.name, one) for one in every if one.name not in without] for every in (taken, given)]
    more = [one for one in inputs if one.name in changed]
    return SimpleNamespace(get_inputs=lambda: ports[0] + more, get_outputs=lambda: ports[1])


@pytest.mark.parametrize("shape", [LLAMA, QWEN2])
@pytest.mark.parametrize("way", WAYS)
def test_ports_are_told_by_their_names(tmp_path, shape, way):
    found = decoder(tmp_path, shape, way)
    assert (found.heads, found.size, found.vocabulary) == (shape.kv_heads, shape.head, shape.vocabulary)
    assert len(found.past) == len(found.present) == 2 * shape.layers
    assert found.shared is way.startswith("shared")
    assert found.positions is (way in ("concat", "concat in halves", "concat, last logits", "shared with positions"))
    assert found.keep == (() if way.endswith("last logits") else None)
    kind = "float16" if way.endswith("halves") else "float32"
    assert (found.whole, found.halves, found.counts, found.masked) == ("int64", kind, kind, True)


def test_layers_are_in_the_order_of_their_numbers():
    found = read_decoder(session(), {SHARING})
    assert [name.split(".")[1] for name in found.past] == ["0", "0", "2", "2", "10", "10"]
    assert [name.split(".")[2] for name in found.present] == ["key", "value"] * 3
    assert found.shared


def test_the_length_of_a_head_may_stand_beside_the_graph():
    names = [f"past_key_values.{layer}.{half}" for layer in (0, 10, 2) for half in ("key", "value")]
    open_graph = session([port(name, shape=("batch", 2, "past", "size")) for name in names])
    assert read_decoder(open_graph, (), size=8).size == 8
    assert read_decoder(session(), (), size=8).size == 16, "what the graph says goes first"
    for size in (None, "8"):
        with pytest.raises(SetupError, match="does not say how large its past"):
            read_decoder(open_graph, (), size=size)


def test_a_graph_that_gives_the_last_logits_alone():
    assert read_decoder(session(outputs=[port("logits", shape=("b", 1, 64))]), ()).last
    assert not read_decoder(session(), ()).last


def test_halves_of_a_smaller_type():
    halves = [
        port(f"past_key_values.{layer}.{half}", "tensor(float16)") for layer in (0, 10, 2) for half in ("key", "value")
    ]
    assert read_decoder(session(halves), ()).halves == "float16"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (session([port("use_cache_branch", "tensor(bool)", (1,))]), "asks for use_cache_branch"),
        (session([port("past_conv.0")]), "asks for past_conv.0"),
        (session(without=("logits",)), "lacks logits"),
        (session(without=("present.2.key",)), "lacks present.2.key"),
        (session(without=("input_ids",)), "lacks past keys and values"),
        (session(outputs=[port("logits", shape=("b", "s", "v"))]), "does not say how large"),
        (session([port("past_key_values.0.key", "tensor(bfloat16)")]), "as tensor(bfloat16)"),
    ],
)
def test_a_graph_that_asks_for_more_is_refused_by_name(made, said):
    with pytest.raises(SetupError) as caught:
        read_decoder(made, ())
    assert said in caught.value.message
    assert caught.value.code == "capability_mismatch"
