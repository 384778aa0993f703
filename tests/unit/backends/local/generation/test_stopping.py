import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.local.generation.stopping import Stopper

LETTERS = st.text("ab\n", max_size=12)


@pytest.mark.parametrize(
    ("stops", "fed", "shown", "found"),
    [
        ([], ["any", "thing"], ["any", "thing", ""], None),
        ([""], ["any"], ["any", ""], None),
        (["STOP"], ["go ST", "OP on"], ["go ", "", ""], "STOP"),
        (["STOP"], ["go ST", "ILL"], ["go ", "STILL", ""], None),
        (["STOP"], ["go ST"], ["go ", "ST"], None),
        (["STOP"], ["STOP"], ["", ""], "STOP"),
        (["\n\n"], ["a\n", "b\n", "\nc"], ["a", "\nb", "", ""], "\n\n"),
        (["aab"], ["aa", "ab"], ["", "a", ""], "aab"),
        (["b", "ab"], ["xab"], ["x", ""], "ab"),
        (["a", "ab"], ["xab"], ["x", ""], "ab"),
        (["end", "STOP"], ["x STOP end"], ["x ", ""], "STOP"),
        (["END"], ["one END two", " three"], ["one ", "", ""], "END"),
    ],
)
def test_what_is_shown(stops, fed, shown, found):
    stopper = Stopper(stops)
    assert [*(stopper.feed(text) for text in fed), stopper.finish()] == shown
    assert stopper.found == found


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS.filter(bool), max_size=3))
def test_pieces_show_what_the_whole_shows(fed, stops):
    stopper = Stopper(stops)
    shown = "".join([*map(stopper.feed, fed), stopper.finish()])
    whole = "".join(fed)
    if stopper.found is None:
        assert shown == whole
        assert not any(stop in whole for stop in stops)
    else:
        assert whole.startswith(shown + stopper.found)
        assert not any(stop in shown for stop in stops)


@given(st.lists(LETTERS, max_size=8), LETTERS.filter(bool))
def test_no_more_is_held_than_may_become_a_stop_string(fed, stop):
    stopper, shown = Stopper([stop]), ""
    for text in fed:
        shown += stopper.feed(text)
        assert len(stopper._held) < len(stop)
        assert stop.startswith(stopper._held)
