"""Templates: what they write, where they fail, what they say they read."""

# ruff: noqa: E501  rows of tables stay on one line

import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import Layout, Origin
from flowllm.core.slot import Template
from flowllm.text import templates
from flowllm.text.limits import DEFAULT
from flowllm.text.slots import compile_evaluable, own_names, problems, references
from flowllm.text.templates import parsed, reserved_names, text_of

PLACE = Origin("p.yaml", 10, 11, layout=Layout(10))


def template(source):
    return Template(source, PLACE)


def render(source, /, **names):
    return compile_evaluable(template(source))(names)


def failure(source, /, **names):
    with pytest.raises(NodeFailure) as caught:
        render(source, **names)
    return caught.value


DATA = {
    "q": "why?",
    "n": None,
    "yes": True,
    "docs": [{"id": 1, "text": "x", "ok": True}, {"id": 2, "text": "y", "ok": False}],
    "m": {"items": ["i"], "get": "g", "keys": "k", "values": ["v"], "update": "u", "deep": {"items": 3, "pop": "p"}},
}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("", ""),
        ("no braces", "no braces"),
        ("{{ q }}", "why?"),
        ("a {{q}} b\n", "a why? b"),
        ("a\n\n", "a\n"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("[{{ n }}]", "[]"),
        ("{{ yes }} {{ m.deep.items }}", "true 3"),
        ("{{ docs[0] }}", '{"id": 1, "text": "x", "ok": true}'),
        ("{{ m.items }}{{ m.get }}{{ m.keys }}{{ m.values }}{{ m.update }}{{ m.deep.pop }}", '["i"]gk["v"]up'),
        ("{{ m['items'][0] }}{{ m['get'] }}", "ig"),
        ("{% for d in docs %}[{{ d.id }}] {{ d.text }}\n{% endfor %}", "[1] x\n[2] y\n"),
        ("{% for d in docs %}{{ loop.index0 }}{{ loop.index }}{{ loop.revindex }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
         "012truefalse2 121falsetrue2 "),
        ("{% for d in docs if d.ok %}{{ d.id }}{% else %}none{% endfor %}", "1"),
        ("{% for d in [] %}x{% else %}none{% endfor %}", "none"),
        ("{% for k in m.deep %}{{ k }}={{ m.deep[k] }};{% endfor %}", "items=3;pop=p;"),
        ("{% for a, b in [[1, 2], [3, 4]] %}{{ a }}{{ b }} {% endfor %}", "12 34 "),
        ("{% if n %}a{% elif yes %}b{% else %}c{% endif %}", "b"),
        ("{% set x = q %}{{ x }}", "why?"),
        ("{% set x %}<{{ q }}>{% endset %}{{ x }}", "<why?>"),
        ("{% set x | upper %}{{ q }}{% endset %}{{ x }}", "WHY?"),
        ("{% with x = q, y = 1 %}{{ x }}{{ y }}{% endwith %}", "why?1"),
        ("{% filter upper %}{{ q }}a{% endfilter %}", "WHY?A"),
        ("{% raw %}{{ q }}{% endraw %}", "{{ q }}"),
        ("{# gone #}{{ q }}", "why?"),
        ("a\n{% if yes %}\nb\n{% endif %}\nc", "a\n\nb\n\nc"),
        ("a\n{%- if yes %}\nb\n{%- endif %}\nc", "a\nb\nc"),
        ("{{ 'x' if n }}{{ 'y' if yes else 'z' }}", "y"),
        ("{{ q ~ 1 ~ n ~ yes }}", "why?1true"),
        ("{{ 'a' + 'b' }}{{ [1] + [2] }}{{ 1 + 2 }}{{ 7 % 4 }}{{ 2 * 3 }}{{ 7 // 2 }}{{ 1 / 2 }}{{ -1 }}", "ab[1, 2]33630.5-1"),
        ("{{ q[0] }}{{ q[:3] }}{{ docs[1:][0].id }}{{ docs[-1].id }}{{ q[::-1] }}", "wwhy22?yhw"),
        ("{{ nobody is defined }}{{ m.nope is defined }}{{ q is defined }}{{ nobody is undefined }}", "falsefalsetruetrue"),
        ("{{ nobody | default('d') }}{{ m.nope | default('e') }}{{ n | default('f') }}{{ n | default('g', true) }}", "deg"),
        ("{{ '' }}{{ 'é' | upper }}{{ '<&>' }}", "É<&>"),
        ("{{ n is none }}{{ q is string }}{{ docs is sequence }}{{ m is mapping }}{{ 3 is odd }}{{ 'w' in q }}{{ 2 is divisibleby(2) }}", "true" * 7),
        ("{{ 1 < 2 < 3 and not (1 > 2) or false }}", "true"),
    ],
)  # fmt: skip
def test_a_template_writes(source, text):
    assert problems(template(source), "a.prompt") == ()
    assert render(source, **DATA) == text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("-3 | abs", "3"),
        ("xs | first", "b"),
        ("xs | last", "c"),
        ("[] | first | default('none')", "none"),
        ("'1.5' | float", "1.5"),
        ("'x' | float", "0.0"),
        ("'x' | float(2)", "2"),
        ("'12' | int", "12"),
        ("'1.9' | int", "1"),
        ("'x' | int", "0"),
        ("'1e999' | int(5)", "5"),
        ("xs | join", "bac"),
        ("xs | join(', ')", "b, a, c"),
        ("ds | join('/', attribute='k')", "2/1"),
        ("[1, none, true] | join(' ')", "1  true"),
        ("xs | length", "3"),
        ("'abc' | length", "3"),
        ("'ab' | list", '["a", "b"]'),
        ("'AB' | lower", "ab"),
        ("none | lower", ""),
        ("ds | map(attribute='k')", "[2, 1]"),
        ("ds | map(attribute='x', default=0)", "[9, 0]"),
        ("ds | map(attribute='in.n') | list", "[5, 6]"),
        ("xs | max", "c"),
        ("ds | max(attribute='k')", '{"k": 2, "x": 9, "in": {"n": 5}}'),
        ("xs | min", "a"),
        ("[] | max | default('-')", "-"),
        ("'aXbX' | replace('X', '-')", "a-b-"),
        ("'aXbX' | replace('X', '-', 1)", "a-bX"),
        ("2.5678 | round(2)", "2.57"),
        ("2.1 | round(method='ceil')", "3.0"),
        ("2.9 | round(0, 'floor')", "2.0"),
        ("ds | selectattr('x') | map(attribute='k')", None),
        ("ds | selectattr('x', 'defined') | map(attribute='k')", "[2]"),
        ("ds | selectattr('k', 'eq', 1) | map(attribute='k')", "[1]"),
        ("ds | selectattr('k', 'in', [1, 2]) | length", "2"),
        ("xs | sort", '["a", "b", "c"]'),
        ("['b', 'A'] | sort", '["A", "b"]'),
        ("['b', 'A', 'a'] | sort(case_sensitive=true, reverse=true)", '["b", "a", "A"]'),
        ("ds | sort(attribute='k') | map(attribute='k')", "[1, 2]"),
        ("[1, 2.5] | sum", "3.5"),
        ("ds | sum(attribute='k', start=1)", "4"),
        ("'two words-here (x)' | title", "Two Words-Here (X)"),
        ("{'b': '<é>', 'a': [1, none]} | tojson", '{"b": "<é>", "a": [1, null]}'),
        ("[1] | tojson(indent=2)", "[\n  1\n]"),
        ("' x ' | trim", "x"),
        ("'xax' | trim('x')", "a"),
        ("'hello wide world' | truncate(10)", "hello..."),
        ("'hello wide world' | truncate(10, true)", "hello w..."),
        ("'hello wide' | truncate(6)", "hello wide"),
        ("'hello wide world' | truncate(9, leeway=0, end='+')", "hello+"),
        ("'ab' | upper", "AB"),
        ("'one  two\\nthree' | wordcount", "3"),
        ("'don\\'t stop-now' | wordcount", "2"),
        ("none | wordcount", "0"),
    ],
)
def test_filters(expression, text):
    names = {"xs": ["b", "a", "c"], "ds": [{"k": 2, "x": 9, "in": {"n": 5}}, {"k": 1, "in": {"n": 6}}]}
    source = f"{{{{ {expression} }}}}"
    assert problems(template(source), "a.text") == ()
    if text is None:
        assert "has no `x`" in failure(source, **names).message
    else:
        assert render(source, **names) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("s", "s"), (None, ""), (True, "true"), (False, "false"), (3, "3"), (0.1, "0.1"), (1e22, "1e+22"), (Decimal("1.10"), "1.10"),
     ([1, None, "é"], '[1, null, "é"]'), ((), "[]"), ({"a": {"b": Decimal("1.5")}}, '{"a": {"b": "1.5"}}')],
)  # fmt: skip
def test_values_are_written_alike_by_both_paths(value, text):
    assert render("{{ v }}", v=value) == text
    assert render("{{ v }}{% if false %}{% endif %}", v=value) == text


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": object()}, [b"x"]])
@pytest.mark.parametrize("source", ["\n{{ v | tojson }}", "\n{{ [v] }}"])
def test_what_json_cannot_hold_is_not_written(source, value):
    caught = failure(source, v=value)
    assert (caught.code, caught.origin.line) == ("template_failed", 11)


