import json
import subprocess
import sys
from unittest.mock import patch

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flowllm.config import scalars
from flowllm.config.yaml_reader import LIBRARY, load_yaml
from flowllm.core.errors import PipelineInvalid


def problems(text, **options):
    with pytest.raises(PipelineInvalid) as caught:
        load_yaml(text, "f.yaml", **options)
    return caught.value.problems


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("OFF", "OFF"),
        ("1:30", "1:30"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("+3", 3),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("9223372036854775808", 2**63),
        ("True", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("~", None),
        ("Null", None),
        ("", None),
        ("2026-11-22", "2026-11-22"),
        ("=", "="),
        ('"no"', "no"),
        ("'1'", "1"),
        ("${a.b}", "${a.b}"),
    ],
)
def test_scalars_follow_the_core_schema(written, value):
    result, marks = load_yaml(f"k: {written}\n")
    assert result == {"k": value}
    assert type(result["k"]) is type(value)
    assert marks.at("k").raw == written.strip("'\"")


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("a: {b: docs.items[0].id}", "1:18", "`{` has no `}`", 'a: {b: "docs.items[0].id"}'),
        ("a: {b: docs[].text, c: d}", "1:12", "`{` has no `}`", 'a: {b: "docs[].text", c: d}'),
        ("- [x, docs.items[0].id]", "1:17", "`[` has no `]`", '- [x, "docs.items[0].id"]'),
        ("a: {b: {{ a.b }}}", "1:9", "needs quotes", 'a: {b: "{{ a.b }}"}'),
        ("a: {b: {{ a.b }}, c: {{ d }}}", "1:9", "needs quotes", 'a: {b: "{{ a.b }}", c: "{{ d }}"}'),
        ("x: 1\na: {{ a.b }}", "2:5", "needs quotes", 'a: "{{ a.b }}"'),
        ("a: {{ a.b }} and more", "1:5", "needs quotes", 'a: "{{ a.b }} and more"'),
        ("a: {{ x['k'] }}", "1:5", "needs quotes", None),
        ("a: {b: ${x.y}}", "1:9", "`{` has no `}`", 'a: {b: "${x.y}"}'),
        ("a: [${x.y}]", "1:6", "`[` has no `]`", 'a: ["${x.y}"]'),
        ("a:\n\tb: 1\n", "2:1", "tab", "indent with blanks: b: 1"),
        ("a: b: c", "1:5", "needs quotes", 'a: "b: c"'),
        ("a: %x", "1:4", "without quotes", 'a: "%x"'),
        ("a: @x", "1:4", "without quotes", 'a: "@x"'),
        ("a: 1\nb: 2\na: 2", "3:1", "key `a` is written twice; the first is in line 1", "keep one of them"),
        ("<<: {a: 1}", "1:1", "`<<` is not part of YAML 1.2", None),
        ("a: !!python/object/apply:os.system [x]", "1:4", "tag `python/object/apply:os.system`", None),
        ("a: !x 1", "1:4", "tag `!x`", None),
        ("--- 1\n--- 2", "2:1", "more than one document", None),
        ("a: &x [1, *x]", "1:11", "inside its own anchor", None),
        ("a: *nope", "1:4", "names no anchor", 'quote it: "*nope"'),
        ("a:\n  b\0c: 1", "2:4", "NUL", None),
        ('a: "x\\0y"', "1:4", "NUL", None),
        ("a: \x07", None, "control character", None),
        ("a: 'x", "1:4", "begins here has no end", None),
        ('a: {b: "x}\nc: 1\n', "1:8", "begins here has no end", None),
        ("a: {b: c, d: note: it is, e: f}", "1:18", "needs quotes", 'a: {b: c, d: "note: it is", e: f}'),
        ("n:\n  a: {kind: prompt, text: hi\no: {}\n", "2:6", "`}` where it should end, before line 3", None),
        ("a: [x,\n  y\nb: 1\n", "1:4", "a `[` has no `]` where it should end, before line 3", None),
        ("a: [note: it: is]", "1:13", "needs quotes", 'a: [note: "it: is"]'),
        ("? [a]\n: 1", "1:3", "mapping used as a key", None),
        ("a: .nan", "1:4", "`.nan` is no number", 'as text: ".nan"'),
        ("a: 1e400", "1:4", "too large", 'as text: "1e400"'),
        ("a: " + "1" * 4301, "1:4", "digits", None),
    ],
)
def test_what_is_refused_has_a_place_and_a_hint(text, place, message, hint):
    found = problems(text)[0]
    assert message in found.message
    assert found.code in ("bad_yaml", "bad_value")
    assert found.hint
    if place:
        assert str(found.origin) == f"f.yaml:{place}"
    if hint:
        assert found.hint == hint


