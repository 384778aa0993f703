import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.config.files import LIMIT
from flowllm.config.inputs import parse_inputs
from flowllm.core.errors import PipelineInvalid, UsageError
from flowllm.core.origin import Origin
from flowllm.core.spec import InputSpec

SPEC = {
    name: InputSpec(name, schema)
    for name, schema in {
        "s": {"type": "string"},
        "i": {"type": "integer"},
        "n": {"type": "number"},
        "b": {"type": "boolean"},
        "a": {"type": "array"},
        "o": {"type": "object"},
        "u": {"type": ["string", "null"]},
        "any": {},
        "d": {"type": "string", "default": "x"},
    }.items()
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("s=hello", "hello"),
        ("s=", ""),
        ("s=012", "012"),
        ("s=a=b", "a=b"),
        ("s= x \r\n", " x \r\n"),
        ("s=null", "null"),
        ("s=${x} {{ y }}", "${x} {{ y }}"),
        ("i=3", 3),
        ("i=9223372036854775808", 2**63),
        ("i=3.0", 3.0),
        ("n=-0.0", -0.0),
        ("n=1e3", 1000.0),
        ("b=true", True),
        ("a=[1, null]", [1, None]),
        ('o={"k": [1]}', {"k": [1]}),
        ("u=null", None),
        ("u=hi", "hi"),
        ("u=12", "12"),
        ("any=hi", "hi"),
        ("any=12", "12"),
        ("any=[1]", [1]),
        ("any=[not", "[not"),
    ],
)
def test_values_by_type(text, value):
    found = parse_inputs(SPEC, [text])
    assert list(found.values()) == [value]
    assert type(next(iter(found.values()))) is type(value)


@pytest.mark.parametrize(
    ("text", "code", "message", "hint"),
    [
        ("i=012", "bad_value", "input `i` is integer, not `012`", "-i i=3"),
        ("i=1:30", "bad_value", "input `i` is integer, not `1:30`", None),
        ("i=3.5", "bad_value", "not `3.5`", None),
        ("i=true", "bad_value", "not `true`", None),
        ("i=", "bad_value", "not ``", None),
        ("n=NaN", "bad_value", "not `NaN`", None),
        ("n=Infinity", "bad_value", "not `Infinity`", None),
        ("n=1e400", "bad_value", "not `1e400`", None),
        ("i=" + "1" * 5000, "bad_value", "digits", None),
        ("b=yes", "bad_value", "boolean, not `yes`", "-i b=true"),
        ("a=x", "bad_value", "array, not `x`", '-i \'a=["a", "b"]\''),
        ("o=[1]", "bad_value", "object, not `[1]`", None),
        ('o={"a": 1, "a": 2}', "bad_value", "given twice", None),
        ('o={"a": "\\ud800"}', "bad_value", "surrogate", None),
        ("s=a\0b", "bad_value", "NUL at byte 1", None),
        ("s=a\udcffb", "bad_value", "not valid UTF-8", None),
        ("z=1", "unknown_input", "no input `z`", None),
        ("dd=1", "unknown_input", "no input `dd`", "did you mean `d`?"),
        ("s", "bad_usage", "is not `name=value`", None),
        ("s=@", "bad_usage", "names no file", None),
        ("s=@/no/such", "file_refused", "no such file", None),
        ("s=@/dev/zero", "file_refused", "no regular file", None),
        ("s=@-", "bad_usage", "no standard input", None),
    ],
)
def test_what_is_wrong(text, code, message, hint):
    with pytest.raises(UsageError) as caught:
        parse_inputs(SPEC, [text])
    assert caught.value.code == code
    assert message in caught.value.message
    assert caught.value.hint
    assert len(caught.value.message) < 300
    if hint:
        assert caught.value.hint == hint


