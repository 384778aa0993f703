"""Rows D3 and D5 of the fault matrix, for what ``-i`` reads: bytes that are no text, numbers that are no JSON."""

# ruff: noqa: N802  names begin with the row of the matrix

import json

import pytest

from flowllm.api import Flow
from flowllm.config import parse_inputs
from flowllm.core.errors import UsageError
from tests.faults.projects import Project

PIPELINE = """\
inputs:
  text: string
  value: {default: null}
  number: {type: number, default: 0}
nodes:
  say: {kind: prompt, text: "{{ inputs.text }}"}
outputs: {said: say.text, value: inputs.value, number: inputs.number}
"""

TEXTS = {
    "invalid UTF-8": (b"ab\xc3(", "byte 0xc3 at offset 2"),
    "invalid first byte": (b"\xff", "byte 0xff at offset 0"),
    "cut off in a character": (b"na\xc3", "byte 0xc3 at offset 2"),
    "surrogate": (b"a\xed\xa0\x80", "byte 0xed at offset 1"),
    "overlong": (b"\xc0\xaf", "byte 0xc0 at offset 0"),
    "UTF-16 with a mark": ("hi".encode("utf-16"), "UTF-16"),
    "UTF-16, other order": (b"\xfe\xff\x00h", "UTF-16"),
    "UTF-16 without a mark": ("hi".encode("utf-16-le"), "NUL at byte 1"),
    "NUL": (b"ab\0c", "NUL at byte 2"),
    "NUL after wide letters": ("é\0".encode(), "NUL at byte 2"),
}
KEPT = {
    "BOM": (b"\xef\xbb\xbfhi", "hi"),
    "BOM inside": ("a\ufeffb".encode(), "a\ufeffb"),
    "CRLF": (b"a\r\nb\rc\n", "a\r\nb\rc\n"),
    "no final newline": (b"a\nb", "a\nb"),
    "separators": ("a\u2028b\x85c\x0bd".encode(), "a\u2028b\x85c\x0bd"),
    "nothing": (b"", ""),
}
JSON = {
    "NaN": ('{"text": "x", "value": NaN}', "NaN is not a JSON number"),
    "Infinity": ('{"text": "x", "value": [Infinity]}', "Infinity is not a JSON number"),
    "-Infinity": ('{"text": "x", "number": -Infinity}', "Infinity is not a JSON number"),
    "1e400": ('{"text": "x", "value": 1e400}', "too large"),
    "5,000 digits": ('{"text": "x", "value": ' + "1" * 5000 + "}", "more than 4300 digits"),
    "half a pair": (r'{"text": "\ud800"}', "half of a surrogate pair"),
    "half a pair in a key": (r'{"text": "x", "value": {"\udc00": 1}}', "half of a surrogate pair"),
    "a key twice": ('{"text": "x", "text": "y"}', "given twice"),
    "100,000 brackets": ('{"text": "x", "value": ' + "[" * 100_000, "nest deeper"),
    "cut off": ('{"text": "x"', ""),
    "more behind": ('{"text": "x"} 1', ""),
    "a list": ("[1]", "no JSON object"),
}
NUMBERS = ["9223372036854775808", "-9223372036854775809", "-0.0", "0.1", "1e308", "5e-324", "1.0",
           "123456789012345678901234567890"]  # fmt: skip


@pytest.fixture
def project(tmp_path):
    made = Project(tmp_path)
    made.write("pyproject.toml", "")
    made.write("p.yaml", PIPELINE)
    return made


def run(project, *words, stdin=b""):
    given = [part for word in words for part in ("-i", word)]
    return project.command_here("run", "p.yaml", *given, "--json", stdin=stdin)


@pytest.mark.parametrize("source", ["file", "standard input"])
@pytest.mark.parametrize("name", TEXTS)
async def test_D3_bytes_that_are_no_text(project, name, source):
    data, words = TEXTS[name]
    project.write("t.txt", data)
    ended = run(project, "text=@t.txt" if source == "file" else "text=@-", stdin=data)
    (error,) = ended.data["errors"]
    assert (ended.status, error["code"]) == (2, "bad_value")
    assert words in error["message"]
    assert error["hint"]

    async def work():
        parse_inputs(flow.spec.inputs, [f"text=@{project.folder}/t.txt"])

    flow = Flow.load(project.folder / "p.yaml", environment=project.environment())
    outcome = await project.judged(work)
    assert outcome.code == "bad_value"


