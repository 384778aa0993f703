"""Fallback, single flight, attempt_timeout, timeout and meter."""

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest

from flowllm.core.delta import Finish, Meta, Reasoning, Restart, Text, ToolCall, Usage
from flowllm.core.errors import BudgetExceeded, Interrupted, NodeFailure, ProviderFacts, ProviderFailure
from flowllm.core.event import CallFailed, CallFinished, CallStarted, Cost, ModelChosen
from flowllm.core.policy import Services
from flowllm.policies.attempt_timeout import AttemptTimeout
from flowllm.policies.fallback import Fallback
from flowllm.policies.meter import Meter
from flowllm.policies.single_flight import SingleFlight
from flowllm.text.tokens import count, count_request
from tests.unit.policies.world import World, chain, chat, collect, reply

GOOD = (Text("ok"), Usage(10, 5), Finish("stop"))


def failing(code="overloaded"):
    return ProviderFailure(code, f"said {code}")


@pytest.fixture
def world():
    return World()


# fallback


@pytest.mark.parametrize(
    ("failure", "asked"),
    [
        (failing("overloaded"), ["a/x", "b/x"]),
        (failing("auth"), ["a/x", "b/x"]),
        (failing("quota"), ["a/x", "b/x"]),
        (failing("not_found"), ["a/x", "b/x"]),
        (failing("timeout"), ["a/x", "b/x"]),
        (NodeFailure("context_too_long", "long"), ["a/x", "b/x"]),
        (failing("bad_request"), ["a/x"]),
        (failing("content_filter"), ["a/x"]),
        (BudgetExceeded("over_budget", "no"), ["a/x"]),
        (ValueError("a fault"), ["a/x"]),
    ],
)
async def test_what_is_passed_over(world, failure, asked):
    script = world.script(lambda r: [failure] if r.model == "a/x" else GOOD)
    call = Fallback(models=("b/x",)).wrap(script, world.services)
    try:
        got = (await reply(call, chat(model="a/x"), world.scope())).text
    except Exception as error:  # noqa: BLE001  the table says which
        got = error
    assert got is failure or got == "ok"
    assert script.models == asked
    assert [event.model for event in world.told(ModelChosen)] == asked[1:]


async def test_models_are_asked_in_order_and_the_last_failure_tells_all(world):
    script = world.script(lambda r: [failing("auth" if r.model == "b/x" else "overloaded")])
    with pytest.raises(ProviderFailure) as caught:
        await reply(
            Fallback(models=("b/x", "a/x", "c/x")).wrap(script, world.services), chat(model="a/x"), world.scope()
        )
    assert script.models == ["a/x", "b/x", "c/x"]
    assert caught.value.attempts == ("a/x: overloaded", "b/x: auth", "c/x: overloaded")


@pytest.mark.parametrize(
    ("before", "expected"), [([], []), ([Text("half")], [Text("half"), Restart("a/x: overloaded")])]
)
async def test_what_was_shown_is_taken_back(world, before, expected):
    script = world.script(lambda r: [*before, failing()] if r.model == "a/x" else GOOD)
    call = Fallback(models=("b/x",)).wrap(script, world.services)
    assert await collect(call, chat(model="a/x"), world.scope()) == [*expected, Meta(answered_by="b/x"), *GOOD]


@pytest.mark.parametrize(
    ("dead", "answered_by"), [((), None), (("a/x",), "b/x"), (("a/x", "b/x"), "c/x")], ids=["own", "next", "last"]
)
async def test_the_stream_names_the_model_that_answers(world, dead, answered_by):
    """Also where that model's first attempt broke off after it had begun."""
    script = world.script(*[[failing("auth")]] * len(dead), [Text("half"), failing()], GOOD)
    call = chain({"fallback": ["b/x", "c/x"], "retry": {"restart": True}}, script, world.services)
    got = await reply(call, chat(model="a/x"), world.scope())
    assert (got.text, got.answered_by) == ("ok", answered_by)


async def test_nobody_is_asked_when_the_time_is_over(world):
    script = world.script(lambda r: [failing("timeout")])
    call = Fallback(models=("b/x",)).wrap(script, world.services)
    with pytest.raises(ProviderFailure):
        await reply(call, chat(model="a/x"), world.scope(deadline=world.clock.now()))
    assert script.models == ["a/x"]


