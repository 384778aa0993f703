from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowllm.backends.local.generation.sampling import EXTRA, Drawing, Sampler, _by_share, best, drawing, picked
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Sampling

LOGITS = np.log(np.array([0.05, 0.4, 0.3, 0.2, 0.05], np.float32))
ROWS = arrays.arrays(np.float32, st.integers(1, 40), elements=st.integers(-80, 80).map(lambda quarters: quarters / 4))


def chat(sampling: Sampling | None = None, **extra) -> Chat:
    return Chat("local/tiny", (), sampling or Sampling(), extra=extra)


def plainly(logits: np.ndarray, how: Drawing) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that may be drawn, best first, and their shares, by a sort of all."""
    scores = np.exp((logits - logits.max()) / np.float32(how.temperature)).astype(np.float64)
    order = np.argsort(-logits, kind="stable")[: how.top_k or None]
    shares = scores[order]
    if how.top_p < 1:
        order = order[: max(1, np.count_nonzero(np.cumsum(shares) - shares < how.top_p * shares.sum()))]
    order = order[scores[order] >= how.min_p]
    return order, scores[order] / scores[order].sum()


class Again(Exception):
    """What came first was not taken."""


class Once:
    """Draws at one height of all, and no second time."""

    def __init__(self, height: float) -> None:
        self.heights = [height]

    def random(self) -> float:
        if not self.heights:
            raise Again
        return 1 - self.heights.pop()


def taken(logits: np.ndarray, how: Drawing) -> list[int]:
    """The tokens that are taken when they come first, of those that come at all."""
    everyone, shares = plainly(logits, Drawing(how.temperature, how.top_k, min_p=how.min_p))
    places = np.arange(len(everyone)) if how.top_k else np.argsort(everyone)
    heights, found = np.cumsum(shares[places]), []
    for place, height in zip(places, heights, strict=True):
        if shares[place] > 1e-5:
            with suppress(Again):
                found.append(picked(logits, how, Once(height - shares[place] / 2)))
                assert found[-1] == everyone[place]
    return sorted(found)


@pytest.mark.parametrize(
    ("how", "tokens"),
    [
        (Drawing(1.0), [0, 1, 2, 3, 4]),
        (Drawing(1.0, top_k=2), [1, 2]),
        (Drawing(1.0, top_k=50), [0, 1, 2, 3, 4]),
        (Drawing(1.0, top_p=0.39), [1]),
        (Drawing(1.0, top_p=0.41), [1, 2]),
        (Drawing(1.0, top_p=0.75), [1, 2, 3]),
        (Drawing(1.0, top_p=0.0), [1]),
        (Drawing(1.0, min_p=0.6), [1, 2]),
        (Drawing(1.0, min_p=1.0), [1]),
        (Drawing(1.0, top_k=3, top_p=0.5), [1, 2]),  # of the 0.9 left in, 0.4 is less than half
        (Drawing(0.1, top_p=0.9), [1]),  # a low temperature sharpens before the nucleus is taken
        (Drawing(1.0, top_p=0.92), [0, 1, 2, 3]),  # of equal ones the first are in
    ],
)
def test_what_may_be_drawn(how, tokens):
    assert taken(LOGITS, how) == tokens
    assert sorted(plainly(LOGITS, how)[0]) == tokens
    assert set(drawn(1, 300, LOGITS, how)) == set(tokens)


@settings(max_examples=150, deadline=None)
@given(ROWS, st.floats(0.2, 3), st.integers(0, 12), st.floats(0, 1), st.floats(0, 1))
def test_who_may_be_drawn_is_who_a_plain_sort_leaves_in(logits, temperature, top_k, top_p, min_p):
    how = Drawing(temperature, top_k, top_p, min_p)
    kept, shares = plainly(logits, Drawing(temperature, top_k))
    scores = shares / shares[0]
    under = np.abs(np.cumsum(shares) - top_p).min() < 1e-5 or np.abs(scores - min_p).min() < 1e-5
    assume(not under or (top_p, min_p) in ((1.0, 0.0), (0.0, 0.0)))  # two sums that round otherwise
    often = kept[shares > 1e-5]
    assert taken(logits, how) == sorted(set(plainly(logits, how)[0]) & set(often))


@pytest.mark.parametrize(
    "how",
    [
        Drawing(0.7),
        Drawing(0.7, top_p=0.9),
        Drawing(0.7, top_p=0.3),
        Drawing(0.7, top_k=7),
        Drawing(0.7, min_p=0.2),
        Drawing(1.5, 20, 0.6, 0.05),
    ],
)
@pytest.mark.parametrize("size", [30, 1400])
def test_draws_have_the_shares_that_a_plain_sort_gives(how, size):
    logits = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    logits[5:] -= 6.0 * (size > 100)
    logits[[700 % size, 1200 % size]] = 1.5, 1.0  # in other blocks
    tokens, shares = plainly(logits, how)
    counts = Counter(drawn(3, 4000, logits, how))
    assert not counts.keys() - set(tokens.tolist())
    off = sum(abs(counts[token] / 4000 - share) for token, share in zip(tokens.tolist(), shares, strict=True))
    assert off / 2 < 0.04 + 0.01 * (len(tokens) > 100) * len(tokens) ** 0.5


@given(ROWS, st.integers(1, 50))
def test_the_best_are_those_of_a_plain_sort(logits, count):
    assert best(logits, count).tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


def test_what_cannot_come_is_none_of_the_best():
    logits = np.full(3000, -np.inf, np.float32)
    logits[[3, 2999, 1000]] = 1.0, 2.0, 1.0
    assert best(logits, 40).tolist() == [2999, 3, 1000]
    assert set(drawn(1, 60, logits, Drawing(1.0, top_k=40))) == {2999, 3, 1000}
    assert set(drawn(1, 60, logits, Drawing(1.0))) == {2999, 3, 1000}


class Counted:
    """Draws, and how often."""

    def __init__(self) -> None:
        self.random_ = np.random.default_rng(5)
        self.calls = 0

    def random(self) -> float:
        self.calls += 1
        return self.random_.random()


def test_the_nucleus_of_a_flat_row_is_its_first_part_and_soon_found():
    logits, how, counted = np.zeros(5000, np.float32), Drawing(1.0, top_p=0.01), Counted()
    found = {picked(logits, how, counted) for _ in range(500)}
    assert found == set(range(50))
    assert counted.calls < 500 * 12  # a hundred for each, were all of them drawn from each time


@pytest.mark.parametrize("height", [2.0**-53, 1e-9, 0.5, 1.0])
@pytest.mark.parametrize("size", [1, 511, 512, 513, 5000])
def test_only_what_has_a_share_comes_at_any_height(height, size):
    logits = np.full(size, -np.inf, np.float32)
    logits[size // 2] = 3.0
    assert picked(logits, Drawing(1.0), Once(height)) == size // 2


def test_the_last_comes_at_the_top_also_where_sums_in_single_precision_are_higher():
    scores = np.array([1.0, 1.5 * 2.0**-24], np.float32)
    assert float(scores.sum()) > float(scores.sum(dtype=np.float64))
    assert _by_share(scores, 1.0) == 1


@pytest.mark.parametrize(
    ("how", "written", "prompt", "token"),
    [
        (Drawing(), [], [], 1),
        (Drawing(repetition_penalty=2.0), [], [], 1),
        (Drawing(repetition_penalty=2.0), [1], [], 2),
        (Drawing(repetition_penalty=2.0), [], [1, 2], 3),
        (Drawing(presence_penalty=0.5), [1], [], 2),
        (Drawing(presence_penalty=0.5), [], [1], 1),  # prompts count for repetition alone
        (Drawing(frequency_penalty=0.2), [1], [], 1),
        (Drawing(frequency_penalty=0.2), [1, 1], [], 2),
    ],
)
def test_penalties(how, written, prompt, token):
    sampler = Sampler(how, prompt, Counter(written))
    assert sampler.draw(LOGITS).token == token


def test_a_repetition_penalty_divides_above_zero_and_multiplies_below():
    sampler = Sampler(Drawing(repetition_penalty=2.0), [0, 1])
    changed = sampler._penalised(np.array([4.0, -4.0, 1.0], np.float32))
    assert changed.tolist() == [2.0, -8.0, 1.0]


def test_what_was_seen_often_is_divided_once():
    sampler = Sampler(Drawing(repetition_penalty=2.0), [0, 0, 3], Counter([3, 1]))
    flat = np.full(5, 4.0, np.float32)
    assert sampler.draw(flat).token == 2
    assert sampler.draw(flat).token == 4
    assert [sampler.draw(flat).token for _ in range(2)] == [0, 0]
    assert sampler._penalised(flat).tolist() == [2.0] * 5
    assert sorted(sampler._all_seen().tolist()) == [0, 1, 2, 3, 4]


def test_penalties_leave_the_models_numbers_alone():
    logits = LOGITS.copy()
    Sampler(Drawing(1.0, repetition_penalty=2.0), [1]).draw(logits)
    assert (logits == LOGITS).all()


def drawn(seed: int | None, count: int = 30, logits: np.ndarray = LOGITS, how: Drawing = Drawing(1.0)) -> list[int]:  # noqa: B008
    sampler = Sampler(replace(how, seed=seed))
    return [sampler.draw(logits).token for _ in range(count)]


def test_a_seed_repeats_and_another_does_not():
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(-1) == drawn(-1) != drawn(1)
    assert drawn(None) != drawn(None)


def test_draws_follow_the_shares():
    counts = Counter(drawn(1, 4000))
    assert [counts[token] / 4000 for token in range(5)] == pytest.approx([0.05, 0.4, 0.3, 0.2, 0.05], abs=0.03)


@given(ROWS)
def test_greedy_takes_the_best(logits):
    assert Sampler(Drawing()).draw(logits).token == int(logits.argmax())


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [0.0, 1e-320, 1e-46, 1e-40, 1e-7, 1e-6, 1e-3])
def test_next_to_no_temperature_takes_the_best(temperature):
    logits = np.array([1.0, 5.0, -np.inf, 3.0, 4.9, -1e30], np.float32)
    assert Sampler(Drawing(temperature, seed=1)).draw(logits).token == 1
    assert Drawing(temperature).plain is (temperature < 1e-6)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_only_what_is_allowed_is_drawn(temperature):
    allowed = np.array([True, False, False, False, True])
    sampler = Sampler(Drawing(temperature, seed=3))
    assert {sampler.draw(LOGITS, allowed).token for _ in range(20)} <= {0, 4}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_where_nothing_is_allowed_there_is_nothing_to_choose(temperature):
    with pytest.raises(ProviderFailure, match="no numbers"):
        Sampler(Drawing(temperature)).draw(LOGITS, np.zeros(5, np.bool_))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("logits", [[1.0, np.nan], [-np.inf, -np.inf], [np.inf, 0.0]])
def test_no_numbers_are_a_typed_failure(logits, temperature):
    with pytest.raises(ProviderFailure, match="no numbers") as caught:
        Sampler(Drawing(temperature)).draw(np.array(logits, np.float32))
    assert caught.value.code == "invalid_response"


def test_logprobs_are_the_models_own():
    found = Sampler(Drawing(temperature=5.0, seed=1, logprobs=2)).draw(LOGITS)
    assert found.logprob == pytest.approx(LOGITS[found.token], abs=1e-5)
    assert [token for token, _ in found.best] == [1, 2]
    assert [told for _, told in found.best] == pytest.approx(np.log([0.4, 0.3]), abs=1e-5)


def test_logprobs_know_no_penalties_and_no_grammar():
    how = Drawing(presence_penalty=50.0, frequency_penalty=1.0, repetition_penalty=3.0, logprobs=5)
    made = Sampler(how, [1])
    allowed = np.array([True, False, True, True, True])
    for token in (2, 3):
        found = made.draw(LOGITS, allowed)
        assert (found.token, found.logprob) == (token, pytest.approx(LOGITS[token], abs=1e-5))
        assert dict(found.best) == {place: pytest.approx(number, abs=1e-5) for place, number in enumerate(LOGITS)}


def test_tokens_that_cannot_come_are_no_likely_ones():
    logits = np.where([True, True, False, False, True], LOGITS, -np.inf)
    found = Sampler(Drawing(logprobs=4)).draw(logits)
    assert [token for token, _ in found.best] == [1, 0, 4]
    assert sum(np.exp(number) for _, number in found.best) == pytest.approx(1.0)


def test_without_a_wish_nothing_is_worked_out(monkeypatch):
    monkeypatch.setattr("flowllm.backends.local.generation.sampling._with_logprobs", None)
    assert Sampler(Drawing()).draw(LOGITS).logprob is None
    assert Drawing().plain
    assert not Drawing(logprobs=0).plain


@pytest.mark.parametrize(
    ("request_", "own", "how"),
    [
        (chat(), {}, Drawing()),
        (chat(), {"do_sample": True}, Drawing(1.0)),
        (chat(), {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}, Drawing(0.6, 20, 0.95)),
        (chat(), {"temperature": 0.6, "repetition_penalty": 1.1}, Drawing(repetition_penalty=1.1)),
        (chat(), {"do_sample": True, "temperature": "hot", "top_k": -5}, Drawing(1.0)),
        (chat(Sampling(temperature=0.0)), {"do_sample": True, "temperature": 0.6}, Drawing(0.0)),
        (chat(Sampling(0.3, 0.5, seed=4)), {}, Drawing(0.3, 0, 0.5, seed=4)),
        (chat(Sampling(logprobs=0)), {}, Drawing(logprobs=0)),
        (chat(top_k=3, min_p=0.1, presence_penalty=1), {}, Drawing(0.0, 3, 1.0, 0.1, 1.0, 1)),
    ],
)
def test_whose_word_counts(request_, own, how):
    assert drawing(request_, own) == how


@pytest.mark.parametrize(
    ("extra", "said", "hint"),
    [
        ({"top_kk": 3}, "knows no `top_kk`", "did you mean `top_k`?"),
        ({"mirostat": 1}, "knows no `mirostat`", f"known are {', '.join(EXTRA)}"),
        ({"top_k": 1.5}, "`top_k` of `local/tiny` is a whole number from 0 to 1073741824, not 1.5", "top_k: 0"),
        ({"seed": 2**64}, "`seed` of `local/tiny` is a whole number from -9223372036854775808 to", "seed: 0"),
        ({"min_p": True}, "not True", "min_p: 0"),
        ({"top_p": 1.1}, "`top_p` of `local/tiny` is a number from 0 to 1, not 1.1", "top_p: 0"),
    ],
)
def test_what_cannot_be_is_refused(extra, said, hint):
    with pytest.raises(ProviderFailure, match=said) as caught:
        drawing(chat(**extra), {})
    assert caught.value.code == ("unknown_field" if "knows no" in said else "bad_value")
    assert hint in caught.value.hint


def test_the_page_names_the_words_of_extra():
    page = (Path(__file__).parents[5] / "docs/how-to/local-models.md").read_text()
    *most, last = (f"`{name}`" for name in EXTRA)
    assert f"| `extra` | {', '.join(most)} and {last};" in page


def test_log_probabilities_are_asked_for_by_the_call():
    with pytest.raises(ProviderFailure, match="by the call itself") as caught:
        drawing(chat(logprobs=2), {})
    assert (caught.value.code, caught.value.hint) == ("unknown_field", "logprobs: 5")