@pytest.mark.parametrize("source", ["file", "standard input"])
@pytest.mark.parametrize("name", KEPT)
def test_D3_text_is_kept_to_the_byte_but_for_the_mark(project, name, source):
    data, text = KEPT[name]
    project.write("t.txt", data)
    ended = run(project, "text=@t.txt" if source == "file" else "text=@-", stdin=data)
    assert ended.status == 0
    assert ended.data["outputs"]["said"] == text


@pytest.mark.parametrize("name", [name for name in TEXTS if "NUL" not in name and "without" not in name])
def test_D3_rows_are_read_alike(project, name):
    data, words = TEXTS[name]
    project.write("r.json", b'{"text": "' + data + b'"}' if data[:2] not in (b"\xff\xfe", b"\xfe\xff") else data)
    (error,) = run(project, "@r.json").data["errors"]
    assert error["code"] == "bad_value"
    assert words.split(" at ")[0] in error["message"]


def test_D3_in_a_process_of_its_own(project):
    project.write("t.txt", b"ab\xc3(")
    ended = project.command("run", "p.yaml", "-i", "text=@t.txt", PYTHONIOENCODING="ascii")
    assert (ended.status, ended.out) == (2, "")
    assert "error[bad_value]" in ended.err
    assert "offset 2" in ended.err


@pytest.mark.parametrize("source", ["row", "standard input"])
@pytest.mark.parametrize("name", JSON)
def test_D5_json_that_is_not_strict(project, name, source):
    text, words = JSON[name]
    project.write("r.json", text)
    ended = run(project, "@r.json" if source == "row" else "@-", stdin=text.encode())
    (error,) = ended.data["errors"]
    assert (ended.status, error["code"]) == (2, "bad_value")
    assert words in error["message"]
    assert error["hint"]
    assert len(error["message"]) < 300


@pytest.mark.parametrize(
    "word", ["number=NaN", "number=Infinity", "number=1e400", "number=@n.json", "number=true", "number="]
)
def test_D5_numbers_that_are_typed(project, word):
    project.write("n.json", "NaN")
    ended = run(project, "text=x", word)
    (error,) = ended.data["errors"]
    assert (ended.status, error["code"]) == (2, "bad_value")
    assert "`number` is number" in error["message"]


@pytest.mark.parametrize("number", NUMBERS)
def test_D5_numbers_come_out_as_they_went_in(project, number):
    project.write("r.json", f'{{"text": "x", "number": {number}, "value": [{number}]}}')

    def refuse(word):
        raise AssertionError(f"{word} is not strict JSON")

    for words in (["@r.json"], ["text=x", f"number={number}", f"value=[{number}]"]):
        ended = run(project, *words)
        assert ended.status == 0
        outputs = json.loads(ended.out, parse_constant=refuse)["outputs"]
        plain = project.command_here("run", "p.yaml", *(part for word in words for part in ("-i", word)))
        assert json.loads(plain.out, parse_constant=refuse) == outputs
        assert (repr(outputs["number"]), repr(outputs["value"])) == (
            repr(json.loads(number)),
            f"[{json.loads(number)!r}]",
        )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {"a": float("-inf")}])
async def test_D5_what_a_program_gives_never_leaves_as_bad_json(project, value):
    flow = Flow.load(project.folder / "p.yaml", environment=project.environment())
    outcome = await project.run(flow, {"text": "x", "value": value})
    if outcome.failure is None:
        from flowllm.cli.options import Manner
        from flowllm.cli.render import Screen

        shown = Screen(Manner(as_json=True), stdout := _Text(), _Text())
        shown.json(outcome.value.to_data())
        json.loads(stdout.data, parse_constant=pytest.fail)
    else:
        assert outcome.code == "bad_value"


class _Text:
    """A stream that keeps its text and is no terminal."""

    def __init__(self):
        self.data = ""

    def write(self, text):
        self.data += text

    def flush(self):
        """There is nothing to flush."""

    def isatty(self):
        return False


def test_D5_inputs_given_from_python_are_checked_alike(project):
    flow = Flow.load(project.folder / "p.yaml", environment=project.environment())
    with pytest.raises(UsageError, match="NaN"):
        parse_inputs(flow.spec.inputs, ["number=NaN"])
