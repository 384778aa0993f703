"""When a request is sent again, and after what wait."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.delta import Finish, Meta, Reasoning, Restart, Text, ToolCall, Usage, Vectors, fold
from flowllm.core.errors import BudgetExceeded, NodeFailure, ProviderFacts, ProviderFailure
from flowllm.core.event import CallRetried
from flowllm.core.request import Embed
from flowllm.policies.retry import Retry
from tests.unit.policies.world import World, chat, collect, reply

GOOD = (Text("ok"), Finish("stop"))
THOUGHT, WANTED = Reasoning("hm"), ToolCall(0, "1", "find", "{")


def failing(code="overloaded", **facts):
    return ProviderFailure(code, f"said {code}", facts=ProviderFacts(**facts))


@pytest.fixture
def world():
    return World()


async def run(world, policy, *answers, **scope):
    script = world.script(*answers)
    try:
        return script, await collect(policy.wrap(script, world.services), chat(), world.scope(**scope))
    except Exception as error:  # noqa: BLE001  the table says which
        return script, error


@pytest.mark.parametrize(
    ("failure", "requests"),
    [
        (failing("rate_limited"), 4),
        (failing("connect_error"), 4),
        (failing("stream_interrupted"), 4),
        (failing("dns_error"), 2),
        (failing("invalid_response"), 2),
        (failing("auth"), 1),
        (failing("quota"), 1),
        (failing("bad_request"), 1),
        (failing("content_filter"), 1),
        (failing("tls_error"), 1),
        (failing("rate_limited", should_retry=False), 1),
        (failing("bad_request", should_retry=True), 4),
        (NodeFailure("node_failed", "no"), 1),
        (BudgetExceeded("over_budget", "no"), 1),
        (ValueError("a fault"), 1),
    ],
)
async def test_what_is_sent_again(world, failure, requests):
    script, error = await run(world, Retry(), [failure])
    assert error is failure
    assert len(script.requests) == requests
    assert len(world.told(CallRetried)) == requests - 1
    assert script.open == 0


async def test_the_list_of_attempts(world):
    _, error = await run(world, Retry(base=0, attempts=3), [failing()], [failing("rate_limited")], [failing("auth")])
    assert error.attempts == (
        "attempt 1: overloaded, waited 0.0 s",
        "attempt 2: rate_limited, waited 0.0 s",
        "attempt 3: auth",
    )


@given(st.integers(0, 10**6), st.floats(0, 100), st.floats(0, 100), st.integers(1, 20), st.booleans())
def test_full_jitter_stays_below_its_bounds(seed, base, cap, count, throttled):
    world = World()
    failure = failing("rate_limited" if throttled else "overloaded")
    wait = Retry(base=base, cap=cap).wait(failure, count, world.scope(seed))
    least = max(base, 1.0) if throttled and base else base
    assert 0 <= wait <= min(cap, least * 2 ** (count - 1))


def test_full_jitter_uses_its_whole_range():
    scope = World().scope(1)
    waits = [Retry().wait(failing(), 4, scope) for _ in range(400)]
    assert max(waits) > 3.8
    assert min(waits) < 0.2
    assert max(Retry().wait(failing(), 20, scope) for _ in range(400)) > 19


@given(st.integers(0, 10**6), st.floats(0, 60))
def test_retry_after_is_waited_for_and_a_little_more(seed, asked):
    wait = Retry().wait(failing("rate_limited", retry_after=asked), 1, World().scope(seed))
    assert asked <= wait <= 1.1 * asked + 0.1


def test_waiters_with_the_same_retry_after_spread():
    waits = sorted(Retry().wait(failing(retry_after=10.0), 1, World().scope(seed)) for seed in range(1000))
    assert waits[-1] - waits[0] >= 0.1 * 10 * 0.9
    assert max(b - a for a, b in pairwise(waits)) < 0.1


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(60.1, False), (math.inf, False), (1e308, False), (60.0, True), (0.0, True), (-5.0, True), (math.nan, True)],
)
async def test_odd_values_of_retry_after(world, asked, waits):
    script, _ = await run(world, Retry(), [failing("rate_limited", retry_after=asked)], GOOD)
    assert len(script.requests) == (2 if waits else 1)
    assert all(0 <= slept <= 66.1 for slept in world.clock.slept)


@pytest.mark.parametrize(
    ("failure", "said", "hint"),
    [
        (failing("rate_limited", retry_after=9999.0), "a pause of 9999 s, and none longer than 60 s", "longest: 9999s"),
        (failing("rate_limited", retry_after=1e9), "a pause of more than a day", "fallback: "),
        (failing("rate_limited", retry_after=60.0), None, ""),
        (failing("auth", retry_after=9999.0), None, ""),
        (failing("rate_limited", retry_after=math.inf), None, ""),
    ],
)
async def test_a_pause_that_is_not_begun_is_told_with_the_field_to_raise(world, failure, said, hint):
    _, error = await run(world, Retry(), [failure] * 4)
    assert ("pause" in str(error)) == (said is not None)
    assert (said or "") in error.message
    assert hint in error.hint
    assert bool(error.hint) == bool(hint)


@pytest.mark.parametrize(("left", "requests"), [(5.0, 1), (30.0, 2), (None, 2)])
async def test_no_wait_is_begun_that_cannot_end_in_time(world, left, requests):
    deadline = None if left is None else world.clock.now() + left
    script, _ = await run(world, Retry(), [failing(retry_after=10.0)], GOOD, deadline=deadline)
    assert len(script.requests) == requests


@pytest.mark.parametrize(
    ("before", "restart", "expected"),
    [
        ([], False, [*GOOD]),
        ([Meta("m"), Usage(1)], False, [Meta("m"), Usage(1), Restart("overloaded"), *GOOD]),
        ([THOUGHT, WANTED], False, [THOUGHT, WANTED, Restart("overloaded"), *GOOD]),
        ([THOUGHT, Text("a")], False, None),
        ([Text("a")], False, None),
        ([Text("a")], True, [Text("a"), Restart("overloaded"), *GOOD]),
    ],
)
async def test_after_the_first_delta(world, before, restart, expected):
    script, result = await run(world, Retry(restart=restart), [*before, failing()], GOOD)
    if expected is None:
        assert isinstance(result, ProviderFailure)
        assert (len(script.requests), result.hint) == (1, "retry: {restart: true}")
    else:
        assert result == expected


@pytest.mark.parametrize(("code", "restart"), [("auth", False), ("overloaded", True)])
async def test_a_restart_that_would_not_help_is_no_hint(world, code, restart):
    _, failure = await run(world, Retry(restart=restart, attempts=2), *[[Text("a"), failing(code)]] * 2)
    assert (failure.code, failure.hint) == (code, "")


async def test_a_restart_leaves_nothing_of_the_first_attempt(world):
    script = world.script([Text("half"), failing()], GOOD)
    call = Retry(restart=True).wrap(script, world.services)
    assert (await reply(call, chat(), world.scope())).text == "ok"


async def test_a_reader_who_leaves_closes_the_request(world):
    script = world.script(GOOD)
    deltas = Retry().wrap(script, world.services)(chat(), world.scope())
    await anext(deltas)
    assert script.open == 1
    await deltas.aclose()
    assert script.open == 0


async def test_the_same_dice_give_the_same_waits():
    slept = []
    for _ in range(2):
        world = World()
        await run(world, Retry(), [failing()], seed=7)
        slept.append(world.clock.slept)
    assert slept[0] == slept[1]
    generator = random.Random(7)
    assert slept[0] == [generator.uniform(0, 0.5 * 2**n) for n in range(3)]


def embedding(*numbers, used=1):
    return [delta for number in numbers for delta in (Vectors([[number]]), Usage(used))]


async def embedded(world, *answers, **policy):
    script = world.script(*answers)
    call = Retry(base=0, **policy).wrap(script, world.services)
    request = Embed("acme/e", ("a", "b", "c", "d"))
    try:
        outcome = [delta async for delta in call(request, world.scope())]
    except ProviderFailure as failure:
        outcome = failure
    return ["".join(request.texts) for request in script.requests], outcome


async def test_vectors_that_came_are_not_asked_for_again(world):
    failed = [Meta(request_id="r"), failing()]
    answers = [*embedding(1.0), failing()], failed, [*embedding(2.0, 3.0), failing()], [*embedding(4.0), Finish("stop")]
    sent, deltas = await embedded(world, *answers)
    reply = fold(deltas)
    assert sent == ["abcd", "bcd", "bcd", "d"]
    assert reply.vectors == [[1.0], [2.0], [3.0], [4.0]]
    assert reply.usage == Usage(3)
    assert not any(isinstance(delta, Restart) for delta in deltas)


async def test_attempts_are_counted_anew_for_texts_that_are_left(world):
    steps = [[*embedding(number), failing()] for number in (1.0, 2.0, 3.0)]
    sent, failure = await embedded(world, *steps, [failing()], attempts=2)
    assert (sent, failure.attempts[-1]) == (["abcd", "bcd", "cd", "d"], "attempt 4: overloaded")
    world = World()
    sent, failure = await embedded(world, steps[0], [failing()], attempts=3)
    assert (sent, failure.attempts[-1]) == (["abcd", "bcd", "bcd"], "attempt 3: overloaded")


@pytest.mark.parametrize(
    ("before", "sent"),
    [([], ["abcd", "abcd"]), ([[*embedding(9.0), failing()]], ["abcd", "bcd", "abcd"])],
    ids=["at_once", "rest"],
)
async def test_vectors_that_all_came_before_a_failure_begin_anew(world, before, sent):
    all_came = [*embedding(*[9.0] * len(sent[-2])), failing()]
    found, deltas = await embedded(world, *before, all_came, embedding(1.0, 2.0, 3.0, 4.0))
    assert (found, fold(deltas).vectors) == (sent, [[1.0], [2.0], [3.0], [4.0]])
    assert fold(deltas).usage == Usage(1)


async def test_a_cost_that_one_attempt_does_not_tell_is_unknown(world):
    sent, deltas = await embedded(world, [Vectors([[1.0]]), failing()], embedding(2.0, 3.0, 4.0))
    assert (sent, fold(deltas).usage) == (["abcd", "bcd"], Usage())
