"""A marker in random text, written as a scalar in every style, must be found where it stands in the file."""

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from flowllm.config.yaml_reader import load_yaml
from flowllm.text.places import place_in, place_of

MARKER = "MARK"
PAIR = re.compile(r"\\ud83d\\ude00")
"""A character as JSON writes it in ASCII and YAML does not."""

BESIDE = ("a: [{k: ", "}]\n", ("a", 0, "k"))
LOW = ("a:\n  - k: ", "\nz: 1\n", ("a", 0, "k"))
DEEP = ("- - k:\n      ", "\n- z\n", (0, 0, "k"))
FLOW = ("a: [x, {y: 1,\n k: ", "\n}]\n", ("a", 1, "k"))

_LETTERS = st.text("abc ,'\"\\\t\né日😀{}%#:-\xa0\u2028\x85\x01", max_size=30)
_PLAIN = st.lists(st.text("abcé日😀{}%'\"\\.", min_size=1, max_size=6).filter(str.isidentifier), min_size=1, max_size=8)
_GAPS = st.lists(
    st.sampled_from([" ", "  ", "\n", "\n\n", " \n", "\n\n\n", "\n  ", "\r\n", "\r\n\r\n"]), min_size=9, max_size=9
)


def places_agree(text, way):
    """Whether the marker of the value is found where it stands in the file; each file has one."""
    assert text.count(MARKER) == 1
    value, marks = load_yaml(text, "f")
    for step in way:
        value = value[step]
    at, before = value.index(MARKER), re.split("\r\n|\r|\n", text[: text.index(MARKER)])
    origin = marks.at(*way).text
    line, column = value.count("\n", 0, at) + 1, at - value.rfind("\n", 0, at) - 1
    wanted = (len(before), len(before[-1].removeprefix("\ufeff")) + 1)
    found = [place_of(origin, line, column), place_in(origin, value, at)]
    half = at // 2
    found.append(place_in(place_in(origin, value, half), value[half:], at - half))
    assert [(place.line, place.column) for place in found] == [wanted] * 3, (text, value)


def written(lines, indent, newline="\n"):
    return newline.join(" " * indent + line if line else "" for line in lines)


def escaped(text):
    return PAIR.sub("?", json.dumps(text)[1:-1])


@pytest.mark.parametrize("frame", [BESIDE, LOW, DEEP, FLOW])
@given(_PLAIN, _PLAIN, _GAPS)
def test_plain(frame, head, tail, gaps):
    """Words with blanks and line ends between them, moved in below the first."""
    start, end, way = frame
    words = [*head, f"x{MARKER}x", *tail]
    gaps = [gap if "\n" not in gap else gap.rstrip(" ") + " " * 9 for gap in (*gaps, *gaps)]
    text = "".join(word + gap for word, gap in zip(words, gaps, strict=False)).rstrip()
    places_agree(start + text + end, way)


@pytest.mark.parametrize("frame", [BESIDE, LOW, DEEP, FLOW])
@pytest.mark.parametrize("quote", ["'", '"'])
@given(_LETTERS, _LETTERS, _GAPS)
def test_quoted_and_folded(frame, quote, head, tail, gaps):
    """Text in quotes in which every other blank is a line end."""
    start, end, way = frame
    source = f"{head}{MARKER}{tail}".replace("\x01", "").replace("\n", " ").replace("\t", " ")
    source = source.replace("'", "''") if quote == "'" else json.dumps(source, ensure_ascii=False)[1:-1]
    parts = re.split(" +", re.sub("[\x85\u2028]", "", source).strip(" "))
    folds = [gap if "\n" not in gap else gap.rstrip(" ") + " " * 9 for gap in gaps]
    text = "".join(f"{part}{folds[i % 9]}" for i, part in enumerate(parts[:-1])) + parts[-1]
    places_agree(f"{start}{quote}{text}{quote}{end}", way)


@given(_LETTERS, _LETTERS, st.sampled_from(["\\\n", "\\\n      ", "\\\n\n\n      ", " \\\n      \\ ", "\\\r\n      "]))
def test_escaped_line_ends(head, tail, fold):
    inner = escaped(head) + fold + MARKER + fold + escaped(tail)
    places_agree(f'a:\n  k: "{inner}"\n', ("a", "k"))


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("chomp", ["", "-", "+"])
@pytest.mark.parametrize("given_indent", [False, True])
@pytest.mark.parametrize("style", ["|", ">"])
@given(
    st.lists(st.text("abcé日😀 '\\\t{}#:-", max_size=9), max_size=6),
    st.lists(st.text("abcé日😀 '\\\t{}#:-", max_size=9), max_size=6),
    st.tuples(st.integers(1, 4), st.sampled_from(["", "  ", "\t"])),
)
def test_blocks(style, given_indent, chomp, newline, head, tail, moved):
    """Lines of a block, some blank and some moved in further, with every indicator."""
    indent, before = moved
    lines = [*head, f"{before}x{MARKER}{{ y }}", *tail]
    first = next(line for line in lines if line.strip(" "))
    told = given_indent or first.startswith((" ", "\t")) or any(line.startswith(" ") for line in head)
    header = f"{style}{indent if told else ''}{chomp} # note 3"
    text = f"a:{newline}  b: {header}{newline}{written(lines, 2 + indent, newline)}{newline}  c: 1{newline}"
    places_agree(text, ("a", "b"))


@given(
    _LETTERS, _LETTERS, st.sampled_from([None, "'", '"', "|", ">"]), st.integers(5, 60), st.booleans(), st.booleans()
)
def test_what_other_emitters_write(head, tail, style, width, flow, unicode):
    """PyYAML's emitters in C and in Python, which choose styles, folds and indicators of their own."""
    tree = {"q": [{"k": f"{head} {MARKER} {tail}"}, "after"]}
    for dumper in (yaml.SafeDumper, yaml.CSafeDumper):
        text = yaml.dump(
            tree, Dumper=dumper, default_style=style, width=width, default_flow_style=flow, allow_unicode=unicode
        )
        places_agree(text, ("q", 0, "k"))


@given(_LETTERS, _LETTERS, st.booleans(), st.sampled_from([None, 1]))
def test_json(head, tail, ascii_only, indent):
    text = json.dumps({"k": [f"{head}{MARKER}{tail}"]}, ensure_ascii=ascii_only, indent=indent)
    places_agree(PAIR.sub("?", text), ("k", 0))


@pytest.mark.parametrize(
    "text",
    [
        "a:\n  |2\n    x MARK\n",
        "a: |2-\n\x85     MARK :\nb: 1\n",
        "a: |\n  x\x85  y\u2028  z MARK\n\n",
        "? a\n: >1\n    x\n  y MARK\n",
        "a: >\n\n\n  x\n  y\n\n    z MARK\n  w\n",
        "a: >-\n  x\n  y\n    z\n  w MARK",
        "\ufeffa: >\r  x\r  y MARK\r",
        "b: 'x\u2028 \u2028y'\na: MARK\n",
        'a: "\\N\\L\\P\\_\\x41\\u00e9\\U0001F600\\/\\"MARK"',
        "a: &anchor 'it''s\n   MARK'\n",
    ],
)
def test_odd_spellings(text):
    places_agree(text, ("a",))
