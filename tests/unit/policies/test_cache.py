"""What is stored, what is found, and what it saves."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Finish, Logprobs, Meta, Reasoning, Restart, Scores, Text, Token, ToolCall, Usage, Vectors
from flowllm.core.errors import ProviderFailure
from flowllm.core.event import CacheHit, CacheMiss, Cost
from flowllm.core.policy import Services
from flowllm.core.request import Embed, Rerank, ToolUse, digest
from flowllm.core.store import MemoryStore
from tests.unit.policies.world import World, chain, chat, collect, reply

GOOD = (Text("o"), Text("k"), Usage(10, 5), Finish("stop", "end_turn"), Meta("acme-m-1", "req-1"))
RICH = (
    Reasoning("wh"),
    Reasoning("y", "seal", "t1", sealed=True, format="anthropic_messages"),
    Reasoning("", "seal2"),
    Text("text"),
    ToolCall(0, "id0", "search", '{"q": ', "seal3"),
    ToolCall(0, "", "", "1}"),
    Logprobs((Token("te", -0.5, (("te", -0.5), ("ta", -1.25))),)),
    Logprobs((Token("xt", 0.0),)),
    Usage(10, 5, cached_input=2, reasoning=1, classes={"input_audio": 3}, written={"1h": 2}, units={"searches": 1},
          service="flex", region="us", speed="fast", variant="low", reported=Decimal("0.0013")),
    Finish("tool_calls", "tools"),
    Meta("m", "r", 3),
)  # fmt: skip


class Puts(MemoryStore):
    """Remembers how long each value was to be kept."""

    def __init__(self):
        super().__init__()
        self.ttls = []

    def put(self, key, value, ttl=None):
        self.ttls.append(ttl)
        super().put(key, value, ttl)


@pytest.fixture
def world():
    price = lambda model, usage: Cost(None if usage is None else Decimal(usage.input or 0) / 1000)  # noqa: E731
    return World(services=Services(store=Puts(), price=price))


def plain(deltas):
    from flowllm.core.delta import fold

    return replace(fold(deltas), request_id=None)


@pytest.mark.parametrize(
    "answer", [GOOD, RICH, (Scores([1, 0], [0.5, 0.25]), Finish("stop")), (Text("a"), Logprobs(()), Finish("stop"))]
)
async def test_a_hit_is_the_same_answer(world, answer):
    script = world.script(answer)
    call = chain({"cache": {"ttl": "7d"}}, script, world.services)
    first = await collect(call, chat(), world.scope())
    second = await collect(call, chat(), world.scope())
    assert first == list(answer)
    assert plain(first) == plain(second)
    assert len(script.requests) == 1
    assert world.services.store.ttls == [604800]


async def test_an_answer_of_a_model_that_was_replaced_meanwhile_is_not_kept(world):
    behind = {"acme/m": "old"}
    services = replace(world.services, local_identity=behind.get)

    def replaced(_):
        behind["acme/m"] = "new"
        return GOOD

    script = world.script(replaced, GOOD)
    call = chain({"cache": True}, script, services)
    asked = []
    for _ in range(3):
        await collect(call, chat(), world.scope())
        asked.append(len(script.requests))
    assert asked == [1, 2, 2]
    behind["acme/m"] = "old"
    await collect(chain({"cache": True}, script, services), chat(), world.scope())
    assert len(script.requests) == 3


def replaceable(world, *models):
    """What stands behind models, to be replaced, and services that look there."""
    behind = dict.fromkeys(models, "old")
    return behind, replace(world.services, local_identity=behind.get)


async def begun(*calls):
    """Calls that came as far as they can."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    for _ in range(8):
        await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("more", [{}, {"fallback": ["b/x"]}])
async def test_no_answer_is_kept_of_calls_in_flight_while_their_model_is_replaced(world, more):
    model = "b/x" if more else "a/x"
    behind, services = replaceable(world, "a/x", "b/x")
    by = lambda: (Text(f"by {behind[model]}"), Finish("stop"))  # noqa: E731
    answer = by()
    script = world.script(lambda r: [ProviderFailure("auth", "no")] if r.model != model else answer)
    script.gate = asyncio.Event()
    call = chain({"cache": True, **more}, script, services)
    tasks = await begun(*(reply(call, chat(str(i), model="a/x"), world.scope()) for i in range(4)))
    behind[model] = "new"
    tasks += await begun(*(reply(call, chat("0", model="a/x"), world.scope()) for _ in range(2)))
    script.gate.set()
    assert {got.text for got in await asyncio.gather(*tasks)} == {"by old"}
    asked, answer = script.models.count(model), by()
    got = [await reply(call, chat(str(i), model="a/x"), world.scope()) for i in (1, 2, 3)]
    assert ([one.text for one in got], script.models.count(model) - asked) == (["by new"] * 3, 3)


