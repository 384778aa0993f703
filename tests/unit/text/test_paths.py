"""Paths: what is one, what it reads, and what is said when it cannot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import Origin
from flowllm.core.slot import EVERY, Path
from flowllm.text.paths import follow, getter, look, parse_path

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,6}", fullmatch=True)
STEPS = st.one_of(NAMES, st.integers(0, 999), st.just(EVERY))


@pytest.mark.parametrize(
    ("text", "root", "steps"),
    [
        ("question", "question", ()),
        ("chunks.parts", "chunks", ("parts",)),
        ("inputs.docs[0].id", "inputs", ("docs", 0, "id")),
        ("inputs.docs[].text", "inputs", ("docs", EVERY, "text")),
        ("a[][10]", "a", (EVERY, 10)),
        ("größe.maß", "größe", ("maß",)),
        ("_x.items.get", "_x", ("items", "get")),
    ],
)
def test_a_path_is_a_name_and_steps(text, root, steps):
    assert parse_path(text, Origin("f", 1, 2)) == Path(root, steps)
    assert parse_path(text, Origin("f", 1, 2)).origin == Origin("f", 1, 2)


@pytest.mark.parametrize(
    "text",
    ["", " ", "hello world", "a.", ".a", "a..b", "a.0", "0a", "a['b']", "a[-1]", "a[b]", "a[0", "a ]", "a.b\n",
     " a", "a ", "a-b", "{{ a }}", "a[1_0]", "a[٣]", "a[9999999999]", "a()", "a|b"],
)  # fmt: skip
def test_anything_else_is_no_path(text):
    assert parse_path(text) is None


@given(NAMES, st.lists(STEPS, max_size=5))
def test_a_path_reads_back_as_it_is_written(root, steps):
    path = Path(root, tuple(steps))
    assert parse_path(str(path)) == path


@given(st.text(max_size=20))
def test_what_parses_is_written_the_same(text):
    path = parse_path(text)
    assert path is None or parse_path(str(path)) == path


DATA = {
    "chunks": {"parts": ["one", "two"], "items": 3, "none": None, "empty": {}},
    "inputs": {"docs": [{"id": 1, "text": "x", "tags": [{"n": "p"}, {"n": "q"}]}, {"id": 2, "text": "y", "tags": []}]},
    "word": "text",
    "zero": 0,
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("zero", 0),
        ("chunks.parts", ["one", "two"]),
        ("chunks.parts[1]", "two"),
        ("chunks.none", None),
        ("chunks.items", 3),
        ("word[1]", "e"),
        ("inputs.docs[0].id", 1),
        ("inputs.docs[].text", ["x", "y"]),
        ("inputs.docs[].tags[].n", [["p", "q"], []]),
        ("inputs.docs[]", DATA["inputs"]["docs"]),
        ("chunks.parts[][0]", ["o", "t"]),
    ],
)
def test_a_path_gives_its_value(text, value):
    assert follow(parse_path(text), DATA) == value
    assert getter(parse_path(text))(DATA) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nobody", "`nobody` is not known here; the names are `chunks`, `inputs`, `word`, `zero`"),
        ("nobody.home", "`nobody.home`: `nobody` is not known here; the names are `chunks`, `inputs`, `word`, `zero`"),
        ("chunks.part", "`chunks.part`: `chunks` has no `part`; its keys are `parts`, `items`, `none`, `empty`"),
        ("chunks.none.x", "`chunks.none.x`: `chunks.none` is null and has no `x`"),
        ("chunks.none.x.y", "`chunks.none.x.y`: `chunks.none` is null and has no `x`"),
        ("chunks.empty.x", "`chunks.empty.x`: `chunks.empty` is an empty mapping and has no `x`"),
        ("chunks.parts.x", "`chunks.parts.x`: `chunks.parts` is a list and has no `x`"),
        ("chunks.parts[2]", "`chunks.parts[2]`: `chunks.parts` has 2 items and no item [2]"),
        ("word.upper", "`word.upper`: `word` is a text and has no `upper`"),
        ("word[9]", "`word[9]`: `word` has 4 characters and no item [9]"),
        ("zero.real", "`zero.real`: `zero` is a number and has no `real`"),
        ("zero[0]", "`zero[0]`: `zero` is a number and has no item [0]"),
        ("chunks[0]", "`chunks[0]`: `chunks` has no item [0]; its keys are `parts`, `items`, `none`, `empty`"),
        ("chunks[].x", "`chunks[].x`: `chunks` is a mapping, not a list"),
        ("word[].x", "`word[].x`: `word` is a text, not a list"),
        (
            "inputs.docs[].title",
            "`inputs.docs[].title`: `inputs.docs[]` has no `title`; its keys are `id`, `text`, `tags`",
        ),
    ],
)
def test_a_missing_part_is_named(text, message):
    path = parse_path(text, Origin("f", 3, 4))
    for read in (lambda names: follow(path, names), getter(path)):
        with pytest.raises(NodeFailure) as caught:
            read(DATA)
        assert (caught.value.code, caught.value.message) == ("template_failed", message)
        assert caught.value.origin == Origin("f", 3, 4)


@pytest.mark.parametrize("value", ["text", 1, 1.5, [1], (1,), True, None, len, object(), {}.items])
@pytest.mark.parametrize("step", ["__class__", "upper", "append", "real", "__self__", "__globals__"])
def test_no_attribute_of_an_object_is_reached(value, step):
    assert look(value, step)[0] is False


def test_many_keys_are_cut_short():
    with pytest.raises(NodeFailure, match="`k9` and 5 more"):
        follow(parse_path("m.x"), {"m": {f"k{n}": n for n in range(15)}})