@pytest.mark.parametrize(
    "line", ["a: {b: docs.items[0].id}", "a: [{{ x }}, ${y.z}]", "- {{ a }} b", "k: {v: {{ a }} c}"]
)
def test_a_corrected_line_is_yaml(line):
    hint = problems(line)[0].hint
    load_yaml(hint)


def test_all_repeated_keys_are_reported_at_once():
    assert len(problems("a: 1\na: 2\nb: {c: 1, c: 2}")) == 2


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("a: " + "x" * 1024 * 1024, {}),
        ("[" * 65 + "]" * 65, {}),
        ("[" + "1," * 100_000 + "]", {}),
        ("[" + "1," * 20_000 + "]", {"limits": LIBRARY}),
        ("a: &x 1\nb: [" + "*x," * 257 + "]", {}),
        ("a: &x [" + "1," * 500 + "]\nb: [" + "*x," * 101 + "]", {}),
    ],
)
def test_limits(text, options):
    assert problems(text, **options)[0].code == "bad_yaml"


def test_within_limits():
    load_yaml("[" * 64 + "]" * 64)
    load_yaml("[" + "1," * 19_000 + "]", limits=LIBRARY)
    value, _ = load_yaml("a: &x [" + "1," * 500 + "]\nb: [" + "*x," * 90 + "]")
    assert value["b"] == [[1] * 500] * 90


_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(10)
)
HOSTILE = {
    "bomb": _BOMB,
    "deep_lists": "[" * 100_000,
    "deep_mappings": "{a: " * 100_000,
    "deep_block": "\n".join(" " * i + "- a:" for i in range(900)),
    "dashes": "- " * 100_000,
    "recursive": "&a [*a]",
    "tag": "!!python/object/apply:os.system ['exit 9']",
    "documents": "--- a\n" * 10_000,
    "long_key": "? " + "k" * 100_000 + "\n: 1",
    "quotes": '"' * 100_001,
    "anchors": "&" * 100_000,
    "colons": ":" * 100_000,
}