def test_an_identity_is_of_what_stands_there_now():
    behind = {"acme/m": "old"}
    cards = [ProviderCard("acme", base_url=f"https://{name}.example") for name in "ab"]
    first = Services(catalog=Catalog({"acme": cards[0]}), local_identity=behind.get)
    second = replace(first, catalog=Catalog({"acme": cards[1]}))
    found = [services.identity("acme/m") for services in (first, second, first)]
    behind["acme/m"] = "new"
    found += [services.identity("acme/m") for services in (first, second)]
    assert (found[0] == found[2], len(set(found))) == (True, 4)


@pytest.mark.parametrize("more", [{}, {"fallback": ["b/x"]}])
async def test_who_calls_after_a_model_was_replaced_joins_no_call_from_before(world, more):
    model = "b/x" if more else "a/x"
    behind, services = replaceable(world, "a/x", "b/x")
    answers = iter([(Text(f"by {name}"), Finish("stop")) for name in ("old", "new")])
    script = world.script(lambda r: [ProviderFailure("auth", "no")] if r.model != model else next(answers))
    script.gate = asyncio.Event()
    call = chain({"cache": True, **more}, script, services)
    tasks = await begun(*(reply(call, chat(model="a/x"), world.scope()) for _ in range(2)))
    behind[model] = "new"
    tasks += await begun(*(reply(call, chat(model="a/x"), world.scope()) for _ in range(2)))
    script.gate.set()
    assert [got.text for got in await asyncio.gather(*tasks)] == ["by old", "by old", "by new", "by new"]
    assert (await reply(call, chat(model="a/x"), world.scope())).text == "by new"
    assert script.models.count(model) == 2


async def test_vectors_of_a_model_that_was_replaced_meanwhile_are_not_kept(world):
    behind, services = replaceable(world, "acme/e")
    script = world.script((Vectors(np.ones((1, 2), "<f4")), Finish("stop")))
    script.gate = asyncio.Event()
    call = chain({"cache": {"replies": False}}, script, services)
    tasks = await begun(*(reply(call, Embed("acme/e", (text,)), world.scope()) for text in "ab"))
    behind["acme/e"] = "new"
    script.gate.set()
    await asyncio.gather(*tasks)
    for text, asked in (("a", 3), ("b", 4), ("b", 4)):
        await reply(call, Embed("acme/e", (text,)), world.scope())
        assert len(script.requests) == asked


@pytest.mark.parametrize("simulated", [True, False])
async def test_a_hit_tells_whether_its_stream_was_simulated(world, simulated):
    call = chain({"cache": True}, world.script((*GOOD, Meta(simulated=simulated))), world.services)
    told = [(await reply(call, chat(), world.scope())).simulated for _ in range(2)]
    assert told == [simulated, simulated]


async def test_a_row_of_before_streams_were_told_to_be_simulated_is_read(world):
    script = world.script(GOOD)
    call = chain({"cache": True}, script, world.services)
    await collect(call, chat(), world.scope())
    row = dict(world.services.store.get(digest(chat())))
    assert row.pop("simulated") is False
    world.services.store.put(digest(chat()), row)
    assert (await reply(call, chat(), world.scope())).text == "ok"
    assert len(script.requests) == 1


async def test_events_of_miss_and_hit(world):
    call = chain({"cache": True}, world.script(GOOD), world.services)
    for _ in range(2):
        await collect(call, chat(), world.scope())
    key = digest(chat())
    assert world.told(CacheMiss) == [CacheMiss("ask", 100.0, key, "absent")]
    assert world.told(CacheHit) == [CacheHit("ask", 100.0, key, "call", Decimal("0.01"))]


