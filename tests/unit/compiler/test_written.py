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
    assert "holds half of a character" in problem.message


@pytest.mark.parametrize(
    ("field", "message", "hint"),
    [
        ("seed: 1:30", "not `1:30`", "seed: 1"),
        ("seed: 1_000", "not `1_000`", "seed: 1000"),
        ("temperature: no", "not `no`", "temperature: 1.0"),
        ("stop: 012", "a list, not `012`", "stop: [text]"),
        ("reasoning: 0o7", "not `0o7`", "reasoning: none  # or minimal, low, medium, high"),
        ("tools: [{name: 1:30}]", "not `1:30`", "tools: [{name: text}]"),
    ],
)
def test_a_scalar_is_repeated_as_it_was_written(found, field, message, hint):
    (problem,) = found(f"model: acme/large\nnodes: {{a: {{kind: call, prompt: x, {field}}}}}\noutputs: {{o: a.text}}\n")
    assert problem.message.endswith(message)
    assert (problem.code, problem.hint) == ("bad_value", hint)


def test_a_variable_may_give_a_number_as_text(found):
    text = 'vars: {n: "5"}\nnodes: {a: {kind: fake, level: "${vars.n}"}}\noutputs: {o: a.value}\n'
    assert found(text) == []


@pytest.mark.parametrize(
    ("field", "codes"),
    [
        ("temperatur: 1", ["unknown_field", "unknown_port o", "unknown_port v"]),
        ("seed: x", ["bad_value", "unknown_port o", "unknown_port v"]),
        ("schem: {}", ["unknown_field"]),
        ("choices: 1", ["bad_value"]),
    ],
)
def test_a_wrong_field_hides_only_what_follows_from_it(found, field, codes):
    node = f"{{kind: call, prompt: x, {field}}}"
    text = f"model: acme/large\nnodes: {{a: {node}}}\noutputs: {{o: a.txt, v: a.value}}\n"
    problems = found(text)
    assert [f"{p.code} {p.where.partition('outputs.')[2]}".strip() for p in problems] == codes


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("  a: {kind: call, model: acme/tiny, prompt: hi, retry: {atempts: 2}}", "atempts"),
        ("  a: {kind: typed, in: {number: inputs.n, vv: inputs.n}}", "vv"),
        ("  a: {kind: route, switch: inputs.q, cases: {default: inputs.q}}", "default"),
        ("  a: {kind: fake, in: {v: inputs.q}}\npolicies: {retry: {atempts: 2}}", "atempts"),
        ("  a: {kind: fake, in: {v: inputs.q}}\npolicies: {rettry: {attempts: 2}}", "rettry"),
    ],
)
def test_a_name_that_is_not_known_is_placed_where_it_is_written(found, line, word):
    text = f"{HEAD}nodes:\n{line}\noutputs: {{o: a.value}}\n"
    origins = [(p.origin.line, p.origin.column) for p in found(text) if f"`{word}`" in p.message]
    row = next(number for number, written in enumerate(text.split("\n"), 1) if word in written)
    assert origins == [(row, text.split("\n")[row - 1].index(word) + 1)]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("outputs: {o: hello}", "{const: hello} is that text; known here: a, inputs"),
        ("outputs: {o: hello.text}", "known here: a, inputs"),
        ("outputs: {o: '{{ hello }}'}", "known here: a, inputs"),
        ("outputs: {o: input}", "did you mean `inputs`?"),
        ("outputs: {o: a.text}\nmodel: /root", "a model is written provider/model, for example openai/gpt-5.4-mini"),
        ("outputs: {o: a.text}\nmodel: large", "a model is written provider/model, for example openai/large"),
    ],
)
def test_a_hint_names_what_may_be_meant(found, line, hint):
    text = f"{HEAD}nodes: {{a: {{kind: call, prompt: hi}}}}\n{line}\n"
    assert [problem.hint for problem in found(text)] == [hint]


def test_a_rule_may_mean_the_name_that_only_rules_know(found):
    node = "v: {kind: validate, in: {value: inputs.q}, rules: {ok: '{{ values == 1 }}'}}"
    text = f"{HEAD}nodes: {{{node}}}\noutputs: {{o: v.value}}\n"
    assert [problem.hint for problem in found(text)] == ["did you mean `value`?"]


@pytest.mark.parametrize(
    ("word", "code", "hint"),
    [
        ("=5", "bad_override", "nodes.ask.temperature=0"),
        ("vars.k=1", "unknown_field", "a new one is added with +vars.k=1"),
    ],
)
def test_a_word_that_sets_nothing_says_what_would(found, word, code, hint):
    text = f"{HEAD}nodes: {{a: {{kind: fake, in: {{v: inputs.q}}}}}}\noutputs: {{o: a.value}}\n"
    assert [(problem.code, problem.hint) for problem in found(text, word)] == [(code, hint)]
