"""Counts of recorded requests beside what their providers counted, on the half that no number was fitted to."""

import hashlib
import os
import statistics

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
        elided = any("elided" in rule for rule in case.get("scrubbed", ()))
        if not elided:
            yield family.name, case["id"], count_tokens(messages, model, tools=tools).n, usage["input"], bool(tools)


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_estimates_of_recorded_requests():
    found = sorted(held())
    for family, name, estimate, true, _ in found:
        print(f"{family:12} {name:60} {estimate:6} of {true:6} {estimate / true - 1:+.0%}")  # noqa: T201
    errors = [abs(estimate / true - 1) for _, _, estimate, true, _ in found]
    far = [abs(estimate - true) for _, _, estimate, true, with_tools in found if true < LONG and not with_tools]
    assert len(found) >= 20
    assert statistics.median(errors) <= 0.25
    assert statistics.median(far) <= 5