@pytest.mark.parametrize("policies", [{}, {"cache": False}, {"cache": None}])
async def test_calls_are_not_cached_unless_asked_for(world, policies):
    script = world.script(GOOD)
    call = chain(policies, script, world.services)
    for _ in range(2):
        await collect(call, chat(), world.scope())
    assert len(script.requests) == 2
    assert world.told(CacheHit, CacheMiss) == []


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (GOOD, True),
        ((Text("cut"), Finish("length")), True),
        ((ToolCall(0, "i", "f", "{}"), Finish("tool_calls")), True),
        ((Finish("stop"),), False),
        ((Text(""), Finish("stop")), False),
        ((Text("half"), Finish("error")), False),
        ((Text("no"), Finish("content_filter")), False),
        ((Text("half"), ProviderFailure("stream_interrupted", "cut")), False),
    ],
)
async def test_what_is_kept(world, answer, kept):
    script = world.script(answer)
    call = chain({"cache": True, "retry": False}, script, world.services)
    for _ in range(2):
        with suppress(ProviderFailure):
            await collect(call, chat(), world.scope())
    assert len(script.requests) == (1 if kept else 2)


async def test_a_restart_is_forgotten_before_it_is_kept(world):
    script = world.script([Text("half"), Restart(), *GOOD])
    call = chain({"cache": True}, script, world.services)
    await collect(call, chat(), world.scope())
    assert (await reply(call, chat(), world.scope())).text == "ok"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (chat(), chat(), True),
        (chat(), chat("other"), False),
        (chat(), chat(model="acme/n"), False),
        (chat(), replace(chat(), stream=True), True),
        (chat(), replace(chat(), extra={"x": 1}), False),
    ],
)
async def test_what_the_key_holds(world, first, second, same):
    script = world.script(GOOD)
    call = chain({"cache": True}, script, world.services)
    for request in (first, second):
        await collect(call, request, world.scope())
    assert len(script.requests) == (1 if same else 2)


async def test_the_attempt_of_a_region_is_in_the_key(world):
    script = world.script(GOOD)
    call = chain({"cache": True}, script, world.services)
    for salt in ("", "2", "3", "2"):
        await collect(call, chat(), world.scope(salt=salt))
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("read", "write", "refresh", "requests", "reasons"),
    [
        (True, True, False, 1, ["absent"]),
        (True, True, True, 3, ["refresh"] * 3),
        (False, True, False, 3, []),
        (True, False, False, 3, ["absent"] * 3),
    ],
)
async def test_reading_and_writing_can_be_switched_off(world, read, write, refresh, requests, reasons):
    services = replace(world.services, read_cache=read, write_cache=write)
    script = world.script(GOOD)
    call = chain({"cache": True}, script, services)
    for _ in range(3):
        await collect(call, chat(), world.scope(refresh=refresh))
    assert len(script.requests) == requests
    assert [event.reason for event in world.told(CacheMiss)] == reasons
    assert (services.store.get(digest(chat())) is not None) == write


@pytest.mark.parametrize(
    "stored",
    [
        *[1, "text", [], {}, {"version": 99}, {"version": 1}, {"version": 1, "kind": "embed"}],
        {"version": 2, "kind": "call", "text": 1},
        {"version": 2, "kind": "embed"},
    ],
)
async def test_what_cannot_be_read_is_a_miss(world, stored):
    world.services.store.put(digest(chat()), stored)
    script = world.script(GOOD)
    assert (await reply(chain({"cache": True}, script, world.services), chat(), world.scope())).text == "ok"
    assert [event.reason for event in world.told(CacheMiss)] == ["unreadable"]


async def test_the_key_names_the_model_that_answered(world):
    script = world.script(lambda r: [ProviderFailure("auth", "no")] if r.model == "a/x" else GOOD)
    await collect(chain({"cache": True, "fallback": ["b/x"]}, script, world.services), chat(model="a/x"), world.scope())
    assert world.services.store.get(digest(chat(model="a/x"))) is None
    assert world.services.store.get(digest(chat(model="b/x")))["model"] == "b/x"


@pytest.mark.parametrize("readers", [1, 3])
async def test_everyone_who_shares_a_request_keeps_the_answer_under_its_model(world, readers):
    """A reader of a shared request is not told `ModelChosen`; the next run must not find a's key filled by b."""
    script = world.script(lambda r: [ProviderFailure("auth", "no")] if r.model == "a/x" else GOOD)
    script.gate = asyncio.Event()
    call = chain({"cache": True, "fallback": ["b/x"]}, script, world.services)
    tasks = [asyncio.ensure_future(reply(call, chat(model="a/x"), world.scope())) for _ in range(readers)]
    for _ in range(5):
        await asyncio.sleep(0)
    script.gate.set()
    assert [got.answered_by for got in await asyncio.gather(*tasks)] == ["b/x"] * readers
    assert script.models == ["a/x", "b/x"]
    assert world.services.store.get(digest(chat(model="a/x"))) is None
    assert (await reply(call, chat(model="a/x"), world.scope())).answered_by == "b/x"


