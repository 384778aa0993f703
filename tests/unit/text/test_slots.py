"""Slots: how they are written, what they read, what they give."""

# ruff: noqa: E501  rows of tables stay on one line

import pytest

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.slot import (
    UNREADABLE,
    Expression,
    ImageOf,
    Late,
    ListOf,
    Literal,
    MapOf,
    MessageTemplate,
    Path,
    PromptTemplate,
    Template,
)
from flowllm.text.slots import (
    compile_evaluable,
    constant,
    is_constant,
    own_names,
    parse_slot,
    problems,
    references,
)


def parse(raw):
    found = []
    slot = parse_slot(raw, lambda at: Origin(at or "-", 3, 7), "ask.in.v", found.append)
    return slot, found


@pytest.mark.parametrize(
    ("raw", "slot"),
    [
        ("chunks.parts", Path("chunks", ("parts",))),
        ("inputs.docs[].text", Path("inputs", ("docs", None, "text"))),
        ("{{ a.b | lower }}", Expression("a.b | lower")),
        ("  {{a}}\n", Expression("a")),
        ("{{- a -}}", Expression("a")),
        ("{{ -a }}", Expression("-a")),
        ("{{-a}}", Expression("-a")),
        ("{{ {'a': {'b': 1}} }}", Expression("{'a': {'b': 1}}")),
        ("{{ '}}' ~ a }}", Expression("'}}' ~ a")),
        ('{{ "\\"}}" }}', Expression('"\\"}}"')),
        ({"const": "hello world"}, Literal("hello world")),
        ({"const": {"a": [None, "b.c"]}}, Literal({"a": [None, "b.c"]})),
        ({"const": None}, Literal(None)),
        (3, Literal(3)),
        (1.5, Literal(1.5)),
        (True, Literal(True)),
        (None, Literal(None)),
        (["a.b", 1], ListOf((Path("a", ("b",)), Literal(1)))),
        ({"t": "a", "n": {"m": {"const": "x"}}}, MapOf({"t": Path("a"), "n": MapOf({"m": Literal("x")})})),
        ({}, MapOf({})),
    ],
)
def test_a_slot_is_what_it_looks_like(raw, slot):
    assert parse(raw) == (slot, [])


@pytest.mark.parametrize(
    ("raw", "code", "message", "hint"),
    [
        ("hello world", "not_a_path", "`hello world` is not a path; a literal is written {const: hello world}", "{const: hello world}"),
        ("value > 3", "not_a_path", '`value > 3` is not a path; an expression is written "{{ value > 3 }}"', '"{{ value > 3 }}"'),
        ("a | sort", "not_a_path", '`a | sort` is not a path; an expression is written "{{ a | sort }}"', '"{{ a | sort }}"'),
        ("3 > 2", "not_a_path", '`3 > 2` is not a path; a literal is written {const: "3 > 2"}', '{const: "3 > 2"}'),
        ("this is fine", "not_a_path", "`this is fine` is not a path; a literal is written {const: this is fine}", "{const: this is fine}"),
        ("", "not_a_path", '`` is not a path; a literal is written {const: ""}', '{const: ""}'),
        ("a: b", "not_a_path", '`a: b` is not a path; a literal is written {const: "a: b"}', '{const: "a: b"}'),
        ('say "x"', "not_a_path", '`say "x"` is not a path; a literal is written {const: "say \\"x\\""}', '{const: "say \\"x\\""}'),
        ("Dear {{ inputs.name }}!", "text_around_expression", "`Dear {{ inputs.name }}!` has text around its expression; a slot holds one value", "write \"{{ 'Dear ' ~ inputs.name ~ '!' }}\""),
        ("yes {{ a > 3 }}", "text_around_expression", "`yes {{ a > 3 }}` has text around its expression; a slot holds one value", "write \"{{ 'yes ' ~ (a > 3) }}\""),
        ("{{ a }}{{ b }}", "text_around_expression", "`{{ a }}{{ b }}` has text around its expression; a slot holds one value", 'write "{{ a ~ b }}"'),
        ("{% if a %}b{% endif %}", "text_around_expression", "`{% if a %}b{% endif %}` has text around its expression; a slot holds one value", "a text with values in it is a node of its own: {kind: prompt, text: ...}"),
        ("{{ a", "text_around_expression", "`{{ a` has text around its expression; a slot holds one value", "close the expression with }}"),
        ({True: 1}, "bad_key", "key true is not a string; quote it", '"true": ...'),
        ({1: 1}, "bad_key", "key 1 is not a string; quote it", '"1": ...'),
        ({"const": 1, "b": 2}, "bad_key", "`const` stands alone in its mapping", "write {const: ...} without other keys"),
        ("{{ a. }}", "bad_template", "the template does not parse: expected name or number", ""),
        ("{{ a b }}", "bad_template", "the template does not parse: unexpected 'b' after the expression", ""),
        ("{{ docs[].text }}", "bad_template", "one index or key stands in brackets", "`[]` belongs into a path without braces; in a template write | map(attribute='name')"),
        ("{{ a | uper }}", "bad_template", "there is no filter `uper`", "did you mean `upper`?"),
    ],
)  # fmt: skip
def test_a_wrong_slot_is_said_and_stands_for_anything(raw, code, message, hint):
    slot, found = parse(raw)
    assert [(p.code, p.where, p.origin.line, p.hint) for p in found] == [(code, "ask.in.v", 3, hint)]
    assert found[0].message == message
    assert slot in (Literal(UNREADABLE), MapOf({}))


