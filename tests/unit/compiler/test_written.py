"""What is said of a pipeline's file: places, hints and scalars as they were written."""

import pytest

from flowllm.compiler import compile_spec
from flowllm.config import load
from flowllm.core.errors import PipelineInvalid
from tests.unit.compiler.worlds import CATALOG, KINDS

HEAD = "inputs: {q: string, n: integer}\n"


@pytest.fixture
def found(tmp_path):
    """Loads and compiles a text with overrides; gives every error."""

    def check(text, *overrides, given=None):
        path = tmp_path / "p.yaml"
        path.write_text(text, encoding="utf-8")
        try:
            compile_spec(load(path, overrides, kinds=KINDS), kinds=KINDS, catalog=CATALOG, given=given)
        except PipelineInvalid as invalid:
            return list(invalid.problems)
        return []

    return check


@pytest.mark.parametrize(
    ("around", "code", "message"),
    [
        ("[]", "bad_around", "`r` lists no nodes"),
        ("a", "bad_value", "`around` is a list of nodes, not `a`"),
    ],
)
def test_a_region_that_lists_no_nodes(found, around, code, message):
    text = f"nodes:\n  r: {{kind: retry, around: {around}, of: {{const: 1}}}}\noutputs: {{o: r.value}}\n"
    (problem,) = found(text)
    assert (problem.code, problem.message, problem.origin.line) == (code, message, 2)


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        ((), ["missing_input q", "missing_input n"]),
        (("inputs.q=3",), ["bad_override q", "missing_input n"]),
        (("inputs.zz=3",), ["bad_override zz", "missing_input q", "missing_input n"]),
    ],
)
def test_an_input_given_by_the_wrong_word_is_not_missing_too(found, words, codes):
    text = HEAD + "nodes: {a: {kind: fake, in: {v: inputs.q}}}\noutputs: {o: a.value}\n"
    problems = found(text, *words, given=())
    assert sorted(f"{p.code} {p.where.removeprefix('inputs.')}" for p in problems) == sorted(codes)


def test_half_a_character_in_an_override_has_the_word_as_its_place(found):
    text = HEAD + "nodes: {a: {kind: fake, in: {v: inputs.q}}}\noutputs: {o: a.value}\n"
    (problem,) = found(text, "nodes.a.level=\udcff")
    assert (problem.code, str(problem.origin)) == ("bad_override", "command line: nodes.a.level=\\udcff")