@pytest.mark.parametrize(
    ("options", "text", "place"),
    [
        ({}, "zz=3", "command line: -i zz=3"),
        ({"typed_as": "input."}, "zz=3", "command line: input.zz=3"),
        ({"typed_as": "input."}, "i=x", "command line: input.i=x"),
        ({}, "i=x", "command line: -i i=x"),
    ],
)
def test_errors_have_the_word_as_their_place(options, text, place):
    declared = {"i": InputSpec("i", {"type": "integer"}, origin=Origin("p.yaml", 3, 1))}
    with pytest.raises(UsageError) as caught:
        parse_inputs(declared, [text], **options)
    assert str(caught.value.origin) == place


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"line\r\nline\n", "line\r\nline\n"),
        (b"\xef\xbb\xbfx", "x"),
        (b"", ""),
        ("é😀".encode(), "é😀"),
        (b"@x", "@x"),
    ],
)
def test_files_as_they_are(tmp_path, data, value):
    (tmp_path / "f").write_bytes(data)
    assert parse_inputs(SPEC, [f"s=@{tmp_path}/f"]) == {"s": value}
    assert parse_inputs(SPEC, ["s=@-"], io.BytesIO(data)) == {"s": value}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"abc\xff", "byte 0xff at offset 3"),
        ("x".encode("utf-16"), "UTF-16"),
        ("x".encode("utf-16-be"), "NUL at byte 0"),
        (b"ab\0", "NUL at byte 2"),
        ("é\0".encode(), "NUL at byte 2"),
    ],
)
def test_files_that_are_no_text(tmp_path, data, message):
    (tmp_path / "f").write_bytes(data)
    for text, stdin in ((f"s=@{tmp_path}/f", None), ("s=@-", io.BytesIO(data))):
        with pytest.raises(UsageError) as caught:
            parse_inputs(SPEC, [text], stdin)
        assert caught.value.code == "bad_value"
        assert message in caught.value.message


def test_typed_files_and_rows(tmp_path):
    (tmp_path / "a.json").write_text("[1, 2]\n")
    (tmp_path / "row.json").write_text('{"s": "x", "i": 3, "o": {"k": null}}')
    assert parse_inputs(SPEC, [f"a=@{tmp_path}/a.json"]) == {"a": [1, 2]}
    row = parse_inputs(SPEC, [f"@{tmp_path}/row.json", "i=4"])
    assert row == {"s": "x", "i": 4, "o": {"k": None}}
    assert parse_inputs(SPEC, ["@-"], io.BytesIO(b'{"s": "x"}')) == {"s": "x"}


@pytest.mark.parametrize(
    ("row", "code", "message"),
    [
        ("[1]", "bad_value", "no JSON object"),
        ('{"s": 1}', "bad_value", "input `s` is string, not `1`"),
        ('{"z": 1}', "unknown_input", "no input `z`"),
        ('{"s": "a", "s": "b"}', "bad_value", "given twice"),
        ("{s: 1}", "bad_value", "not strict JSON"),
        ('{"n": NaN}', "bad_value", "NaN"),
        ('{"n": 1e999}', "bad_value", "too large"),
    ],
)
def test_rows_that_are_wrong(row, code, message):
    with pytest.raises(UsageError) as caught:
        parse_inputs(SPEC, ["@-"], io.BytesIO(row.encode()))
    assert (caught.value.code, message in caught.value.message) == (code, True)


@pytest.mark.parametrize(("row", "message"), [("[1]", "holds no JSON object"), ("{s: 1}", "is not strict JSON")])
def test_standard_input_is_called_so(row, message):
    with pytest.raises(UsageError, match=f"^standard input {message}"):
        parse_inputs(SPEC, ["@-"], io.BytesIO(row.encode()))


@pytest.mark.parametrize("texts", [("s=@-", "@-"), ("@-", "s=@-"), ("s=@-", "a=@-"), ("@-", "@-")])
def test_standard_input_is_read_once(texts):
    with pytest.raises(UsageError, match="standard input can be read once") as caught:
        parse_inputs(SPEC, texts, io.BytesIO(b'{"s": "x"}'))
    assert caught.value.code == "bad_usage"


def test_a_file_and_standard_input_that_are_too_large(tmp_path):
    (tmp_path / "f").write_bytes(bytes(LIMIT + 1))
    for text in (f"s=@{tmp_path}/f", "s=@-"):
        with pytest.raises(UsageError, match="it is larger than 10 MiB") as caught:
            parse_inputs(SPEC, [text], io.BytesIO(bytes(LIMIT + 1)))
        assert (caught.value.code, caught.value.hint) == ("file_refused", "give it in several smaller ones")


def test_a_pipe_is_refused_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no regular file"):
        parse_inputs(SPEC, [f"s=@{tmp_path}/pipe"])


