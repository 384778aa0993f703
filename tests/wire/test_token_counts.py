"""Counts of recorded requests beside what their providers counted, on the half that no number was fitted to."""

import hashlib
import math
import os
import statistics
from typing import NamedTuple

import pytest

from flowllm.text.token_families import GENERAL, family_of
from flowllm.text.tokens import count_tokens
from tests.wire.counts import cases

CORPUS = os.environ.get("FLOWLLM_WIRE_CORPUS", "")
FORMATS = {"openai-chat", "anthropic-messages", "gemini-generate", "mistral-chat"}
UNSEEN = {"vision", "builtin-tools", "structured", "citations"}
"""What providers add to a request that shows in no text of it."""
LONG = 200
WORDS = ("content", "text", "parts", "thinking", "arguments")
"""Where a part of a request has its texts."""


class Held(NamedTuple):
    """A case of the other half: ``text`` is the estimate of its texts alone, without what is written around them."""

    family: str
    script: str
    name: str
    estimate: int
    true: int
    tools: bool
    text: int


def texts(value):
    """All texts of a part of a request, one after another."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return " ".join(map(texts, value))
    if isinstance(value, dict):
        return " ".join(texts(value[word]) for word in WORDS if word in value)
    return ""


def asked(case):
    """The model, messages and tools of a recorded request."""
    body = case["request"]["json"]
    turns = body.get("messages") or body.get("contents") or []
    system = body.get("system") or body.get("systemInstruction")
    messages = [{"role": "user", "content": texts(turn)} for turn in ([system] if system else []) + list(turns)]
    model = body.get("model") or case["request"]["path"].rpartition("/")[2]
    return f"{case['provider']}/{model}", messages, body.get("tools") or []


def held():
    """Cases of the other half, each with its family, its estimate and what the provider counted."""
    for case in cases(CORPUS):
        usage = case["expected"].get("usage") or {}
        plain = case["protocol"] in FORMATS and isinstance(case["request"].get("json"), dict)
        if not plain or not usage.get("input") or UNSEEN & {case["feature"], *case["tags"]}:
            continue
        model, messages, tools = asked(case)
        family = family_of(model)
        if family is GENERAL or hashlib.sha256(case["id"].encode()).digest()[0] % 2 == 0:
            continue
        if any("elided" in rule for rule in case.get("scrubbed", ())):
            continue
        estimate = count_tokens(messages, model, tools=tools).n
        text = sum(count_tokens(message["content"], model).n for message in messages)
        yield Held(family.name, script_of(messages), case["id"], estimate, usage["input"], bool(tools), text)


def script_of(messages):
    """Latin, or Other where most letters are not, by the texts of a chat."""
    letters = [sign for message in messages for sign in message["content"] if sign.isalpha()]
    return "Latin" if sum(sign < "\u02c0" for sign in letters) * 2 >= len(letters) else "other"


def quantile(values, share):
    """The smallest value that so large a share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * share) - 1)]


def rows(found):
    """Families and scripts with the errors of their estimates and the share that is no text of the request."""
    groups = {}
    for case in found:
        groups.setdefault((case.family, case.script, "tools" if case.tools else "plain"), []).append(case)
    for (family, script, kind), cases_ in sorted(groups.items()):
        errors = [abs(case.estimate / case.true - 1) for case in cases_]
        wrapped = [1 - min(1, case.text / case.true) for case in cases_]
        yield family, script, kind, len(cases_), quantile(errors, 0.5), quantile(errors, 0.95), quantile(wrapped, 0.5)


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_estimates_of_recorded_requests():
    found = sorted(held())
    for case in found:
        off = f"{case.estimate:6} of {case.true:6} {case.estimate / case.true - 1:+.0%}"
        print(f"{case.family:12} {case.name:60} {off}")  # noqa: T201
    for family, script, kind, number, half, most, wrapped in rows(found):
        told = f"p50 {half:4.0%} p95 {most:5.0%} of {number}, {wrapped:.0%} of the tokens are no text"
        print(f"{family:12} {script:6} {kind:6} {told}")  # noqa: T201
    errors = [abs(case.estimate / case.true - 1) for case in found]
    far = [abs(case.estimate - case.true) for case in found if case.true < LONG and not case.tools]
    assert len(found) >= 20
    assert statistics.median(errors) <= 0.25
    assert statistics.median(far) <= 5
