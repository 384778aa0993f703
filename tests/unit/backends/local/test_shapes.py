import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.local.shapes import LENGTHS, length_of, profiles, rows_of, steps

PADDED = [
    (1, None, 16),
    (16, None, 16),
    (17, None, 32),
    (512, None, 512),
    (513, None, 1024),
    (100, 120, 120),
    (121, 120, 121),
    (600, 700, 700),
]


@pytest.mark.parametrize(("tokens", "window", "expected"), PADDED)
def test_the_padded_length_of_a_text(tokens, window, expected):
    assert length_of(tokens, LENGTHS, window) == expected


def test_without_lengths_a_text_has_its_own():
    assert length_of(77, (), 512) == 77


@pytest.mark.parametrize(("count", "expected"), [(0, 1), (1, 1), (2, 2), (3, 4), (8, 8), (9, 16)])
def test_rows_are_powers_of_two(count, expected):
    assert rows_of(count) == expected


STEPS = [(512, LENGTHS), (None, LENGTHS), (100, (16, 32, 64, 100)), (1300, (*LENGTHS, 1024, 1300)), (8, (8,))]


@pytest.mark.parametrize(("window", "expected"), STEPS)
def test_the_lengths_of_a_window(window, expected):
    assert steps(LENGTHS, window) == expected


@given(window=st.integers(1, 2000), data=st.data())
def test_texts_of_a_window_get_its_steps_and_no_others(window, data):
    tokens = data.draw(st.integers(1, window))
    found = length_of(tokens, LENGTHS, window)
    assert tokens <= found <= window
    assert found in steps(LENGTHS, window)


def test_profiles_name_every_input_at_every_length():
    assert profiles(["ids", "mask"], (16, 32), 100, 20) == {
        "trt_profile_min_shapes": "ids:1x16,mask:1x16,ids:1x20,mask:1x20",
        "trt_profile_opt_shapes": "ids:4x16,mask:4x16,ids:4x20,mask:4x20",
        "trt_profile_max_shapes": "ids:4x16,mask:4x16,ids:4x20,mask:4x20",
    }


@pytest.mark.parametrize(("budget", "rows"), [(1, 1), (16, 1), (31, 1), (32, 2), (64, 4)])
def test_the_largest_profile_holds_what_a_budget_packs(budget, rows):
    assert profiles(["x"], (16,), budget)["trt_profile_max_shapes"] == f"x:{rows}x16"