@pytest.mark.parametrize(
    ("source", "line", "message"),
    [
        ("a\n b {{ nobody }}", 11, "`nobody` is not known here"),
        ("a\n{{ m.nope }}", 11, "`m.nope`: `m` has no `nope`; its keys are `items`, "),
        ("a\n\n{% if m.nope %}{% endif %}", 12, "`m.nope`: `m` has no `nope`; its keys are `items`, "),
        ("{% if yes %}\n{{ n.x }}\n{% endif %}", 11, "`n.x`: `n` is null and has no `x`"),
        ("{% for d in docs %}\n\n{{ d.title }}{% endfor %}", 12, "`title` is read from a value that has no `title`; its keys are `id`"),
        ("{% for d in docs %}\n{{ docs[9].id }}{% endfor %}", 11, "`docs[9].id`: `docs` has 2 items and no item [9]"),
        ("\n{{ q.upper }}{% if yes %}{% endif %}", 11, "`q.upper`: `q` is a text and has no `upper`"),
        ("\n{{ 1 / 0 }}", 11, "division by zero"),
        ("\n{{ 'a' * 3 }}", 11, "`*` does not work between a text and a number"),
        ("\n{{ 'a%s' % q }}", 11, "`%` does not work between a text and a text"),
        ("\n{{ true * 3 }}", 11, "`*` does not work between a boolean and a number"),
        ("\n{{ q + 1 }}", 11, "`+` does not work between a text and a number"),
        ("\n{{ q | abs }}", 11, "a text is not a number"),
        ("\n{{ [1, 'a'] | sum }}", 11, "a text is not a number"),
        ("\n{% for x in 3 %}{% endfor %}", 11, "a number has no items to loop over"),
        ("\n{% for x in n %}{% endfor %}", 11, "null has no items to loop over"),
        ("\n{{ [] | first }}", 11, "`first` was given nothing to choose from"),
        ("\n{{ nobody == 1 }}", 11, "`nobody` is not known here"),
        ("\n{{ nobody is none }}", 11, "`nobody` is not known here"),
        ("\n{{ [nobody] | length }}", 11, "`nobody` is not known here"),
        ("\n{{ q | join(nobody) }}", 11, "`nobody` is not known here"),
        ("\n{{ 'a' | truncate(1) }}", 11, "a length is at least 3, a leeway at least 0"),
        ("\n{{ loop.index }}{% if yes %}{% endif %}", 11, "`loop.index`: `loop` is not known here; the names are "),
    ],
)  # fmt: skip
def test_a_template_fails_at_its_line(source, line, message):
    caught = failure(source, **DATA)
    assert (caught.code, caught.origin.file, caught.origin.line) == ("template_failed", "p.yaml", line)
    assert caught.message.startswith(message)


