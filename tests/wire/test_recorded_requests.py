"""Recorded requests, where the machine has them: through the neutral form and back they say the same."""

import copy
import json
from collections import Counter

import pytest

from flowllm.backends.wire import find_wire
from flowllm.core.card import ProviderCard
from tests.wire.recorded_requests import READERS, Unsaid
from tests.wire.replay import WIRES
from tests.wire.test_corpus import CASES, CORPUS

HAVING = [case for case in CASES if case["protocol"] in READERS and "model" in (case["request"].get("json") or {})]


def again(case):
    """The body that comes out at the other end, and the recorded one, in one spelling."""
    read, spell = READERS[case["protocol"]]
    recorded = case["request"]["json"]
    request, quirks = read(copy.deepcopy(recorded))
    parts = find_wire(WIRES[case["protocol"]], ProviderCard("p", quirks=quirks)).encode(request)
    return spell(json.loads(parts.body)), spell(copy.deepcopy(recorded))


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_recorded_requests_are_counted(capsys):
    said, unsaid = Counter(), Counter()
    for case in HAVING:
        try:
            again(case)
            said[case["protocol"]] += 1
        except Unsaid as reason:
            unsaid[f"{case['protocol']} {reason}"] += 1
    with capsys.disabled():
        print("\nrequests through the neutral form:", ", ".join(f"{k} {v}" for k, v in sorted(said.items())))  # noqa: T201
        print("not sayable:", ", ".join(f"{k} {v}" for k, v in sorted(unsaid.items())))  # noqa: T201
    assert said.total() > 2 * unsaid.total()


@pytest.mark.parametrize("case", HAVING, ids=lambda case: case["id"])
def test_a_recorded_request_survives_the_neutral_form(case):
    try:
        sent, recorded = again(case)
    except Unsaid as reason:
        pytest.skip(f"not sayable: {reason}")
    assert sent == recorded
