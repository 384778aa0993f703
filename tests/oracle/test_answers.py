"""Recorded answers: the vendor's own client reads the same out of them as the wire does."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.oracle.answers import READERS, arguments_of
from tests.wire.replay import body_of, replay
from tests.wire.test_corpus import CORPUS, OURS

ROOT = Path(__file__).resolve().parents[2]


def own(provider):
    """Answers of the vendor itself, in its own format."""
    return [
        case
        for case in OURS
        if case["provider"] == provider
        and case["protocol"] in READERS
        and case["protocol"].startswith(provider)
        and case["expected"]["kind"] == "chat"
        and case["response"]["status"] == 200
    ]


def said(provider, rows):
    python = ROOT / ".oracles" / provider / "bin/python"
    if not python.exists():
        pytest.skip(f"run bin/oracle {provider} once")
    told = subprocess.run(
        [python, "-m", "tests.oracle.answers"], input="\n".join(map(json.dumps, rows)), capture_output=True, text=True,
        cwd=ROOT, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in told.stdout.splitlines()]


def ours(case):
    reply = replay(case, [body_of(case)])
    usage = reply.usage
    return {
        "text": reply.text,
        "calls": [[call.name, arguments_of(call.arguments)] for call in reply.tool_calls],
        "input": usage and usage.input,
        "output": usage and usage.output,
    }


@pytest.mark.peers
@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_the_vendors_own_client_reads_the_same(provider):
    cases = own(provider)
    rows = [
        {
            "protocol": case["protocol"],
            "stream": bool(case.get("stream")),
            "content_type": "text/event-stream" if case.get("stream") else "application/json",
            "body": body_of(case).decode(),
        }
        for case in cases
    ]
    theirs = said(provider, rows)
    assert len(theirs) == len(cases) > 0
    other = {case["id"]: (ours(case), told) for case, told in zip(cases, theirs, strict=True) if ours(case) != told}
    assert other == {}