@pytest.mark.parametrize(
    ("source", "read"),
    [
        ("{{ a.b }} and {{ c }}", [("a.b", 10, 14), ("c", 10, 28)]),
        ("x\n  {{ a.b[0].c }}", [("a.b[0].c", 11, 16)]),
        ("a.b {{ a.b }}{% if d %}{% endif %}", [("a.b", 10, 18), ("d", 10, 30)]),
        ("x\n{% for d in best.items %}{{ d.text }}{{ loop.index }}{% endfor %}", [("best.items", 11, 23)]),
        ("{% for w in w.items %}{{ w.text }}{% endfor %}{{ w }}", [("w.items", 10, 23), ("w", 10, 60)]),
        ("{% set n = a %}{{ n.text }}", [("a", 10, 22)]),
        ("{{ x }}{% set x = 1 %}{{ x }}", [("x", 10, 14)]),
        ("{% if c %}{% set x = 1 %}{% endif %}{{ x }}", [("c", 10, 17), ("x", 10, 50)]),
        ("{% if c %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", [("c", 10, 17)]),
        ("{% for i in a %}{% set x = i %}{% endfor %}{{ x }}{{ i }}", [("a", 10, 23), ("x", 10, 57), ("i", 10, 64)]),
        ("{% for i in a if i.ok and b %}{% else %}{{ i }}{% endfor %}", [("a", 10, 23), ("b", 10, 37), ("i", 10, 54)]),
        ("{% with x = x.y %}{{ x }}{% endwith %}", [("x.y", 10, 23)]),
        ("{% set x %}{{ a }}{% endset %}{{ x }}", [("a", 10, 25)]),
        ("{{ docs[i.n].text }}", [("i.n", 10, 19), ("docs", 10, 14)]),
        ("{{ docs['a b'].c }}", [("docs.a b.c", 10, 14)]),
        ("{{ docs[-1].c }}", [("docs", 10, 14)]),
        ("{{ docs[1.5].c }}{{ dogs[true].c }}", [("docs", 10, 14), ("dogs", 10, 31)]),
        ("{{ (a.b | list)[0].c }}", [("a.b", 10, 15)]),
        ("{{ a | default(b.c) }}{{ d | join(e) is eq(f) }}",
         [("a", 10, 14), ("b.c", 10, 26), ("d", 10, 36), ("e", 10, 45), ("f", 10, 54)]),
        ("{{ {'k': a.b, c: [d]} }}", [("a.b", 10, 20), ("c", 10, 25), ("d", 10, 29)]),
        ("{{ a.items() }}{{ range(b) }}", [("a", 10, 14), ("b", 10, 35)]),
        ("{# {{ a }} #}{% raw %}{{ b }}{% endraw %}", []),
    ],
)  # fmt: skip
def test_references_with_their_places(source, read):
    found = [(str(r.path), r.origin.line, r.origin.column) for r in references(template(source))]
    assert sorted(found) == sorted(read)
    assert all(r.path.origin == r.origin for r in references(template(source)))


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("{{ a }}", []),
        ("{% for d in a %}{% endfor %}", [("d", 10, 18)]),
        ("x\n {% for k, v in a %}{% endfor %}", [("k", 11, 19), ("v", 11, 22)]),
        ("{% set x = 1 %}{% set y %}{% endset %}", [("x", 10, 18), ("y", 10, 33)]),
        ("{% with z = 1 %}{% endwith %}", [("z", 10, 19)]),
    ],
)
def test_own_names_with_their_places(source, names):
    assert [(name, place.line, place.column) for name, place in own_names(template(source))] == names


