import math
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.mock import MockBackend
from flowllm.backends.mock_rules import parse_rules
from flowllm.core.delta import Fold, Text, Token
from flowllm.core.errors import PipelineInvalid, ProviderFailure
from flowllm.core.request import Chat, Embed, Message, Rerank, Sampling
from flowllm.core.request import Text as TextPart
from flowllm.core.scope import Scope, SystemClock


def chat(text="hello there", model="mock/any", stream=False, system=None):
    messages = [Message("user", (TextPart(text),))]
    if system:
        messages.insert(0, Message("system", (TextPart(system),)))
    return Chat(model, tuple(messages), Sampling(), stream=stream)


async def ask(rules, request, scope=None):
    return await asked(MockBackend(rules), request, scope)


async def outcome(rules, request):
    try:
        return (await ask(rules, request)).text
    except ProviderFailure as failure:
        return failure


async def asked(backend, request, scope=None):
    folded = Fold()
    async for delta in backend(request, scope or Scope()):
        folded.add(delta)
    return folded.reply()


@pytest.mark.parametrize("stream", [False, True])
@given(text=st.text())
async def test_echo_answers_with_the_last_user_message_exactly(stream, text):
    reply = await ask([], chat(text, "mock/echo", stream, system="be brief"))
    assert reply.text == text
    assert (reply.finish, reply.model) == ("stop", "echo")


@pytest.mark.parametrize("stream", [False, True])
async def test_every_word_is_certain_where_log_probabilities_are_asked_for(stream):
    request = chat("one two", "mock/echo", stream)
    assert (await ask([], request)).logprobs is None
    told = (await ask([], replace(request, sampling=Sampling(logprobs=2)))).logprobs
    assert told == (Token("one", 0.0), Token(" two", 0.0))


async def test_a_stream_comes_in_pieces():
    backend = MockBackend([{"reply": "one two  three\n"}])
    pieces = [d.text async for d in backend(chat(stream=True), Scope()) if isinstance(d, Text)]
    assert pieces == ["one", " two", "  three\n"]


@pytest.mark.parametrize(
    ("rule", "answered"),
    [
        ({}, True),
        ({"match": "hello"}, True),
        ({"match": "^user: hello"}, True),
        ({"match": "(?s)system: terse.*user: hello"}, True),
        ({"match": "HELLO"}, False),
        ({"model": "any"}, True),
        ({"model": "other"}, False),
        ({"match": {"path": "$.messages[1].content"}}, True),
        ({"match": {"path": "$.messages[2]"}}, False),
        ({"match": {"path": "$.messages[0].role", "equals": "system"}}, True),
        ({"match": {"path": "$.messages[0].role", "equals": "user"}}, False),
        ({"match": {"path": "$.messages[1].content", "matches": "th?ere"}}, True),
        ({"match": {"path": "$.messages[1].content", "matches": "nowhere"}}, False),
        ({"match": {"path": "$.temperature"}}, False),
    ],
)
async def test_a_rule_answers_what_it_matches(rule, answered):
    rules = [rule | {"reply": "yes"}, {"reply": "no"}]
    assert (await ask(rules, chat(system="terse"))).text == ("yes" if answered else "no")


async def test_replies_follow_each_other_and_the_last_stays():
    backend = MockBackend([{"replies": ["first", "second"]}])
    assert [(await asked(backend, chat())).text for _ in range(3)] == ["first", "second", "second"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("reply", "text", "calls", "usage"),
    [
        ("plain words", "plain words", 0, (2, 2)),
        ({"score": 1}, '{"score":1}', 0, (2, 4)),
        ([1, 2], "[1,2]", 0, (2, 5)),
        ({"text": "t", "usage": {"input": 7, "output": 9}}, "t", 0, (7, 9)),
        ({"tool_calls": [{"name": "f", "arguments": {"a": 1}}]}, "", 1, (2, 0)),
        ({"text": "x", "extra": 1}, '{"text":"x","extra":1}', 0, (2, 8)),
    ],
)
async def test_a_reply_is_text_json_or_a_whole_answer(stream, reply, text, calls, usage):
    found = await ask([{"reply": reply}], chat(stream=stream))
    assert (found.text, len(found.tool_calls)) == (text, calls)
    assert (found.usage.input, found.usage.output, found.usage.estimated) == (*usage, False)
    assert found.finish == ("tool_calls" if calls else "stop")


@pytest.mark.parametrize(
    ("error", "code", "retry_after", "retryable"),
    [
        ({"status": 429, "retry_after": 2}, "rate_limited", 2, True),
        ({"status": 429, "code": "insufficient_quota"}, "quota", None, False),
        ({"status": 503}, "server_error", None, True),
        ({"status": 529}, "overloaded", None, True),
        ({"status": 401}, "auth", None, False),
        ({"status": 400, "code": "context_length_exceeded"}, "context_too_long", None, False),
    ],
)
async def test_an_error_is_judged_like_a_real_one(error, code, retry_after, retryable):
    with pytest.raises(ProviderFailure) as caught:
        await ask([{"error": error}], chat())
    failure = caught.value
    assert (failure.code, failure.facts.retry_after, failure.retryable) == (code, retry_after, retryable)
    assert (failure.facts.provider, failure.facts.model) == ("mock", "mock/any")


