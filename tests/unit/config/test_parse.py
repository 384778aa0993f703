import pytest

from flowllm.config import parse_mapping
from flowllm.core.slot import Expression, ImageOf, Late, ListOf, Literal, MapOf, Path, PromptTemplate, Template
from flowllm.core.spec import InputSpec


@pytest.fixture
def parsed(kinds):
    return lambda mapping, **options: parse_mapping(mapping, kinds=kinds, **options)


@pytest.fixture
def node(parsed):
    return lambda **fields: parsed({"nodes": {"a": fields}}).nodes["a"]


def one(text):
    return PromptTemplate((_message("user", text),))


def _message(role, *texts):
    from flowllm.core.slot import MessageTemplate

    return MessageTemplate(role, tuple(Template(text) if isinstance(text, str) else text for text in texts))


@pytest.mark.parametrize(
    ("written", "field", "value"),
    [
        ({"kind": "call", "prompt": "hi"}, "prompt", one("hi")),
        (
            {"kind": "call", "prompt": [{"system": "s"}, {"user": "u"}]},
            "prompt",
            PromptTemplate((_message("system", "s"), _message("user", "u"))),
        ),
        (
            {"kind": "call", "prompt": [{"user": [{"text": "t"}, "v", {"image": "inputs.p"}]}]},
            "prompt",
            PromptTemplate((_message("user", "t", "v", ImageOf(Path("inputs", ("p",)))),)),
        ),
        ({"kind": "prompt", "text": "t"}, "text", Template("t")),
        ({"kind": "prompt", "text": None}, "text", Literal(None)),
        ({"kind": "route", "switch": "b.choice"}, "switch", Path("b", ("choice",))),
        ({"kind": "route", "cases": {"x": "b.c"}}, "cases", Late({"x": Path("b", ("c",))})),
        ({"kind": "validate", "rules": {"m": "{{ value }}"}}, "rules", Late({"m": Expression("value")}, ("value",))),
        (
            {"kind": "retry", "of": {"t": "b.c", "n": [1]}},
            "of",
            MapOf({"t": Path("b", ("c",)), "n": ListOf((Literal(1),))}),
        ),
        ({"kind": "map", "over": {"const": [1]}}, "over", Literal([1])),
    ],
)
def test_fields_by_what_they_hold(node, written, field, value):
    found = node(**written).fields[field]
    if isinstance(value, Late):
        assert {k: _same(v) for k, v in found.slots.items()} == {k: _same(v) for k, v in value.slots.items()}
        assert found.names == value.names
    else:
        assert found == value


def _same(slot):
    return slot.source.strip() if isinstance(slot, Expression) else slot


@pytest.mark.parametrize(
    ("written", "attribute", "value"),
    [
        ({"kind": "call", "in": {"x": "b.c"}}, "ports", {"x": Path("b", ("c",))}),
        ({"kind": "call", "temperature": 0, "odd": 1}, "params", {"temperature": 0, "odd": 1}),
        ({"kind": "call", "schema": "schemas.r"}, "params", {"schema": "schemas.r"}),
        ({"kind": "nope", "prompt": "x", "k": 1}, "params", {"prompt": "x", "k": 1}),
        ({"kind": "call", "cache": {"ttl": "7d"}, "retry": 3}, "policies", {"cache": {"ttl": "7d"}, "retry": 3}),
        ({"kind": "call", "timeout": "45s", "limit": 2}, "policies", {"timeout": "45s", "limit": 2}),
        ({"kind": "retry", "around": ["b", "c"]}, "around", ("b", "c")),
        ({"kind": "call", "after": ["b"]}, "after", ("b",)),
        ({"kind": "call", "each": "b.c"}, "each", Path("b", ("c",))),
        (
            {"kind": "call", "each": "b.c", "as": "p", "at_once": 2, "keep_going": True},
            "each_params",
            {"as": "p", "at_once": 2, "keep_going": True},
        ),
        ({"kind": "map", "as": "p", "at_once": 2}, "params", {"as": "p", "at_once": 2}),
        ({"kind": "map", "as": "p"}, "each_params", {}),
        ({"kind": "call", "model": "a/b"}, "model", "a/b"),
        ({"kind": "call", "model": "{{ rival }}"}, "model", Expression("rival")),
        ({"kind": "call", "when_failed": {"text": {"const": 1}}}, "when_failed", {"text": Literal(1)}),
        ({"kind": "call", "when_failed": None}, "when_failed", None),
    ],
)
def test_common_keys(node, written, attribute, value):
    found = getattr(node(**written), attribute)
    assert _same(found) == _same(value)


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("string", InputSpec("q", {"type": "string"})),
        ({"type": "integer", "default": 3}, InputSpec("q", {"type": "integer", "default": 3})),
        ({"type": "string", "sample": {"file": "./x"}}, InputSpec("q", {"type": "string"}, {"file": "./x"})),
        ({"sample": {"const": None}}, InputSpec("q", {}, {"const": None})),
    ],
)
def test_inputs(parsed, written, spec):
    assert parsed({"inputs": {"q": written}}).inputs["q"] == spec