def test_parts_have_their_own_places_and_all_problems_are_reported():
    slot, found = parse({"x": ["a.b", "no path"], "y": {"z": "{{ a | nope }}", "w": 1}})
    assert [(p.where, p.code, p.origin.file) for p in found] == [
        ("ask.in.v.x.1", "not_a_path", "x.1"),
        ("ask.in.v.y.z", "bad_template", "y.z"),
    ]
    assert slot.items["x"].items[0].origin == Origin("x.0", 3, 7)
    assert slot.items["y"].items["w"] == Literal(1)


def test_an_expression_stands_where_its_first_character_does():
    slot, _ = parse("{{ a.b | lower }}")
    assert slot.origin == Origin("-", 3, 10)
    assert references(slot)[0].origin == Origin("-", 3, 10)


NAMES = {
    "inputs": {"name": "Ann", "docs": [{"text": "x"}, {"text": "y"}]},
    "a": {"b": 2, "items": [1, 2], "get": "got", "keys": "k", "values": "v", "update": "u"},
}


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        ("inputs.docs[].text", ["x", "y"]),
        ("{{ a.b }}", 2),
        ("{{ a.b * 2.5 }}", 5.0),
        ("{{ a.b == 2 }}", True),
        ("{{ inputs.docs }}", NAMES["inputs"]["docs"]),
        ("{{ 'lit' }}", "lit"),
        ("{{ 1 }}", 1),
        ("{{ none }}", None),
        ("{{ 'x' if a.b == 3 }}", None),
        ("{{ 'x' if a.b == 2 else 'y' }}", "x"),
        ("{{ [a.b, 'x', {'k': a.b}] }}", [2, "x", {"k": 2}]),
        ("{{ a.items }}", [1, 2]),
        ("{{ a.get ~ a.keys ~ a.values ~ a.update }}", "gotkvu"),
        ("{{ inputs.docs[-1].text }}", "y"),
        ("{{ 'Dear ' ~ inputs.name }}", "Dear Ann"),
        ({"t": "a.b", "n": 3, "ok": True, "l": ["a.get", "{{ 'lit' }}"]}, {"t": 2, "n": 3, "ok": True, "l": ["got", "lit"]}),
        ({"const": {"a": "b.c"}}, {"a": "b.c"}),
    ],
)  # fmt: skip
def test_a_slot_gives_a_value_not_text(raw, value):
    slot, found = parse(raw)
    assert found == []
    got = compile_evaluable(slot)(NAMES)
    assert (got, type(got)) == (value, type(value))


@pytest.mark.parametrize(
    "raw", ["{{ a.nope }}", "{{ [a.nope] }}", "{{ {'k': nope} }}", "{{ a.b.c.d | lower }}", "{{ nope or 1 }}"]
)  # fmt: skip
def test_a_missing_value_in_an_expression_fails_at_its_place(raw):
    slot, _ = parse(raw)
    with pytest.raises(NodeFailure) as caught:
        compile_evaluable(slot)(NAMES)
    assert caught.value.code == "template_failed"
    assert str(caught.value.origin) == "-:3:10"


def test_a_late_slot_reads_its_own_names_first():
    late = Late({"long": Expression("value | wordcount <= a.b"), "same": Path("value")}, ("value",))
    rules = compile_evaluable(late)({"a": {"b": 2}, "value": "outer"})
    assert rules({"value": "one two"}) == {"long": True, "same": "one two"}
    assert rules({"value": "one two three"})["long"] is False
    assert [str(r.path) for r in references(late)] == ["a.b"]


