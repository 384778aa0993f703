"""Where a name that leads nowhere was written, and that every field which may read is looked at."""

import pytest

from flowllm.compiler import compile_spec
from flowllm.config import load
from flowllm.core.errors import PipelineInvalid
from tests.unit.compiler.worlds import CATALOG, KINDS, nodes, problems

HEAD = "model: acme/large\nnodes:\n  b: {kind: fake, in: {v: {const: 1}}}\n"


@pytest.mark.parametrize(
    ("node", "output"),
    [
        ("{kind: fake, in: {v: wrong.value}}", "a.value"),
        ("{kind: fake, in: {v: [b.value, wrong.value]}}", "a.value"),
        ("\n    kind: call\n    prompt: |\n      One.\n      Two {{ wrong }}.", "a.text"),
        ("\n    kind: call\n    prompt: 'Two {{ wrong | upper }}.'", "a.text"),
        ("{kind: fake, in: {v: b.value}, after: [b, wrong]}", "a.value"),
        ("{kind: fake, in: {v: b.value}, extra: wrong}", "a.value"),
        ("{kind: fake, in: {v: b.value}, when_failed: {value: wrong.x}}", "a.value"),
        ("{kind: call, prompt: x, each: wrong.x}", "a.items"),
        ("{kind: route, switch: b.value, cases: {k: b.value, l: wrong.x}, default: b.value}", "a.value"),
        ("{kind: route, switch: b.value, cases: {k: b.value}, default: wrong.x}", "a.value"),
        ("{kind: fake, in: {v: b.value}}\noutputs: {p: wrong.x}", ""),
    ],
)
def test_an_unknown_name_is_where_it_stands(node, output, tmp_path):
    path = tmp_path / "p.yaml"
    text = f"{HEAD}  a: {node}\n" + (f"outputs: {{o: {output}}}\n" if output else "")
    path.write_text(text, "utf-8")
    before = text[: text.index("wrong")].split("\n")
    with pytest.raises(PipelineInvalid) as refused:
        compile_spec(load(path, [], kinds=KINDS), kinds=KINDS, catalog=CATALOG)
    (problem,) = refused.value.problems
    assert problem.code == "unknown_reference"
    assert (problem.origin.line, problem.origin.column) == (len(before), len(before[-1]) + 1)


@pytest.mark.parametrize(
    ("overrides", "place"),
    [
        (["nodes.b.in.v=wrong.value"], "command line: nodes.b.in.v=wrong.value"),
        (["outputs.o=wrong.value"], "command line: outputs.o=wrong.value"),
    ],
)
def test_a_name_of_the_command_line_has_its_word_as_its_place(overrides, place, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(HEAD + "outputs: {o: b.value}\n", "utf-8")
    with pytest.raises(PipelineInvalid) as refused:
        compile_spec(load(path, overrides, kinds=KINDS), kinds=KINDS, catalog=CATALOG)
    (problem,) = refused.value.problems
    assert (problem.code, str(problem.origin)) == ("unknown_reference", place)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("{{ wrong.value }}", "unknown_reference a.model: unknown reference `wrong.value`"),
        ("{{ b.valu }}", "unknown_port a.model: `b` has no port `valu`; it has v, value"),
    ],
)
def test_what_a_model_reads_is_looked_up(model, told):
    ask = {"kind": "call", "prompt": "x", "model": model}
    found = problems(nodes({"o": "a.text"}, a=ask, b={"kind": "fake", "in": {"v": "inputs.text"}}))
    assert told in [str(problem).partition(" (hint")[0] for problem in found]


@pytest.mark.parametrize(
    ("region", "read"),
    [
        ({"kind": "mop"}, "item"),
        ({"kind": "mop", "as": "one"}, "one"),
        ({"kind": "mop", "as": "one"}, "item"),
        ({"kind": "cache", "each": "inputs.xs"}, "item"),
        ({"kind": "cache", "each": "inputs.xs", "as": "one"}, "one"),
    ],
)
def test_names_that_only_another_fault_hides_are_not_unknown_too(region, read):
    inner = {"kind": "fake", "in": {"v": read}}
    found = problems(
        nodes({"o": "b.value"}, m={"around": ["a"], "of": "a.value", **region}, a=inner, b=inner | {"in": {}})
    )
    assert len(found) == 1
    assert found[0].code != "unknown_reference"


def test_other_names_inside_a_region_of_no_kind_are_unknown():
    inner = {"kind": "fake", "in": {"v": "other"}}
    region = {"kind": "mop", "as": "one", "around": ["a"], "of": "a.value"}
    found = problems(nodes({"o": "a.value"}, m=region, a=inner))
    assert sorted(problem.code for problem in found) == ["unknown_kind", "unknown_reference"]