def acme(card=None, model=None):
    return Catalog({"acme": ProviderCard("acme", **card or {}, models={"m": ModelCard("m", **model or {})})})


@pytest.mark.parametrize("request_", [chat(), Embed("acme/m", ("a",))], ids=["call", "vectors"])
@pytest.mark.parametrize(
    ("other", "requests"),
    [
        (acme(), 1),
        (acme({"docs": "https://elsewhere.example"}), 1),
        (acme({"base_url": "https://two.example"}), 2),
        (acme({"wire": {"chat": "anthropic_messages"}}), 2),
        (acme({"headers": {"x-version": "2"}}), 2),
        (acme({"query": {"api-version": "2"}}), 2),
        (acme({"quirks": {"word": True}}), 2),
        (acme(model={"quirks": {"word": True}}), 2),
    ],
)
async def test_an_answer_of_another_server_is_another_answer(world, request_, other, requests):
    script = world.script(lambda r: vectors_of(r) if isinstance(r, Embed) else GOOD)
    for catalog in (acme(), other, acme()):
        await collect(chain({"cache": True}, script, replace(world.services, catalog=catalog)), request_, world.scope())
    assert len(script.requests) == requests


async def test_other_rules_of_the_mock_are_another_answer(world):
    script = world.script(GOOD)
    for rules in ("one", "two", "one"):
        services = replace(world.services, local_identity=lambda model, rules=rules: f"{model} by {rules}")
        await collect(chain({"cache": True}, script, services), chat(), world.scope())
    assert len(script.requests) == 2


async def test_candidates_are_looked_up_in_order(world):
    both = chain({"cache": True}, world.script([Text("of b"), *GOOD]), world.services)
    await collect(both, chat(model="b/x"), world.scope())
    call = chain({"cache": True, "fallback": ["b/x"]}, world.script([Text("of a"), *GOOD]), world.services)
    assert (await reply(call, chat(model="a/x"), world.scope())).text == "of bok"
    alone = chain({"cache": True}, world.script([Text("of a"), *GOOD]), world.services)
    await collect(alone, chat(model="a/x"), world.scope())
    assert (await reply(call, chat(model="a/x"), world.scope())).text == "of aok"


async def test_reranking_is_cached_when_asked_for(world):
    script = world.script([Scores([0], [1.0]), Finish(None)])
    request = Rerank("acme/r", "q", ("d",))
    call = chain({"cache": True}, script, world.services)
    for _ in range(2):
        assert (await reply(call, request, world.scope())).scores == Scores([0], [1.0])
    assert len(script.requests) == 1


async def test_tool_calls_come_back_whole(world):
    call = chain({"cache": True}, world.script(RICH), world.services)
    for _ in range(2):
        assert (await reply(call, chat(), world.scope())).tool_calls == (ToolUse("search", '{"q": 1}', "id0", "seal3"),)


# Vectors, for each text apart


def vectors_of(request):
    rows = [[float(len(text)), float(ord(text[0])), 0.1] for text in request.texts]
    return [Vectors(rows), Usage(len(request.texts)), Finish("stop"), Meta("e-1")]


@pytest.mark.parametrize(
    ("first", "second", "asked"),
    [
        (("a", "bb"), ("a", "bb"), None),
        (("a", "bb"), ("bb", "a"), None),
        (("a", "bb"), ("bb", "ccc", "a"), ("ccc",)),
        (("a",), ("b", "b", "a", "b"), ("b",)),
    ],
)
async def test_only_unknown_texts_are_asked_for(world, first, second, asked):
    script = world.script(vectors_of)
    call = chain({}, script, world.services)
    await collect(call, Embed("acme/e", first), world.scope())
    got = await reply(call, Embed("acme/e", second), world.scope())
    assert [request.texts for request in script.requests[1:]] == ([asked] if asked else [])
    expected = np.array([[len(text), ord(text[0]), 0.1] for text in second], dtype="float32")
    assert np.array_equal(np.asarray(got.vectors), expected)
    assert got.usage.input == len(asked or ())
    assert got.model == "e-1"