@pytest.mark.parametrize(
    ("slot", "value"),
    [
        (Literal(1), 1),
        (ListOf((Literal(None), Literal("a"))), [None, "a"]),
        (MapOf({"a": ListOf((Literal(1),)), "b": MapOf({})}), {"a": [1], "b": {}}),
    ],
)
def test_literals_fold(slot, value):
    assert is_constant(slot)
    assert constant(slot) == value == compile_evaluable(slot)({})


@pytest.mark.parametrize("slot", [Path("a"), Expression("1"), ListOf((Literal(1), Path("a"))), MapOf({"a": Path("b")})])
def test_what_is_evaluated_does_not_fold(slot):
    assert not is_constant(slot)
    with pytest.raises(TypeError):
        constant(slot)


def message(role, *parts):
    return MessageTemplate(role, tuple(Template(p) if isinstance(p, str) else ImageOf(p) for p in parts))


PNG = {"media_type": "image/png", "data": "aGk="}


@pytest.mark.parametrize(
    ("messages", "made"),
    [
        ([message("user", "hi {{ a }}")], [{"role": "user", "content": "hi x"}]),
        ([message("system", "s"), message("user", "u")], [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]),
        ([message("user", " {{ none_ }}\n\n"), message("user", "u")], [{"role": "user", "content": "u"}]),
        ([message("assistant", "{% if none_ %}x{% endif %}"), message("user", "u")], [{"role": "user", "content": "u"}]),
        ([message("user", "one ", "two")], [{"role": "user", "content": "one two"}]),
        ([message("user", "{{ none_ }}", " ")], []),
        ([message("user", "see", Path("url"))], [{"role": "user", "content": [{"text": "see"}, {"image": {"url": "https://e.example/i.png"}}]}]),
        ([message("user", "{{ none_ }}", Path("data"))], [{"role": "user", "content": [{"image": PNG}]}]),
        ([message("user", Path("mapping"), "what?")], [{"role": "user", "content": [{"image": PNG}, {"text": "what?"}]}]),
        ([message("user", "see", Path("none_"))], [{"role": "user", "content": "see"}]),
    ],
)  # fmt: skip
def test_a_prompt_gives_messages(messages, made):
    names = {
        "a": "x",
        "none_": None,
        "url": "https://e.example/i.png",
        "data": "data:image/png;base64,aGk=",
        "mapping": PNG,
    }
    assert compile_evaluable(PromptTemplate(tuple(messages)))(names) == made


@pytest.mark.parametrize(
    "value",
    ["http://e.example/i.png", "file:///etc/passwd", "data:text/html;base64,aGk=", "data:image/png;base64,<x>", "x", 3,
     {"media_type": "image/png"}, {"media_type": "image/png", "data": "%%"}, {**PNG, "url": "x"}, ["https://x"]],
)  # fmt: skip
def test_what_is_no_image_is_refused(value):
    with pytest.raises(NodeFailure, match="image") as caught:
        compile_evaluable(PromptTemplate((message("user", Path("v", (), Origin("f", 2, 3))),)))({"v": value})
    assert str(caught.value.origin) == "f:2:3"


@pytest.mark.parametrize(
    ("evaluable", "read"),
    [
        (Path("a", ("b",)), ["a.b"]),
        (Literal("a.b"), []),
        (ListOf((Path("a"), MapOf({"k": Expression("b.c + d[0].e")}))), ["a", "b.c", "d[0].e"]),
        (PromptTemplate((message("user", "{{ a.b }}", Path("i", ("url",))), message("user", "{% if c %}{{ a.b }}{% endif %}"))), ["a.b", "i.url", "c"]),
    ],
)  # fmt: skip
def test_references_of_every_kind(evaluable, read):
    assert [str(r.path) for r in references(evaluable)] == read


def test_problems_say_which_part():
    wrong = MapOf({"x": ListOf((Literal(1), Expression("a | nope", Origin("f", 4, 9))))})
    assert [(p.where, str(p.origin)) for p in problems(wrong, "n.in")] == [("n.in.x.1", "f:4:13")]
    assert own_names(wrong) == ()


def test_a_place_that_is_not_known_stays_so():
    note = Origin(note="command line: nodes.a.prompt=x")
    slot = parse_slot("{{ a | nope }}", lambda _: note, "a.in", [].append)
    assert slot.origin == note
    assert references(Template("x {{ a }}", note))[0].origin == note
    assert references(Template("x {{ a }}"))[0].origin == UNKNOWN