# single flight


async def together(call, world, count, **scope):
    tasks = [asyncio.ensure_future(collect(call, chat(), world.scope(**scope))) for _ in range(count)]
    for _ in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_a_hundred_identical_requests_are_one(world):
    script = world.script(GOOD)
    script.gate = asyncio.Event()
    tasks = await together(SingleFlight().wrap(script, world.services), world, 100)
    script.gate.set()
    assert await asyncio.gather(*tasks) == [list(GOOD)] * 100
    assert len(script.requests) == 1
    assert world.services.flights == {}


async def test_different_requests_fly_apart(world):
    script = world.script(GOOD)
    call = SingleFlight().wrap(script, world.services)
    scopes = [world.scope(), world.scope(salt="2"), world.scope(refresh=True)]
    await asyncio.gather(*(collect(call, chat(), scope) for scope in scopes), collect(call, chat("b"), world.scope()))
    assert len(script.requests) == 4


@pytest.mark.parametrize(
    ("first", "second", "requests"),
    [
        (None, None, 1),
        (None, 145.0, 1),
        (145.0, 130.0, 1),
        (145.0, 145.5, 1),
        (145.0, 147.0, 2),
        (145.0, None, 2),
    ],
)
async def test_a_request_with_less_time_is_not_joined(world, first, second, requests):
    script = world.script(GOOD)
    script.gate = asyncio.Event()
    call = SingleFlight().wrap(script, world.services)
    tasks = [*await together(call, world, 2, deadline=first), *await together(call, world, 2, deadline=second)]
    script.gate.set()
    assert await asyncio.gather(*tasks) == [list(GOOD)] * 4
    assert len(script.requests) == requests
    assert [scope.deadline for scope in script.scopes] == [first and first + 1.0, second and second + 1.0][:requests]


@pytest.mark.parametrize(
    ("other", "requests"),
    [
        ({}, 1),
        ({"timeout": 30, "cache": {"ttl": 60}}, 1),
        ({"retry": {"attempts": 4}}, 1),
        ({"retry": False}, 2),
        ({"fallback": ["b/x"]}, 2),
        ({"attempt_timeout": 20}, 2),
    ],
)
async def test_those_share_whose_requests_are_made_alike(world, other, requests):
    script = world.script(GOOD)
    script.gate = asyncio.Event()
    calls = [chain({"cache": True, **more}, script, world.services) for more in ({}, other)]
    tasks = [task for call in calls for task in await together(call, world, 1)]
    script.gate.set()
    assert await asyncio.gather(*tasks) == [list(GOOD)] * 2
    assert len(script.requests) == requests


async def test_callers_of_another_loop_send_their_own(world):
    here, gate = asyncio.get_running_loop(), asyncio.Event()

    async def backend(request, scope):
        if asyncio.get_running_loop() is here:
            await gate.wait()
        for delta in GOOD:
            yield delta

    call = SingleFlight().wrap(backend, world.services)
    (task,) = await together(call, world, 1)
    there = await asyncio.to_thread(lambda: asyncio.run(collect(call, chat(), world.scope())))
    assert (there, task.done()) == (list(GOOD), False)
    gate.set()
    assert await task == list(GOOD)


async def test_one_who_leaves_takes_nothing_from_the_others(world):
    script = world.script(GOOD)
    script.gate = asyncio.Event()
    tasks = await together(SingleFlight().wrap(script, world.services), world, 3)
    tasks[0].cancel()
    await asyncio.wait([tasks[0]])
    assert script.open == 1
    script.gate.set()
    assert await asyncio.gather(*tasks[1:]) == [list(GOOD)] * 2
    assert len(script.requests) == 1