@pytest.mark.parametrize("loader", ["CSafeLoader", "SafeLoader"])
def test_hostile_texts_leave_the_process_alive(loader):
    code = """
import sys, json, time, yaml
from flowllm.config.yaml_reader import load_yaml
from flowllm.core.errors import PipelineInvalid
if sys.argv[1] == "SafeLoader":
    del yaml.CSafeLoader
for name, text in json.load(sys.stdin).items():
    try:
        load_yaml(text)
        print(name, "read")
    except PipelineInvalid as error:
        print(name, error.problems[0].code)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, loader],
        input=json.dumps(HOSTILE),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = dict(line.split() for line in done.stdout.splitlines())
    assert set(told) == set(HOSTILE)
    assert told.pop("long_key") in ("read", "bad_yaml")
    assert set(told.values()) == {"bad_yaml"}


@pytest.mark.parametrize(
    ("text", "way", "place", "indent"),
    [
        ("a: |\n  x\n  y\n", ["a"], "2:3", 2),
        ("a: |2 # note 9\n\n    x\n  y\n", ["a"], "2:3", 2),
        ("a:\n - b: |+2\n     x\n", ["a", 0, "b"], "3:6", 5),
        ("- - - |-\n      x\n", [0, 0, 0], "2:7", 6),
        ("a: >\n     x\n", ["a"], "2:6", 5),
        ('é: {x: "q"}', ["é", "x"], "1:9", 0),
        ("a: 'q'", ["a"], "1:5", 0),
        ("a: q", ["a"], "1:4", 0),
        ("\ufeffa: q", ["a"], "1:4", 0),
        ("a: q\r\nb: r\r\n", ["b"], "2:4", 0),
    ],
)
def test_first_characters(text, way, place, indent):
    _, marks = load_yaml(text, "f")
    assert str(marks.at(*way).text) == f"f:{place}"
    layout = marks.at(*way).text.layout
    assert (layout.indent if layout else 0) == indent


def test_an_alias_has_the_place_of_its_anchor_and_its_own_key():
    value, marks = load_yaml("a: &x {b: 1}\nc: *x\n", "f")
    assert value == {"a": {"b": 1}, "c": {"b": 1}}
    assert (str(marks.at("c").key), str(marks.at("c", "b").text)) == ("f:2:1", "f:1:11")
    assert str(marks.at("a").key) == "f:1:1"


_WORDS = st.text(st.characters(whitelist_categories=["Ll", "Lu", "Nd", "So"], max_codepoint=0x1FFFF), min_size=1)
_TREES = st.recursive(
    _WORDS | st.integers() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=25,
)


@given(_TREES, st.sampled_from([None, True, False]))
def test_every_scalar_has_its_exact_place(tree, flow):
    text = yaml.safe_dump(tree, allow_unicode=True, default_flow_style=flow, width=10_000)
    _, marks = load_yaml(text, "f")
    lines = text.split("\n")
    for name, mark in [("", marks), *marks.walk()]:
        if mark.raw is None:
            continue
        line = lines[mark.text.line - 1][mark.text.column - 1 :]
        assert line.startswith(mark.raw), name


@given(_TREES)
def test_the_parser_in_python_gives_the_same(tree):
    text = yaml.safe_dump(tree, allow_unicode=True)
    with patch.object(yaml, "CSafeLoader", yaml.SafeLoader):
        slow = load_yaml(text, "f")
    fast = load_yaml(text, "f")
    assert slow[0] == fast[0]
    assert [(n, str(m.text), str(m.key)) for n, m in slow[1].walk()] == [
        (n, str(m.text), str(m.key)) for n, m in fast[1].walk()
    ]


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    hints = ["read"]
    try:
        load_yaml(text, "f")
    except PipelineInvalid as error:
        hints = [problem.hint for problem in error.problems]
    assert all(hints)


@given(st.text(alphabet="0123456789+-.eEoxXabnNiIfF_:", max_size=12))
def test_plain_scalars_never_fail_otherwise(text):
    said = "number"
    try:
        scalars.resolve(text)
    except ValueError as error:
        said = str(error)
    assert "number" in said


def test_keys_that_are_one_to_python_are_each_no_strings():
    with pytest.raises(PipelineInvalid) as caught:
        load_yaml("1: a\ntrue: b")
    assert [(p.code, p.origin.line, p.message, p.hint) for p in caught.value.problems] == [
        ("bad_key", 1, "key 1 is not a string; quote it", '"1":'),
        ("bad_key", 2, "key true is not a string; quote it", '"true":'),
    ]


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("a: {kind: prompt, text: hi", "a: {kind: prompt, text: hi}"),
        ("a: {in: {d: docs.items[0].id}", 'a: {in: {d: "docs.items[0].id"}}'),
        ("a: {stop: [x, y}", "a: {stop: [x, y]}"),
        ('a: {stop: "[x", in: {d: {e: 1}', 'a: {stop: "[x", in: {d: {e: 1}}}'),
        ('a: {text: "hi"  # with {', 'a: {text: "hi"}'),
    ],
)
def test_an_open_bracket_has_a_line_that_parses_for_a_hint(line, hint):
    with pytest.raises(PipelineInvalid) as caught:
        load_yaml(f"nodes:\n  {line}\noutputs: {{o: a.text}}\n")
    assert [problem.hint for problem in caught.value.problems] == [hint]
    assert load_yaml(hint)[0]["a"]


@pytest.mark.parametrize("line", ["a: {kind: prompt,", "a: [x}"])
def test_where_a_bracket_should_end_is_not_guessed(line):
    with pytest.raises(PipelineInvalid) as caught:
        load_yaml(f"nodes:\n  {line}\n  b: 1\n")
    assert "end it where it should end" in caught.value.problems[0].hint
