import pytest

from flowllm.cli.excerpt import Excerpts, coloured, marked_length
from flowllm.core.errors import Problem
from flowllm.core.origin import Origin


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def carry_out(text: str, line: int, column: int, message: str = "m", **more):
        (tmp_path / "p.yaml").write_bytes(text.encode())
        return Excerpts().write(Problem("bad_value", message, origin=Origin("p.yaml", line, column), **more))

    return carry_out


def test_the_whole_form(write):
    text = "a: 1\nb:\n  over: spilt.parts\n"
    assert write(text, 3, 9, "`spilt.parts` is not known here", hint="did you mean `split.parts`?") == (
        "error[bad_value]: `spilt.parts` is not known here\n"
        "  --> p.yaml:3:9\n"
        "    3 |   over: spilt.parts\n"
        "      |         ^^^^^^^^^^^\n"
        "hint: did you mean `split.parts`?"
    )


@pytest.mark.parametrize(
    ("line", "column", "message", "length"),
    [
        ("a: hello world", 4, "`hello world` is no path", 11),
        ("a: hello world", 4, "not this", 5),
        ("a: {b: c}", 5, "x", 1),
        ("key: v", 1, "`other`", 3),
        ("a: [x, y]", 4, "`[x, y]`", 6),
        ("a:", 3, "nothing here", 1),
        ("a: ]", 4, "x", 1),
        ("o: a.txt", 4, "`a` has no port `txt`", 5),
        ("o: [a.parts[0].x, b]", 5, "`a` has no port `parts`", 12),
        ("o: a.txt + 1", 4, "`a` and `a.txt`", 5),
        ("{% if x %}", 4, "the innermost is `if`", 2),
    ],
)
def test_what_is_marked(line, column, message, length):
    assert marked_length(line, column, message) == length


def test_a_long_line_is_cut_around_the_place(write):
    shown = write("x" * 500 + " bad " + "y" * 500, 1, 502, "`bad`").splitlines()
    assert all(len(line) < 200 for line in shown)
    start = shown[3].index("^")
    assert shown[2][start : start + 3] == "bad"
    assert shown[3].count("^") == 3


@pytest.mark.parametrize(("line", "column"), [(9, 1), (0, 0)])
def test_a_line_that_is_not_there_is_left_out(write, line, column):
    assert len(write("a: 1\n", line, column).splitlines()) == 2


@pytest.mark.parametrize(
    ("problem", "place"),
    [
        (Problem("c", "m", origin=Origin(note="command line: a=1")), "command line: a=1"),
        (Problem("c", "m", where="ask.prompt"), "ask.prompt"),
        (Problem("c", "m", where="ask.prompt", source="./one.yaml"), "ask.prompt (in ./one.yaml)"),
    ],
)
def test_places_that_are_no_files(problem, place):
    assert Excerpts().write(problem).splitlines()[1] == f"  --> {place}"


def test_tabs_keep_the_columns(write):
    shown = write("\ta: bad\n", 1, 5, "`bad`").splitlines()
    assert shown[3].index("^") == shown[2].index("bad")


def test_colours_are_only_added(write):
    problem = Problem("c", "m", hint="h")
    painted = Excerpts(coloured).write(problem)
    assert "\x1b[31;1m" in painted
    assert painted.replace("\x1b[31;1m", "").replace("\x1b[32m", "").replace("\x1b[0m", "") == Excerpts().write(problem)
