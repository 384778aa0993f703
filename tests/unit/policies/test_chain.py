"""Policies by name, their values as written, and their order as seen in what happens."""

from decimal import Decimal

import pytest

from flowllm.core.delta import Finish, Text, Usage
from flowllm.core.durations import seconds
from flowllm.core.errors import CODES, ProviderFacts, ProviderFailure
from flowllm.core.event import CallFinished, CallRetried, CallStarted, ModelChosen
from flowllm.policies import WRITTEN
from flowllm.policies.chain import order, parse_policy, policy_model
from tests.unit.policies.world import World, chain, chat, collect, reply

GOOD = (Text("ok"), Usage(10, 5), Finish("stop"))


def failing(code, **facts):
    return ProviderFailure(code, code, facts=ProviderFacts(**facts))


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        *[("500ms", 0.5), ("45s", 45), ("2m", 120), ("1.5h", 5400), ("7d", 604800), ("1w", 604800)],
        *[("3", 3), (" 2 s ", 2), (2, 2), (0.5, 0.5), (0, 0)],
    ],
)
def test_durations(raw, expected):
    assert seconds(raw) == expected


@pytest.mark.parametrize(
    "raw", ["", "s", "-1s", "1 hour", "1e3", "nan", "inf", "٣s", "1s2", -1, float("nan"), float("inf"), True, None, []]
)
def test_what_is_no_duration(raw):
    with pytest.raises(ValueError, match="no length of time"):
        seconds(raw)


@pytest.mark.parametrize(
    ("name", "raw", "field", "value"),
    [
        ("timeout", "45s", "seconds", 45),
        ("timeout", {"seconds": "2m"}, "seconds", 120),
        ("attempt_timeout", 20, "seconds", 20),
        ("cache", {"ttl": "7d"}, "ttl", 604800),
        ("cache", "1h", "ttl", 3600),
        ("cache", {}, "ttl", None),
        ("cache", True, "replies", True),
        ("retry", {"attempts": 3}, "attempts", 3),
        ("retry", 3, "attempts", 3),
        ("retry", True, "attempts", 4),
        ("fallback", ["a/b", "c/d"], "models", ("a/b", "c/d")),
        ("fallback", "a/b", "models", ("a/b",)),
        ("limit", 8, "at_once", 8),
        ("breaker", {}, "failures", 5),
    ],
)
def test_values_as_written(name, raw, field, value):
    assert getattr(parse_policy(name, raw), field) == value


@pytest.mark.parametrize("raw", [False, None])
@pytest.mark.parametrize("name", ["cache", "retry", "timeout"])
def test_switched_off(name, raw):
    assert parse_policy(name, raw) is None


@pytest.mark.parametrize(
    ("name", "raw", "said"),
    [
        ("retri", 1, "`retri` is no policy; did you mean `retry`?"),
        ("chain", 1, "`chain` is no policy"),
        ("../x", 1, "`../x` is no policy"),
        ("retry", {"atempts": 3}, "`retry` has no parameter `atempts`; did you mean `attempts`?"),
        ("retry", 0, "`retry.attempts`: input should be greater than or equal to 1"),
        ("timeout", {}, "`timeout.seconds` is missing"),
        ("timeout", 0, "`timeout.seconds`: input should be greater than 0"),
        ("cache", "-7d", "`cache.ttl`: `-7d` is no length of time such as 500ms, 45s, 2m or 7d"),
        ("fallback", [], "`fallback.models`: tuple should have at least 1 item"),
        ("meter", 3, "`meter` takes true, false or a mapping of its parameters"),
    ],
)
def test_bad_values_are_one_sentence(name, raw, said):
    with pytest.raises(ValueError, match="`") as caught:
        parse_policy(name, raw)
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_order():
    assert order() == (
        *("timeout", "cache", "single_flight", "fallback", "retry", "breaker", "limit", "attempt_timeout", "meter"),
    )


def test_what_this_version_lacks_says_so():
    missing = [name for name in order() if not policy_model(name).available]
    assert missing == ["breaker", "limit"]


