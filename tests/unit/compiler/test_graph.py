"""Order within a frame and the circles that nodes make."""

import pytest

from flowllm.compiler.graph import circles
from tests.unit.compiler.worlds import errors, nodes


@pytest.mark.parametrize(
    ("reads", "found"),
    [
        ({"a": set(), "b": {"a"}}, []),
        ({"a": {"a"}}, [["a"]]),
        ({"a": {"b"}, "b": {"a"}, "c": {"a"}}, [["a", "b"]]),
        ({"b": {"a"}, "a": {"b"}, "z": {"c"}, "c": {"b"}}, [["a", "b"]]),
        ({"b": {"c"}, "c": {"d"}, "d": {"b"}, "a": {"a", "b"}}, [["a"], ["b", "c", "d"]]),
        ({"a": {"b", "c"}, "b": {"c"}, "c": {"a"}}, [["a", "c"]]),
        ({"a": {"a", "b"}, "b": {"a"}}, [["a"]]),
    ],
)
def test_circles(reads, found):
    assert list(circles(reads)) == found


def test_what_reads_a_circle_is_no_circle():
    written = {name: {"kind": "fake", "in": {"v": f"{read}.value"}} for name, read in ["ab", "ba", "ca", "dc"]}
    assert [error.partition(":")[0] for error in errors(nodes(**written))] == ["cycle a"]


def test_a_long_circle_is_shortened():
    names = [f"n{number:02}" for number in range(20)]
    ring = {
        name: {"kind": "fake", "in": {"v": f"{after}.value"}}
        for name, after in zip(names, [*names[1:], "n00"], strict=True)
    }
    (error,) = errors(nodes(**ring))
    first = " -> ".join(names[:9])
    assert error.startswith(f"cycle n00: {first} -> ... -> n19 -> n00: each waits for the next")
