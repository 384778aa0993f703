from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowllm.backends.local.generation.sampling import EXTRA, Drawing, Sampler, drawing, nucleus
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat, Sampling

LOGITS = np.log(np.array([0.05, 0.4, 0.3, 0.2, 0.05], np.float32))
ROWS = arrays.arrays(np.float32, st.integers(1, 40), elements=st.integers(-80, 80).map(lambda quarters: quarters / 4))


def chat(sampling: Sampling | None = None, **extra) -> Chat:
    return Chat("local/tiny", (), sampling or Sampling(), extra=extra)


@pytest.mark.parametrize(
    ("how", "tokens"),
    [
        (Drawing(1.0), [0, 1, 2, 3, 4]),
        (Drawing(1.0, top_k=2), [1, 2]),
        (Drawing(1.0, top_k=50), [1, 2, 3, 0, 4]),
        (Drawing(1.0, top_p=0.39), [1]),
        (Drawing(1.0, top_p=0.41), [1, 2]),
        (Drawing(1.0, top_p=0.75), [1, 2, 3]),
        (Drawing(1.0, top_p=0.0), [1]),
        (Drawing(1.0, min_p=0.6), [1, 2]),
        (Drawing(1.0, min_p=1.0), [1]),
        (Drawing(1.0, top_k=3, top_p=0.5), [1, 2]),  # of the 0.9 left in, 0.4 is less than half
        (Drawing(0.1, top_p=0.9), [1]),  # a low temperature sharpens before the nucleus is taken
    ],
)
def test_what_may_be_drawn(how, tokens):
    found, shares = nucleus(LOGITS, how)
    assert found.tolist() == tokens
    assert shares.sum() == pytest.approx(1.0)


def test_shares_are_those_of_the_model():
    _, shares = nucleus(LOGITS, Drawing(1.0, top_k=3))
    assert shares == pytest.approx(np.array([0.4, 0.3, 0.2]) / 0.9)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.floats(0.2, 3), st.integers(0, 12), st.floats(0, 1), st.floats(0, 1))
def test_the_nucleus_is_that_of_a_plain_sort(logits, temperature, top_k, top_p, min_p):
    scores = np.exp((logits - logits.max()) / np.float32(temperature)).astype(np.float64)
    order = np.argsort(-scores, kind="stable")[: top_k or None]
    shares = scores[order]
    within = shares.sum() if top_k else scores.sum()
    if top_p < 1:
        order = order[: max(1, np.count_nonzero(np.cumsum(shares) - shares < top_p * within))]
    order = order[scores[order] >= min_p * scores[order[0]]]
    found, shares = nucleus(logits, Drawing(temperature, top_k, top_p, min_p))
    assert sorted(logits[found]) == sorted(logits[order])  # of equal ones any may be in
    assert shares.sum() == pytest.approx(1.0)


def test_a_flat_nucleus_is_whole():
    logits = np.zeros(5000, np.float32)
    assert len(nucleus(logits, Drawing(1.0, top_p=0.5))[0]) == 2500


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


def test_penalties_leave_the_models_numbers_alone():
    logits = LOGITS.copy()
    Sampler(Drawing(1.0, repetition_penalty=2.0), [1]).draw(logits)
    assert (logits == LOGITS).all()


def drawn(seed: int | None, count: int = 30) -> list[int]:
    sampler = Sampler(Drawing(1.0, seed=seed))
    return [sampler.draw(LOGITS).token for _ in range(count)]


def test_a_seed_repeats_and_another_does_not():
    assert drawn(7) == drawn(7)
    assert drawn(7) != drawn(8)
    assert drawn(-1) == drawn(-1) != drawn(1)
    assert drawn(None) != drawn(None)


def test_draws_follow_the_shares():
    counts = Counter(drawn(1, 4000))
    assert [counts[token] / 4000 for token in range(5)] == pytest.approx([0.05, 0.4, 0.3, 0.2, 0.05], abs=0.03)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.floats(0.1, 5), st.integers(0, 10), st.floats(0, 1), st.floats(0, 1), st.integers(0, 99))
def test_what_is_drawn_is_among_what_may_be(logits, temperature, top_k, top_p, min_p, seed):
    how = Drawing(temperature, top_k, top_p, min_p, seed=seed)
    tokens, shares = nucleus(logits, how)
    assert Sampler(how).draw(logits).token in tokens
    assert len(set(tokens.tolist())) == len(tokens) >= 1
    assert not top_k or len(tokens) <= top_k
    assert logits[tokens].max() == logits.max()
    assert shares.sum() == pytest.approx(1.0)


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
        ({"top_k": 1.5}, "`top_k` is a whole number from 0 to 1073741824, not 1.5", "top_k: 0"),
        ({"seed": 2**64}, "`seed` is a whole number from -9223372036854775808 to 18446744073709551615, not", "seed: 0"),
        ({"min_p": True}, "not True", "min_p: 0"),
        ({"top_p": 1.1}, "`top_p` is a number from 0 to 1, not 1.1", "top_p: 0"),
    ],
)
def test_what_cannot_be_is_refused(extra, said, hint):
    with pytest.raises(ProviderFailure, match=said) as caught:
        drawing(chat(**extra), {})
    assert caught.value.code == "bad_request"
    assert hint in caught.value.hint


def test_the_page_names_the_words_of_extra():
    page = (Path(__file__).parents[5] / "docs/how-to/local-models.md").read_text()
    *most, last = (f"`{name}`" for name in EXTRA)
    assert f"`extra` takes {', '.join(most)} and {last};" in page


def test_log_probabilities_are_asked_for_by_the_call():
    with pytest.raises(ProviderFailure, match="by the call itself") as caught:
        drawing(chat(logprobs=2), {})
    assert (caught.value.code, caught.value.hint) == ("bad_request", "logprobs: 5")