async def test_defaults_retry_and_meter(world):
    script = world.script([failing("overloaded")], GOOD)
    assert (await reply(chain({}, script, world.services), chat(), world.scope())).text == "ok"
    assert world.names == ["CallStarted", "CallFailed", "CallRetried", "CallStarted", "CallFinished"]
    assert [event.attempt for event in world.told(CallStarted)] == [1, 2]


async def test_retry_can_be_switched_off_and_the_meter_cannot(world):
    script = world.script([failing("overloaded")], GOOD)
    with pytest.raises(ProviderFailure):
        await reply(chain({"retry": False, "meter": False}, script, world.services), chat(), world.scope())
    assert world.names == ["CallStarted", "CallFailed"]


# Order, seen in what happens: each of these fails when the two policies are swapped.


async def test_fallback_is_outside_retry(world):
    """Each model is tried four times before the next one is."""
    script = world.script([failing("overloaded")])
    with pytest.raises(ProviderFailure):
        await reply(chain({"fallback": ["b/x"]}, script, world.services), chat(model="a/x"), world.scope())
    assert script.models == ["a/x"] * 4 + ["b/x"] * 4
    assert len(world.told(ModelChosen)) == 1


async def test_cache_is_outside_fallback(world):
    """A stored answer of the fallback is found without asking anybody."""
    script = world.script(lambda r: [failing("auth")] if r.model == "a/x" else GOOD)
    call = chain({"cache": True, "fallback": ["b/x"]}, script, world.services)
    await reply(call, chat(model="a/x"), world.scope())
    await reply(call, chat(model="a/x"), world.scope())
    assert script.models == ["a/x", "b/x"]


async def test_retry_is_outside_attempt_timeout(world):
    """Waiting between attempts is no part of an attempt, and an attempt that took too long is repeated."""
    script = world.script([100.0, *GOOD], GOOD)
    assert (await reply(chain({"attempt_timeout": 20}, script, world.services), chat(), world.scope())).text == "ok"
    assert len(script.requests) == 2
    assert [event.code for event in world.told(CallRetried)] == ["timeout"]


async def test_no_attempt_begins_after_the_node_has_to_end(world):
    """The executor's `timeout` is the deadline of the scope; it does not begin anew with an attempt."""
    script = world.script([30.0, failing("overloaded")])
    with pytest.raises(ProviderFailure):
        await reply(chain({"timeout": 45, "retry": 20}, script, world.services), chat(), world.scope(deadline=145.0))
    assert len(script.requests) == 2
    assert {scope.deadline for scope in script.scopes} == {145.0}


def test_the_names_that_can_be_written_are_those_of_the_files():
    assert tuple(name for name in order() if name not in ("single_flight", "breaker", "meter")) == WRITTEN


async def test_meter_is_inside_retry(world):
    """Every request is counted, not only the last one."""
    script = world.script([Usage(10, 0), failing("overloaded")], GOOD)
    paid = []
    services = type(world.services)(price=lambda m, u: cost_of(u), spend=paid.append)
    await reply(chain({}, script, services), chat(), world.scope())
    assert paid == [Decimal(10), Decimal(15)]


async def test_meter_is_inside_cache(world):
    """What comes from the cache costs nothing."""
    script = world.script(GOOD)
    paid = []
    services = type(world.services)(price=lambda m, u: cost_of(u), spend=paid.append)
    call = chain({"cache": True}, script, services)
    for _ in range(3):
        await reply(call, chat(), world.scope())
    assert paid == [Decimal(15)]
    assert len(world.told(CallFinished)) == 1


def cost_of(usage):
    from flowllm.core.event import Cost

    return Cost(Decimal((usage.input or 0) + (usage.output or 0)) if usage else None)


async def test_chain_passes_everything_on(world):
    script = world.script(GOOD)
    policies = {"timeout": "1m", "cache": {"ttl": "7d"}, "fallback": ["b/x"], "attempt_timeout": 5, "when_failed": {}}
    assert await collect(chain(policies, script, world.services), chat(), world.scope()) == list(GOOD)
    assert script.open == 0


def test_every_retryable_code_is_of_a_provider():
    assert not CODES["timeout"].retryable
    assert CODES["overloaded"].retryable