def test_defaults_of_a_pipeline(parsed):
    spec = parsed({"nodes": {}}, name="x")
    assert (spec.name, spec.model, spec.embedder, spec.print) == ("x", None, "builtin/lexical", None)
    assert parsed({"embedder": None}).embedder is None
    assert parsed({"name": "y"}, name="x").name == "y"


def problem(where, start, hint=None):
    return where, start, hint


@pytest.mark.parametrize(
    ("mapping", "code", "where", "message", "hint"),
    [
        ({"nods": {}}, "unknown_field", "nods", "a pipeline has no `nods`", "did you mean `nodes`?"),
        ({"retry": {}}, "unknown_field", "retry", "a pipeline has no `retry`", "policies: {retry: ...}"),
        ({"flowllm": 2}, "bad_value", "flowllm", "language version 1, not `2`", "flowllm: 1"),
        ({"flowllm": True}, "bad_value", "flowllm", "not `true`", None),
        ({"nodes": []}, "bad_value", "nodes", "`nodes` is a mapping, not a list", None),
        ({"outputs": "x"}, "bad_value", "outputs", "`outputs` is a mapping, not `x`", None),
        ({"model": 3}, "bad_value", "model", "`model` is a text, not `3`", 'model: "3"'),
        ({"schemas": {"r": 1}}, "bad_schema", "schemas.r", "a schema is a JSON Schema, not `1`", None),
        ({"inputs": {"q": "strin"}}, "bad_schema", "inputs.q", "`strin` is not a type", "did you mean `string`?"),
        ({"inputs": {"q": {"type": "text"}}}, "bad_schema", "inputs.q.type", "`text` is not a type", None),
        ({"inputs": {"q": 3}}, "bad_schema", "inputs.q", "an input is a type or a JSON Schema", None),
        ({"inputs": {"q": {"sample": "x"}}}, "bad_value", "inputs.q.sample", "a sample is", "sample: {const: x}"),
        (
            {"inputs": {"q": {"sample": [1, "b"]}}},
            "bad_value",
            "inputs.q.sample",
            "a sample",
            'sample: {const: [1, "b"]}',
        ),
        ({"inputs": {"my-q": "string"}}, "bad_name", "inputs.my-q", "`my-q` is no name", "write `my_q`"),
        ({"inputs": {"loop": "string"}}, "bad_name", "inputs.loop", "is a word that templates use", "write `loop_1`"),
        ({"nodes": {"a": 3}}, "bad_value", "a", "a node is a mapping with `kind`, not `3`", None),
        ({"nodes": {"a": {}}}, "missing_field", "a", "`a` does not say its `kind`", "kind: call"),
        ({"nodes": {"a": {"kind": 3}}}, "bad_value", "a.kind", "`3` is not a kind", None),
        ({"nodes": {"1a": {"kind": "fake"}}}, "bad_name", "1a", "`1a` is no name", "write `n_1a`"),
        ({"nodes": {"\u0430sk": {"kind": "fake"}}}, "bad_name", "\u0430sk", "is no name", None),
        ({"nodes": {"é": {"kind": "fake"}}}, "bad_name", "é", "is no name", "write `e`"),
        ({"nodes": {"a\u200bb": {"kind": "fake"}}}, "bad_key", "nodes", "`a<U+200B>b` holds a character", None),
        ({"nodes": {"for": {"kind": "fake"}}}, "bad_name", "for", "templates use themselves", None),
        ({"outputs": {"a b": 1}}, "bad_name", "outputs.a b", "is no name", "write `a_b`"),
        ({"nodes": {"a": {"kind": "map", "as": "a-b"}}}, "bad_name", "a.as", "is no name", "write `a_b`"),
        ({"nodes": {"a": {"kind": "call", "each": 1, "as": "in"}}}, "bad_name", "a.as", "templates use", None),
        (
            {"nodes": {"r": {"kind": "route", "cases": {True: 1}}}},
            "bad_key",
            "r.cases",
            "key true is not a string; quote it",
            '"true":',
        ),
        ({"nodes": {"r": {"kind": "route", "cases": {None: 1}}}}, "bad_key", "r.cases", "key null is not", None),
        ({"nodes": {3: {"kind": "fake"}}}, "bad_key", "nodes", "key 3 is not a string; quote it", None),
        ({3: 1}, "bad_key", "", "key 3 is not", None),
        ({"nodes": {"a": {"kind": "call", "x": [{1: 2}]}}}, "bad_key", "a.x[0]", "key 1 is not", None),
        ({"vars": {"é": 1, "e\u0301": 2}}, "bad_key", "vars", "two Unicode spellings", None),
        ({"vars": {"a\u202eb": 1}}, "bad_key", "vars", "`a<U+202E>b` holds a character", None),
        ({"nodes": {"a": {"kind": "call", "in": "b.c"}}}, "bad_value", "a.in", "`in` is a mapping", None),
        ({"nodes": {"a": {"kind": "call", "in": {"v": "hi you"}}}}, "not_a_path", "a.in", "`hi you` is not", None),
        (
            {"nodes": {"a": {"kind": "call", "in": {"v": "hi {{ x }}"}}}},
            "text_around_expression",
            "a.in",
            "",
            None,
        ),
        ({"nodes": {"a": {"kind": "route", "cases": 3}}}, "bad_value", "a.cases", "`cases` is a mapping", None),
        ({"nodes": {"a": {"kind": "route", "cases": {"x": "a b"}}}}, "not_a_path", "a.cases.x", "", None),
        ({"nodes": {"a": {"kind": "retry", "around": "b"}}}, "bad_value", "a.around", "list of nodes", "around: [b]"),
        ({"nodes": {"a": {"kind": "retry", "around": [1]}}}, "bad_value", "a.around", "lists the names", None),
        ({"nodes": {"a": {"kind": "call", "model": 3}}}, "bad_value", "a.model", "`3` is not a model", None),
        ({"nodes": {"a": {"kind": "call", "prompt": 3}}}, "bad_value", "a.prompt", "`3` is not a text", None),
        ({"nodes": {"a": {"kind": "call", "prompt": ["x"]}}}, "bad_value", "a.prompt[0]", "one `role: text`", None),
        (
            {"nodes": {"a": {"kind": "call", "prompt": [{"sytem": "x"}]}}},
            "bad_value",
            "a.prompt[0]",
            "`sytem` is not a role",
            "did you mean `system`?",
        ),
        (
            {"nodes": {"a": {"kind": "call", "prompt": [{"user": [{"img": "x"}]}]}}},
            "bad_value",
            "a.prompt[0].user[0]",
            "a part of a message",
            None,
        ),
        (
            {"nodes": {"a": {"kind": "call", "prompt": [{"user": "x", "prompt_cache": "2m"}]}}},
            "bad_value",
            "a.prompt[0]",
            "prompt_cache is 5m or 1h, not `2m`",
            "prompt_cache: 5m",
        ),
        (
            {"nodes": {"a": {"kind": "call", "prompt": [{"prompt_cache": "5m"}]}}},
            "bad_value",
            "a.prompt[0]",
            "one `role: text`",
            None,
        ),
        ({"nodes": {"a": {"kind": "prompt", "text": ["x"]}}}, "bad_value", "a.text", "a list is not a text", None),
        ({"nodes": {"a": {"kind": "prompt", "file": 3}}}, "bad_value", "a.file", "`3` is not a file name", None),
        ({"nodes": {"a": {"kind": "prompt", "file": "../x"}}}, "file_refused", "a.file", "outside the project", None),
        ({"nodes": {"a": {"kind": "pipeline", "use": "x"}}}, "sub_pipeline", "a.use", "no pipeline `x`", None),
    ],
)
def test_problems(parsed, mapping, code, where, message, hint):
    found = next(p for p in parsed(mapping).problems if p.code == code)
    assert (found.code, found.where) == (code, where)
    assert message in found.message
    assert found.hint
    assert found.hint == (hint or found.hint)


