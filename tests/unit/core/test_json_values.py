import pytest

from flowllm.core.json_values import find_fault

HALF = "\ud800"
CIRCLE: list[object] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "path", "why"),
    [
        (HALF, "", "holds half of a character"),
        ({"a": [{"b": f"x{HALF}"}]}, "a[0].b", "holds half of a character"),
        ([[float("nan")]], "[0][0]", "is no number that JSON knows"),
        ({HALF: 1}, "", "has a key that holds half"),
        (float("-inf"), "", "is no number"),
    ],
)
def test_what_json_cannot_hold_is_found_with_its_path(value, path, why):
    found, said = find_fault(value)
    assert found == path
    assert said.startswith(why)


@pytest.mark.parametrize("value", ["é😀", {"a": [1, 2.5, None, True, ("x",)]}, CIRCLE, {1: {2: 3}}, 10**400])
def test_what_json_can_hold_is_left_alone(value):
    assert find_fault(value) == ("", "")
