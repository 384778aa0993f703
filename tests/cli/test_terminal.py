"""What a person at a terminal sees."""

import json
import os
import pty
import subprocess

import pytest

from tests.cli.command import PATIENCE, PYTHON, environment

TEXT = "flowllm: 1\nmodel: mock/m\nnodes: {a: {kind: call, prompt: hi}}\noutputs: {o: a.text}\n"
DATA = (
    "flowllm: 1\nmodel: mock/m\nnodes: {a: {kind: call, prompt: hi, schema: {type: object}}}\noutputs: {o: a.value}\n"
)
HELD = """\
flowllm: 1
model: mock/m
nodes:
  a: {kind: call, prompt: "hi {{ sure.problem }}"}
  b: {kind: validate, in: {text: a.text}, rules: {too long: "{{ value | length < 3 }}"}}
  sure: {kind: retry, around: [a, b], of: b.value, attempts: 2}
outputs: {o: sure.value}
"""


@pytest.fixture
def terminal(tmp_path):
    """Run with stdout and stderr on one terminal; the status and what it shows."""

    def carry_out(pipeline: str, reply: object, *words: str, **more: str) -> tuple[int, str]:
        (tmp_path / "p.yaml").write_text(pipeline)
        (tmp_path / "r.yaml").write_text(json.dumps([{"reply": reply}]))
        ours, theirs = pty.openpty()
        command = [*PYTHON, "run", "p.yaml", "--mock", "r.yaml", *words]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment(TERM="xterm", **more), stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            pass  # the other side of a terminal was closed
        finally:
            os.close(ours)
        return process.wait(PATIENCE), shown.decode().replace("\r\n", "\n")

    return carry_out


def test_text_streams_and_the_summary_stands_below(terminal):
    status, shown = terminal(TEXT, "one two three")
    assert status == 0
    assert shown.startswith("one two three\n1 call, ")


def test_why_an_attempt_was_refused_stays(terminal):
    status, shown = terminal(HELD, "long")
    assert status == 5
    assert "sure: attempt 1 was not good: too long" in shown


@pytest.mark.parametrize("columns", [60, 90])
def test_tables_keep_to_the_width_of_a_terminal(terminal, columns):
    _, shown = terminal(TEXT, "x", "-m", "nodes.a.timeout=5s,6s", "--quiet", COLUMNS=str(columns))
    assert max(map(len, shown.splitlines())) <= columns
    _, shown = terminal(TEXT, "word " * 60, "-m", "nodes.a.timeout=5s,6s", "--quiet", COLUMNS=str(columns))
    assert max(map(len, shown.splitlines())) <= columns


def test_control_characters_of_an_answer_are_shown_and_not_obeyed(terminal):
    _, shown = terminal(TEXT, "a\x1b[31mb", "--quiet")
    assert shown == "a\\x1b[31mb\n"


@pytest.mark.parametrize("words", [(), ("--no-stream",), ("--stream",)])
def test_data_is_json(terminal, words):
    status, shown = terminal(DATA, {"k": [1, "v"]}, "--quiet", *words)
    assert (status, json.loads(shown)) == (0, {"k": [1, "v"]})


@pytest.mark.parametrize(("more", "drawn"), [({}, True), ({"NO_COLOR": "1"}, False), ({"CI": "true"}, False)])
def test_a_tree_is_drawn_only_where_a_person_looks(terminal, more, drawn):
    _, shown = terminal(DATA, {}, **more)
    assert ("\x1b[?25l" in shown) is drawn
    assert ("a: mock/m answered in" in shown) is not drawn