def test_two_signs_stand_for_a_text_that_begins_with_one():
    assert parse_inputs(SPEC, ["s=@@ada"]) == {"s": "@ada"}
    assert parse_inputs(SPEC, ["s=@@"]) == {"s": "@"}


@pytest.mark.parametrize("texts", [["s=a", "s=b"], ["s=a", "i=1", "s=a"], ["s=a", "s=@/no/such"]])
def test_an_input_is_given_once(texts):
    with pytest.raises(UsageError, match="the input `s` is given more than once") as caught:
        parse_inputs(SPEC, texts)
    assert str(caught.value.origin) == "command line: -i s=a"


def test_an_input_given_by_name_wins_over_the_row_beside_it(tmp_path):
    (tmp_path / "row.json").write_text('{"s": "row", "i": 1}')
    assert parse_inputs(SPEC, [f"@{tmp_path}/row.json", "s=own"]) == {"s": "own", "i": 1}


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")))
def test_a_string_input_is_what_was_typed(text):
    if not text.startswith("@"):
        assert parse_inputs(SPEC, [f"s={text}"]) == {"s": text}


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists, max_leaves=5))
def test_an_array_input_is_json(value):
    assert parse_inputs(SPEC, [f"a={json.dumps([value])}"]) == {"a": [value]}


RANGED = {
    "words": InputSpec("words", {"type": "integer", "minimum": 10}),
    "tone": InputSpec("tone", {"type": "string", "enum": ["dry", "warm"]}),
    "rows": InputSpec("rows", {"type": "array", "items": {"type": "integer"}}),
    "odd": InputSpec("odd", {"type": "integer", "minimum": "ten"}),
}


@pytest.mark.parametrize(
    ("typed_as", "text", "message", "hint"),
    [
        ("-i ", "words=abc", "input `words` is integer, not `abc`", "-i words=10"),
        ("-i ", "words=5", "input `words` is not valid: expected at least 10, not `5`", "-i words=10"),
        ("input.", "words=5", "input `words` is not valid: expected at least 10, not `5`", "input.words=10"),
        ("input.", "rows=x", "input `rows` is array, not `x`", """'input.rows=["a", "b"]'"""),
        ("-i ", "tone=loud", "input `tone` is not valid: ", "-i tone=dry"),
    ],
)
def test_a_value_is_held_against_its_schema_and_the_hint_can_be_pasted(typed_as, text, message, hint):
    with pytest.raises(UsageError) as caught:
        parse_inputs(RANGED, [text], typed_as=typed_as)
    assert caught.value.message.startswith(message)
    assert (caught.value.hint, str(caught.value.origin)) == (hint, f"command line: {typed_as}{text}")


def test_a_broken_schema_is_not_the_fault_of_a_value():
    assert parse_inputs(RANGED, ["odd=3", "words=10", "tone=dry"]) == {"odd": 3, "words": 10, "tone": "dry"}


def test_every_fault_of_inputs_is_told_at_once(tmp_path):
    (tmp_path / "row.json").write_text('{"words": 5, "nope": 1, "tone": "dry"}')
    with pytest.raises(PipelineInvalid) as caught:
        parse_inputs(RANGED, ["words=5", "foo=1", "tone", f"@{tmp_path}/row.json", "odd=3"])
    told = [(p.code, str(p.origin).removeprefix("command line: -i ").partition("=")[0]) for p in caught.value.problems]
    row = f"@{tmp_path}/row.json"[:60]
    assert told[:3] == [("bad_value", "words"), ("unknown_input", "foo"), ("bad_usage", "tone")]
    assert [code for code, _ in told[3:]] == ["bad_value", "unknown_input"]
    assert all(place.startswith(row[:20]) for _, place in told[3:])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows", '{"a": 1}', "input `rows` is array, not what `given.json` holds"),
        ("rows", "[1", "input `rows` is array, not what `given.json` holds ("),
        ("words", "5", "input `words` is not valid: expected at least 10, not what `given.json` holds"),
    ],
)
def test_a_file_that_was_read_is_not_taken_for_its_name(tmp_path, monkeypatch, name, text, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "given.json").write_text(text)
    with pytest.raises(UsageError) as caught:
        parse_inputs(RANGED, [f"{name}=@given.json"])
    assert caught.value.message.startswith(message)