@pytest.mark.parametrize(
    ("source", "code", "line", "column", "message", "hint"),
    [
        ("a\n {% include 'x' %}", "template_include", 11, 15, "`{% include %}` reaches for another template", "put the text into"),
        ("{% import 'x' as y %}", "template_include", 10, 14, "`{% import %}` reaches", ""),
        ("{% from 'x' import y %}", "template_include", 10, 14, "`{% from ... import %}` reaches", ""),
        ("{% extends 'x' %}", "template_include", 10, 14, "`{% extends %}` reaches", ""),
        ("{% macro f() %}{% endmacro %}", "template_include", 10, 14, "`{% macro %}` reaches", ""),
        ("{% block b %}{% endblock %}", "bad_template", 10, 14, "`{% block %}` has no meaning", ""),
        ("{% call f() %}{% endcall %}", "bad_template", 10, 14, "`{% call %}` calls", ""),
        ("{% autoescape true %}{% endautoescape %}", "bad_template", 10, 14, "`{% autoescape %}` has no meaning", ""),
        ("\n{{ a | uper }}", "bad_template", 11, 18, "there is no filter `uper`", "did you mean `upper`?"),
        ("{{ a | attr('b') }}", "bad_template", 10, 18, "there is no filter `attr`", "filters are abs, "),
        ("{{ a is callable }}", "bad_template", 10, 19, "there is no test `callable`", "tests are boolean, "),
        ("{{ a | replace('b') }}", "bad_template", 10, 18, "`replace` is given other arguments", "it takes old, new, count"),
        ("{{ a | map('upper') }}", "bad_template", 10, 18, "`map` is given other arguments", "it takes attribute, default"),
        ("{{ a | join(*b) }}", "bad_template", 10, 18, "`*` before an argument", ""),
        ("{{ a | selectattr('b', 'nope') }}", "bad_template", 10, 18, "there is no test `nope`", "did you mean `none`?"),
        ("{{ 2 ** 3 }}", "bad_template", 10, 14, "`**` is not allowed", "write value * value"),
        ("{% for a in b %}{{ a ~ 'x' }}{% endfor %}", "bad_template", 10, 32, "`~` in a loop", "write {{ a }}{{ b }}"),
        ("{{ range(3) }}", "bad_template", 10, 14, "`range(...)` is a call", "loop over a list"),
        ("{{ a.items() }}", "bad_template", 10, 15, "`items(...)` is a call", "loop over the mapping"),
        ("{{ a.get('b') }}", "bad_template", 10, 15, "`get(...)` is a call", "write data.key | default"),
        ("{{ loop.cycle('a') }}", "bad_template", 10, 18, "`cycle(...)` is a call", "use loop.index0"),
        ("{% set ns = namespace(x=1) %}", "bad_template", 10, 23, "`namespace(...)` is a call", "filters are"),
        ("{% set ns.x = 1 %}", "bad_template", 10, 18, "`namespace` does not exist", ""),
        ("{% for a in b recursive %}{% endfor %}", "bad_template", 10, 25, "a loop cannot be recursive", ""),
        ("{{ self }}", "bad_template", 10, 14, "`self` does not exist", ""),
        ("a\n{% if b %}{% for x in y %}\n{{ x }}{% endfor %}\n", "bad_template", 11, 14, "the template does not parse: `{% if %}` is not closed", "close it with {% endif %}"),
        ("{% if a %}\n{% if b %}{% endif %}\n{{ c", "bad_template", 12, 14, "the template does not parse: `{{` is not closed", "close it with }}"),
        ("a\n{% if b %}", "bad_template", 11, 14, "the template does not parse: `{% if %}` is not closed", "close it with {% endif %}"),
        ("{% raw %}a", "bad_template", 10, 11, "the template does not parse: `{% raw %}` is not closed", "close it with {% endraw %}"),
        ("{# a", "bad_template", 10, 11, "the template does not parse: `{#` is not closed", "close it with #}"),
        ("{% if a", "bad_template", 10, 17, "the template does not parse: `{%` is not closed", "close it with %}"),
        ("{% if a %}{% endfor %}", "bad_template", 10, 24, "the template does not parse: `{% endfor %}` closes no `{% if %}`", "write {% endif %} first"),
        ("{% endif %}", "bad_template", 10, 14, "the template does not parse: `{% endif %}` closes nothing", "leave it out"),
        ("{% do a %}", "bad_template", 10, 14, "the template does not parse: Encountered unknown tag 'do'", "tags are"),
        ("{{ a.b", "bad_template", 10, 16, "the template does not parse: `{{` is not closed", "close it with }}"),
        ("{{ " + "(" * 300 + "1" + ")" * 300 + " }}", "bad_template", 10, 11, "the template is nested too deeply", ""),
        ("{{ 1" + " + 1" * 100 + " }}", "bad_template", 10, 176, "the template is nested too deeply", ""),
        ("{{ " + "9" * 5000 + " }}", "bad_template", 10, 11, "the template holds a number that is too long", ""),
        ("{% for a in b %}" * 13 + "{% endfor %}" * 13, "bad_template", 10, 206, "more than 12 loops", ""),
    ],
)  # fmt: skip
def test_what_may_not_be_is_said_at_its_place(source, code, line, column, message, hint):
    found = problems(template(source), "ask.prompt")
    assert [(p.code, p.where) for p in found] == [(code, "ask.prompt")]
    assert found[0].message.startswith(message)
    assert found[0].hint.startswith(hint)
    assert (found[0].origin.line, found[0].origin.column) == (line, column)
    assert failure(source, a={}, b=[]).code == "template_failed"