def test_no_word_is_lost_when_nothing_is_wrong(parsed):
    assert (
        parsed({"inputs": {"q": "string"}, "nodes": {"a": {"kind": "call", "prompt": "{{ inputs.q }}"}}}).problems == ()
    )


@pytest.mark.parametrize("value", [None, 3, "x", [1]])
def test_what_is_no_pipeline_at_all(kinds, value):
    from flowllm.config.parse import Source, parse
    from flowllm.config.parsing import Parsing
    from flowllm.config.shapes import Shapes

    spec = parse(Source(value), Parsing(Shapes(kinds), lambda path: ("", path)), lambda *_: None)
    assert [p.code for p in spec.problems] == ["bad_yaml"]


def test_sub_pipelines_are_parsed_once_and_keep_their_problems(parsed):
    inner = {"nodes": {"n": {"kind": "fake"}}, "outputs": {"s": "n n"}}
    nodes = {name: {"kind": "pipeline", "use": "./one.yaml"} for name in "ab"}
    spec = parsed({"nodes": nodes}, pipelines={"./one.yaml": inner})
    assert list(spec.pipelines) == ["./one.yaml"]
    assert spec.problems == ()
    assert [p.where for p in spec.pipelines["./one.yaml"].problems] == ["outputs.s"]


@pytest.mark.parametrize(
    ("pipelines", "start"),
    [
        ({"x": {"nodes": {"e": {"kind": "pipeline", "use": "x"}}}}, "x: cycle e.use: the pipeline uses itself: x -> x"),
        (
            {
                "x": {"nodes": {"e": {"kind": "pipeline", "use": "y"}}},
                "y": {"nodes": {"f": {"kind": "pipeline", "use": "x"}}},
            },
            "y: cycle f.use: the pipeline uses itself: x -> y -> x",
        ),
    ],
)
def test_a_pipeline_that_uses_itself(parsed, pipelines, start):
    spec = parsed({"nodes": {"d": {"kind": "pipeline", "use": "x"}}}, pipelines=pipelines)
    assert [str(p) for p in spec.problems] == [start]


def test_ten_thousand_nodes(parsed):
    nodes = {f"n{i}": {"kind": "call", "in": {"x": f"n{i}.text"}, "prompt": "hi {{ x }}"} for i in range(10_000)}
    spec = parsed({"nodes": nodes})
    assert len(spec.nodes) == 10_000
    assert spec.problems == ()


def test_what_python_nests_too_deep(parsed):
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    assert [p.code for p in parsed({"vars": {"x": deep}}).problems] == ["bad_yaml"]
