from itertools import combinations
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.choosing import Items, Room, choose


def items(scores, sizes, terms=None, rows=None, diversity=0.0):
    rows = np.eye(len(scores), dtype=np.float32) if rows is None else np.array(rows, np.float32)
    terms = [frozenset() for _ in scores] if terms is None else [frozenset(words.split()) for words in terms]
    return Items(rows, np.array(scores, float), sizes, terms, diversity)


@pytest.mark.parametrize(
    ("scores", "sizes", "room", "taken"),
    [
        ([3, 1, 2], [1, 1, 1], Room(inf, inf, 2), [0, 2]),
        ([3, 1, 2], [1, 1, 1], Room(inf, inf, 9), [0, 2, 1]),
        ([3, 1, 2], [0, 1, 1], Room(inf, inf, 1), [2]),
        ([3, 1, 2], [9, 4, 4], Room(7, 8, 3), [2, 1]),
        ([9, 1, 2], [6, 5, 5], Room(9, 11, 3), [0, 2]),
        ([9, 5, 2], [6, 4, 9], Room(8.5, 9, 3), [2]),
        ([9, 5, 2, 1], [7, 4, 4, 3], Room(8, 8, 3), [1, 2]),
        ([9, 5, 4, 1], [7, 3, 3, 3], Room(9, 9, 3), [1, 2, 3]),
        ([10, 3, 2, 1.9, 1], [6, 2, 5, 4, 3], Room(9, 9, 5), [0, 4]),
        ([1, 2], [5, 6], Room(1, 4, 2), []),
        ([1, 2], [5, 6], Room(90, 100, 2), [1, 0]),
        ([], [], Room(1, 2, 1), []),
        ([-3, -1, 0], [1, 1, 1], Room(2, 2, 3), [0, 1]),
    ],
)
def test_what_is_taken(scores, sizes, room, taken):
    assert choose(items(scores, sizes), room) == taken


def test_likeness_counts_against_an_item():
    rows = [[1, 0], [0.9, np.sqrt(1 - 0.81)], [0, 1]]
    pick = [choose(items([10, 9, 5], [1, 1, 1], rows=rows, diversity=d), Room(inf, inf, 2)) for d in (0.0, 0.5)]
    assert pick == [[0, 1], [0, 2]]


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("a b c d e f", "a b c d x y", True),
        ("a b c d e f", "a b c x y z", True),
        ("a b c d e f", "a b w x y z", False),
        ("a b c", "a b x", True),
        ("a b c d", "a b x y", False),
        ("a", "a b c", False),
        ("a b", "a b c d e f g h", True),
    ],
)
def test_near_copies_share_half_of_their_words(one, other, alike):
    pool = items([1, 1], [1, 1], terms=[one, other], diversity=0.1)
    assert pool.near_copies(0) == ({1} if alike else set())
    assert items([1, 1], [1, 1], terms=[one, other]).near_copies(0) == set()


def test_near_copies_are_taken_once_unless_the_room_cannot_be_filled_without():
    terms = ["a b c d e f", "a b c d e x", "p q r s t u"]
    pool = items([9, 8, 1], [5, 5, 5], terms=terms, diversity=0.01)
    assert choose(pool, Room(9, 11, 3)) == [0, 2]
    assert sorted(choose(pool, Room(14, 15, 3))) == [0, 1, 2]


def test_a_search_among_all_takes_near_copies_once_too():
    terms = ["a b c d e f", "g h i j k l", "g h i j k x", "m n o p q r", "s t u v w x"]
    pool = items([9, 5, 4.5, 4, 1], [7, 3, 3, 3, 3], terms=terms, diversity=0.01)
    assert choose(pool, Room(9, 9, 3)) == [1, 3, 4]
    assert choose(items([9, 5, 4.5, 4, 1], [7, 3, 3, 3, 3], terms=terms), Room(9, 9, 3)) == [1, 2, 3]


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 12)), min_size=1, max_size=9),
    st.integers(1, 40),
    st.sampled_from([0.0, 0.15, 0.4]),
    st.integers(1, 9),
)
def test_the_room_is_never_exceeded_and_met_where_a_subset_meets_it(pairs, budget, slack, count):
    scores, sizes = zip(*pairs, strict=True)
    room = Room(budget * (1 - slack) - 1e-9, budget * (1 + slack) + 1e-9, count)
    taken = choose(items(scores, sizes), room)
    total = sum(sizes[index] for index in taken)
    sums = {sum(pick) for size in range(1, len(sizes) + 1) for pick in combinations(sizes, size)}
    assert len(set(taken)) == len(taken) <= count
    assert total <= room.most
    if count == 9 and any(room.least <= each <= room.most for each in sums):
        assert total >= room.least