def test_all_problems_of_a_template_come_at_once():
    found = problems(template("{{ a | b }}\n{{ c | d }}\n{% if e is f %}{{ g() }}{% endif %}"), "x.text")
    assert [p.origin.line for p in found] == [10, 11, 12, 12]


@pytest.mark.parametrize(
    "word", ["for", "if", "else", "endif", "include", "true", "None", "loop", "range", "namespace", "not", "in", "self"]
)
def test_reserved_words(word):
    assert word in reserved_names()


@pytest.mark.parametrize("word", ["inputs", "item", "index", "value", "ask", "map", "select", "ends"])
def test_words_that_may_be_names(word):
    assert word not in reserved_names()


WORDS = [
    "{{",
    "}}",
    "{%",
    "%}",
    "{#",
    "#}",
    "-",
    " ",
    "\n",
    "for",
    "in",
    "if",
    "set",
    "end",
    "x",
    ".",
    "[",
    "]",
    "(",
    ")",
    "'",
    "|",
    "~",
    "raw",
    "1",
    ",",
    "=",
]


@given(st.one_of(st.text(max_size=30), st.lists(st.sampled_from(WORDS), max_size=16).map("".join)))
def test_any_text_is_a_template_or_has_problems(source):
    written = template(source)
    found = problems(written, "a.text")
    references(written), own_names(written)
    assert all(p.origin.line >= 10 and p.message for p in found)
    result = outcome(compile_evaluable(written), {"x": [1], "a": {}})
    assert isinstance(result, str) or result[1] >= 10
    assert not found or result[0] == "template_failed"