async def test_events_of_a_batch(world):
    call = chain({}, world.script(vectors_of), world.services)
    await collect(call, Embed("acme/e", ("a", "b")), world.scope())
    await collect(call, Embed("acme/e", ("a", "b", "c")), world.scope())
    assert len(world.told(CacheMiss)) == 2
    assert [(event.kind, event.saved) for event in world.told(CacheHit)] == [("embed", Decimal("0.002"))]


@pytest.mark.parametrize(
    ("change", "requests"),
    [({}, 1), ({"dimensions": 2}, 2), ({"model": "acme/f"}, 2), ({"extra": {"x": 1}}, 2)],
)
async def test_what_the_key_of_a_vector_holds(world, change, requests):
    script = world.script(vectors_of)
    call = chain({}, script, world.services)
    request = Embed("acme/e", ("a",))
    await collect(call, request, world.scope())
    await collect(call, replace(request, **change), world.scope(salt="2"))
    assert len(script.requests) == requests


@pytest.mark.parametrize(("policies", "local"), [({"cache": False}, False), ({}, True), ({"cache": True}, True)])
async def test_vectors_that_are_not_cached(world, policies, local):
    services = replace(world.services, catalog=Catalog({"acme": ProviderCard("acme", local=local)}))
    script = world.script(vectors_of)
    call = chain(policies, script, services)
    for _ in range(2):
        await collect(call, Embed("acme/e", ("a",)), world.scope())
    assert len(script.requests) == 2


async def test_vectors_of_different_lengths_are_asked_for_again(world):
    script = world.script(vectors_of)
    call = chain({}, script, world.services)
    await collect(call, Embed("acme/e", ("a", "b")), world.scope())
    key = digest(Embed("acme/e", ("a",)))
    world.services.store.put(key, {**world.services.store.get(key), "vector": b"\0" * 4})
    assert np.asarray((await reply(call, Embed("acme/e", ("a", "b")), world.scope())).vectors).shape == (2, 3)
    assert script.requests[-1].texts == ("a", "b")


async def test_all_are_asked_for_again_where_stored_vectors_are_not_as_long_as_those_that_came(world):
    long = lambda request: [Vectors([[5.0] * 8] * len(request.texts)), Usage(1), Finish("stop")]  # noqa: E731
    script = world.script(vectors_of, long)
    call = chain({}, script, world.services)
    await collect(call, Embed("acme/e", ("a",)), world.scope())
    for _ in range(2):
        assert np.asarray((await reply(call, Embed("acme/e", ("a", "b")), world.scope())).vectors).shape == (2, 8)
    assert [request.texts for request in script.requests] == [("a",), ("b",), ("a", "b")]


async def test_too_few_vectors_are_an_error(world):
    call = chain({"retry": False}, world.script([Vectors([[1.0]]), Finish("stop")]), world.services)
    with pytest.raises(ProviderFailure, match="1 vectors for 2 texts"):
        await collect(call, Embed("acme/e", ("a", "b")), world.scope())


@pytest.mark.parametrize(
    ("known", "asked"),
    [
        ((), [("a/e", ("a", "b")), ("b/e", ("a", "b"))]),
        (("a",), [("a/e", ("b",)), ("b/e", ("b",)), ("b/e", ("a", "b"))]),
    ],
)
async def test_vectors_of_two_models_are_never_mixed(world, known, asked):
    """Where another model answers for the missing texts, it is asked for the known ones too."""
    await collect(chain({}, world.script(vectors_of), world.services), Embed("a/e", known), world.scope())
    script = world.script(lambda r: [ProviderFailure("auth", "no")] if r.model == "a/e" else of_b(r))
    of_b = lambda r: [Vectors([[0.0, 0.0, 9.0]] * len(r.texts)), Finish("stop")]  # noqa: E731
    call = chain({"fallback": ["b/e"]}, script, world.services)
    got = await reply(call, Embed("a/e", ("a", "b")), world.scope())
    assert [(request.model, request.texts) for request in script.requests] == asked
    assert (np.asarray(got.vectors)[:, 2].tolist(), got.answered_by) == ([9, 9], "b/e")
    assert world.services.store.get(digest(Embed("a/e", ("b",)))) is None
    assert world.services.store.get(digest(Embed("b/e", ("b",))))["model"] == "b/e"


async def test_no_texts(world):
    script = world.script(vectors_of)
    got = await reply(chain({}, script, world.services), Embed("acme/e", ()), world.scope())
    assert len(got.vectors) == 0
    assert script.requests == []