async def test_an_answer_cut_anywhere_before_its_end_mark_is_never_a_success():
    whole = MockBackend([{"reply": "one two three"}])
    request = chat(stream=True)
    reply = await asked(whole, request)
    outcomes = [await outcome([{"reply": "one two three", "cut": cut}], request) for cut in range(2000)]
    broken = [o for o in outcomes if isinstance(o, ProviderFailure)]
    assert {failure.code for failure in broken} == {"stream_interrupted"}
    assert all(reply.text.startswith(failure.facts.partial_text) for failure in broken)
    assert {o for o in outcomes if isinstance(o, str)} == {"one two three"}


async def test_a_whole_answer_that_is_cut_is_invalid():
    with pytest.raises(ProviderFailure, match="no JSON") as caught:
        await ask([{"reply": "one two three", "cut": 40}], chat())
    assert caught.value.code == "invalid_response"


async def test_latency_is_slept_on_the_scope_s_clock():
    class Clock(SystemClock):
        slept = 0.0

        async def sleep(self, seconds):
            self.slept += seconds

    clock = Clock()
    await ask([{"reply": "x", "latency": 12.5}], chat(), Scope(clock=clock))
    await ask([{"reply": "x", "latency": "500ms"}], chat(), Scope(clock=clock))
    assert clock.slept == 13.0


@pytest.mark.parametrize(("options", "capture"), [({}, False), ({"capture": True}, True)])
async def test_requests_are_kept_where_that_is_asked_for(options, capture):
    backend = MockBackend(**options)
    request = chat(model="mock/echo")
    await asked(backend, request)
    assert backend.requests == ([request] if capture else [])


async def test_no_rule_names_the_rules_there_are():
    with pytest.raises(ProviderFailure) as caught:
        await ask([{"match": "weather", "reply": "sun"}], chat())
    assert caught.value.code == "not_found"
    assert "weather" in caught.value.hint


async def test_embeddings_are_near_where_words_are_shared():
    reply = await ask([], Embed("mock/any", ("the red car", "a red car", "quantum physics"), 32))
    one, two, three = reply.vectors
    assert [len(v) for v in reply.vectors] == [32] * 3
    assert math.isclose(sum(x * x for x in one), 1.0)
    assert sum(map(float.__mul__, one, two)) > sum(map(float.__mul__, one, three))


async def test_reranking_puts_shared_words_first():
    reply = await ask([], Rerank("mock/any", "red car", ("blue bus", "a red car", "red bus"), 2))
    assert list(reply.scores.indexes) == [1, 2]


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        ({"reply": "x", "error": {"status": 500}}, "bad_value", "exactly one"),
        ({"match": "x"}, "bad_value", "exactly one"),
        ({"replies": []}, "bad_value", "exactly one"),
        ({"match": "(", "reply": "x"}, "bad_value", "no regular expression"),
        ({"replly": "x"}, "unknown_field", "a mock rule has no `replly`"),
        ({"reply": "x", "latency": "soon"}, "bad_value", "`soon` is no length of time such as 500ms"),
        ({"error": {"status": "soon"}}, "bad_value", "`status` is a whole number, not `soon`"),
        ({"error": {"statu": 1}}, "missing_field", "`error` needs `status`"),
        ({"match": {"pth": "x"}, "reply": "x"}, "unknown_field", "`match` has no `pth`"),
        ({"match": 3, "reply": "x"}, "bad_value", "`match` is a text or a mapping, not `3`"),
        ("hello", "bad_value", "a mock rule is a mapping, not `hello`"),
    ],
)
def test_a_rule_that_cannot_be_is_named(rule, code, words):
    with pytest.raises(PipelineInvalid) as caught:
        parse_rules([{"reply": "fine"}, rule])
    assert code in {problem.code for problem in caught.value.problems}
    assert all(problem.where.startswith("mock[1]") and problem.hint for problem in caught.value.problems)
    assert re.search(words, str(caught.value))


@pytest.mark.parametrize(
    ("rules", "same"),
    [
        ([{"match": "a", "reply": {"n": 1}}], True),
        ([{"match": "a", "reply": {"n": 2}}], False),
        ([{"match": "b", "reply": {"n": 1}}], False),
        ([{"match": "a", "reply": {"n": 1}}, {"reply": "x"}], False),
        ([{"match": "a", "reply": {1: None}}], False),
        ([], False),
    ],
)
def test_its_identity_is_that_of_its_rules(rules, same):
    own = MockBackend([{"match": "a", "reply": {"n": 1}}])
    assert (MockBackend(rules).identity == own.identity) is same


def test_a_rule_of_a_file_has_its_place(tmp_path):
    from flowllm.cli.opening import read_rules

    file = tmp_path / "mock.yaml"
    file.write_text("mock:\n  - {reply: fine}\n  - {reply: x, latency: soon}\n  - reply: x\n    modell: y\n")
    with pytest.raises(PipelineInvalid) as caught:
        read_rules(str(file))
    assert [(p.origin.line, p.origin.column, p.where) for p in caught.value.problems] == [
        (3, 25, "mock[1].latency"),
        (5, 5, "mock[2].modell"),
    ]