# -- values are data ---------------------------------------------------------------------------

HOSTILE = ["{{7*7}}", "${oc.env:HOME}", "{0.__class__}", "{% include 'x' %}", "{{ a }}", "%(a)s", "{# c #}", "{%raw%}"]


@given(st.one_of(st.text(), st.sampled_from(HOSTILE)), st.text(alphabet="{}% #$\n'\"ab", max_size=30))
def test_a_value_is_written_byte_for_byte(value, other):
    assert render("<{{ a }}|{{ b.c[0] }}>", a=value, b={"c": [other]}) == f"<{value}|{other}>"
    source = "{% for x in xs %}<{{ x }}>{% endfor %}{% set y = xs %}{{ y[0] ~ '|' ~ y | join('+') }}"
    assert render(source, xs=[value, other]) == f"<{value}><{other}>{value}|{value}+{other}"


PLAIN_NAMES = ["a", "b", "nope", "in_", "n"]
LITERALS = st.text(alphabet="ab {}\n\r\t%#'\"\\é", max_size=8).filter(
    lambda t: "{{" not in t and "{%" not in t and "{#" not in t and not t.endswith("{")
)
OUTPUTS = st.builds(
    lambda root, steps, left, right: f"{{{{{left}{root}{''.join(steps)}{right}}}}}",
    st.sampled_from(PLAIN_NAMES),
    st.lists(st.sampled_from([".k", ".items", "[0]", "[3]"]), max_size=3),
    st.sampled_from(["", " ", "\n"]),
    st.sampled_from(["", " ", "  "]),
)
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.sampled_from(["k", "items", "x"]), inner)),
    max_leaves=6,
)