async def test_the_last_one_who_leaves_closes_the_request(world):
    script = world.script(GOOD)
    script.gate = asyncio.Event()
    tasks = await together(SingleFlight().wrap(script, world.services), world, 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert script.open == 0
    assert world.services.flights == {}


async def test_a_failure_is_for_those_who_wait_and_for_nobody_else(world):
    script = world.script([Text("a"), failing()], GOOD)
    script.gate = asyncio.Event()
    call = SingleFlight().wrap(script, world.services)
    tasks = await together(call, world, 3)
    script.gate.set()
    errors = await asyncio.gather(*tasks, return_exceptions=True)
    assert [error.code for error in errors] == ["overloaded"] * 3
    assert len({id(error) for error in errors}) == 3
    errors[0].at("ask")
    assert errors[1].address == ""
    assert errors[0].facts == ProviderFacts()
    assert await collect(call, chat(), world.scope()) == list(GOOD)


async def test_late_readers_get_the_whole_answer(world):
    script = world.script(GOOD)
    call = SingleFlight().wrap(script, world.services)
    first = call(chat(), world.scope())
    seen = [await anext(first)]
    second = await collect(call, chat(), world.scope())
    assert second == list(GOOD)
    assert seen + [delta async for delta in first] == list(GOOD)


async def test_a_request_that_is_cancelled_from_outside_is_no_answer(world):
    script = world.script(GOOD)
    script.gate = asyncio.Event()
    (task,) = await together(SingleFlight().wrap(script, world.services), world, 1)
    next(iter(world.services.flights.values()))._task.cancel()
    with pytest.raises(Interrupted):
        await task


# time


@pytest.mark.parametrize(
    ("answer", "deadline", "expected"),
    [
        ([*GOOD], None, "ok"),
        ([19.0, *GOOD], None, "ok"),
        ([21.0, *GOOD], None, (True, "")),
        ([Text("a"), 10.0, Text("b"), 11.0, *GOOD], None, (True, "ab")),
        ([Text("a"), 21.0, *GOOD], 110.0, (False, "a")),
    ],
)
async def test_an_attempt_ends_in_time(world, answer, deadline, expected):
    script = world.script(answer)
    call = AttemptTimeout(seconds=20).wrap(script, world.services)
    try:
        got = (await reply(call, chat(), world.scope(deadline=deadline))).text
    except ProviderFailure as failure:
        got = (failure.retryable, failure.facts.partial_text) if failure.code == "timeout" else failure
    assert got == expected
    assert script.open == 0


async def test_no_limit_stays_open_while_the_reader_has_the_word(world):
    call = AttemptTimeout(seconds=20).wrap(world.script(GOOD), world.services)
    async for _ in call(chat(), world.scope()):
        assert world.clock.limits == []


# meter


def paying(spend=lambda amount: None, may_spend=lambda: None):
    price = lambda model, usage: Cost(None if usage is None else Decimal((usage.input or 0) + (usage.output or 0)))  # noqa: E731
    return Services(price=price, spend=spend, may_spend=may_spend)


async def test_a_complete_answer(world):
    paid = []
    script = world.script([1.0, Text("o"), 2.0, *GOOD])
    await collect(Meter().wrap(script, paying(paid.append)), chat(), world.scope(attempt=3))
    assert paid == [Decimal(15)]
    assert world.told(CallStarted) == [CallStarted("ask", 100.0, "acme/m", 3)]
    assert world.told(CallFinished) == [
        CallFinished("ask", 103.0, "acme/m", Usage(10, 5), Cost(Decimal(15)), 3.0, 1.0, "stop")
    ]


async def test_an_answer_that_came_whole_instead_of_as_a_stream(world):
    await collect(Meter().wrap(world.script([Meta(simulated=True), *GOOD, Meta("m")]), paying()), chat(), world.scope())
    assert [event.simulated for event in world.told(CallFinished)] == [True]


@pytest.mark.parametrize(
    ("answer", "paid", "usage"),
    [
        ([failing()], [], None),
        ([Meta("m"), failing()], [Decimal(8)], Usage(8, 0, estimated=True)),
        ([Text("word " * 40), failing()], [Decimal(47)], Usage(8, 39, estimated=True)),
        (
            [Reasoning("word " * 40), ToolCall(0, arguments="word " * 40), failing()],
            [Decimal(85)],
            Usage(8, 77, estimated=True),
        ),
        ([Usage(7, 1), Text("word " * 40), failing()], [Decimal(46)], Usage(7, 39, estimated=True)),
        ([Text("word " * 40), Usage(7, 70, 3), failing()], [Decimal(77)], Usage(7, 70, 3)),
    ],
)
async def test_a_failure(world, answer, paid, usage):
    spent = []
    with pytest.raises(ProviderFailure):
        await collect(Meter().wrap(world.script(answer), paying(spent.append)), chat(), world.scope())
    assert spent == paid
    (event,) = world.told(CallFailed)
    assert (event.code, event.message, event.usage) == ("overloaded", "said overloaded", usage)


LONG = "word " * 10_000


@pytest.mark.parametrize(
    ("asked", "came", "threads"),
    [("a", [Text("a")], 0), (LONG, [Text("a")], 1), ("a", [Text(LONG)], 1), (LONG, [], 0)],
)
@pytest.mark.parametrize("cancelled", [False, True])
async def test_much_that_broke_off_is_counted_in_a_thread(world, asked, came, threads, cancelled):
    works, spent = [], []

    async def run_in_thread(work):
        works.append(work)
        if cancelled:
            raise asyncio.CancelledError
        return work()

    request, scope = chat(asked), world.scope(run_in_thread=run_in_thread)
    with pytest.raises(asyncio.CancelledError if cancelled and threads else ProviderFailure):
        await collect(Meter().wrap(world.script([*came, failing()]), paying(spent.append)), request, scope)
    assert len(works) == threads
    tokens = count_request(request) + sum(count(delta.text) for delta in came)
    assert spent == ([Decimal(tokens)] if came else [])


async def test_an_answer_without_usage_costs_what_nobody_knows(world):
    paid = []
    await collect(Meter().wrap(world.script([Text("a")]), paying(paid.append)), chat(), world.scope())
    assert paid == [None]
    assert world.told(CallFinished)[0].cost == Cost(None)


@pytest.mark.parametrize(
    ("read", "names", "paid"),
    [
        (1, ["CallStarted", "CallFailed"], [Decimal(9)]),
        (2, ["CallStarted", "CallFailed"], [Decimal(15)]),
        (3, ["CallStarted", "CallFinished"], [Decimal(15)]),
    ],
)
async def test_a_reader_who_leaves_pays_for_what_came(world, read, names, paid):
    spent = []
    script = world.script(GOOD)
    deltas = Meter().wrap(script, paying(spent.append))(chat(), world.scope())
    for _ in range(read):
        await anext(deltas)
    await deltas.aclose()
    assert world.names == names
    assert spent == paid
    assert script.open == 0


async def test_a_run_without_money_sends_nothing(world):
    def refuse():
        raise BudgetExceeded("over_budget", "no money")

    script = world.script(GOOD)
    with pytest.raises(BudgetExceeded):
        await collect(Meter().wrap(script, paying(may_spend=refuse)), chat(), world.scope())
    assert script.requests == []
    assert world.events == []


async def test_what_is_free_is_sent_without_money_too(world):
    def refuse():
        raise BudgetExceeded("over_budget", "no money")

    services = Services(price=lambda model, usage: Cost(Decimal(0)), may_spend=refuse)
    script = world.script(GOOD)
    await collect(Meter().wrap(script, services), chat(), world.scope())
    assert len(script.requests) == 1


@pytest.mark.parametrize(("source", "guessed"), [("", ["acme/m"]), ("prices of 2026-11-20", [])])
async def test_a_model_of_no_known_price_is_asked_about_before_it_is_asked(world, source, guessed):
    models = []
    services = Services(price=lambda model, usage: Cost(None, source=source), may_guess=models.append)
    await collect(Meter().wrap(world.script(GOOD), services), chat(), world.scope())
    assert models == guessed


async def test_spending_too_much_ends_the_run_after_the_answer(world):
    def refuse(amount):
        raise BudgetExceeded("over_budget", "no money")

    with pytest.raises(BudgetExceeded):
        await collect(Meter().wrap(world.script(GOOD), paying(refuse)), chat(), world.scope())
    assert world.names == ["CallStarted", "CallFinished"]


async def test_nothing_is_built_when_nobody_reads(world):
    spent = []
    scope = replace(world.scope(), observed=False)
    await collect(Meter().wrap(world.script(GOOD), paying(spent.append)), chat(), scope)
    assert world.events == []
    assert spent == [Decimal(15)]