def outcome(write, names):
    try:
        return write(names)
    except NodeFailure as failed:
        return failed.code, failed.origin.line


@given(
    st.lists(st.one_of(LITERALS, OUTPUTS), max_size=5),
    st.fixed_dictionaries({"a": VALUES, "b": VALUES, "in_": VALUES, "n": st.none()}),
)
def test_plain_templates_are_written_as_jinja_writes_them(parts, names):
    source = "".join(parts)
    plain = parsed(source)
    if plain.pieces is None:
        return
    assert outcome(text_of(plain, DEFAULT), names) == outcome(text_of(through_jinja(source), DEFAULT), names)


def through_jinja(source):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(templates, "plain_pieces", lambda _: None)
        return parsed.__wrapped__(source)


@pytest.mark.parametrize("source", ["{{ a.b }}", "x {{ a }} {{ b[0].c }}\n", "{ } }} % #", ""])
def test_plain_templates_are_seen_as_plain(source):
    assert parsed(source).pieces is not None


@pytest.mark.parametrize(
    "source",
    ["{{- a }}", "{{ a | upper }}", "{{ true }}", "{{ not }}", "{{ a.0 }}", "{{ a[b] }}", "{# #}", "{{ }}", "{{ a"],
)
def test_other_templates_are_not(source):
    assert parsed(source).pieces is None


def test_plain_text_paths_and_literals_never_import_jinja():
    code = (
        "import sys\n"
        "from flowllm.core.slot import *\n"
        "from flowllm.text.slots import *\n"
        "t = Template('Dear {{ a.b }},')\n"
        "p = PromptTemplate((MessageTemplate('user', (t,)),))\n"
        "for e in (t, p, Expression('a.b'), Path('a', ('b',)), Late({'x': Literal(1)})):\n"
        "    references(e), own_names(e), problems(e, 'w'), compile_evaluable(e)({'a': {'b': 'x'}})\n"
        "print(*sorted({'jinja2', 'difflib', 'numpy', 'pydantic'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_code_is_generated_at_the_first_rendering_and_once(monkeypatch):
    made = []
    generate = templates._generate
    monkeypatch.setattr(templates, "_generate", lambda what: made.append(what) or generate(what))
    source = template("{% if a %}only here{% endif %}")
    first, second = compile_evaluable(source), compile_evaluable(source)
    references(source), problems(source, "a.text"), own_names(source)
    assert made == []
    assert [first({"a": 1}), first({"a": 0}), second({"a": 1})] == ["only here", "", "only here"]
    assert len(made) == 1


def test_a_loop_knows_its_neighbours_and_its_depth():
    facts = "{{ loop.previtem | default('-') }}{{ loop.nextitem | default('-') }}{{ loop.depth }}{{ loop.depth0 }}"
    assert render("{% for x in xs %}" + facts + "{{ loop.revindex0 }} {% endfor %}", xs=["a", "b"]) == "-b101 a-100 "
