"""What recorded answers cost by the registry: every one is priced or said to be unknown, and none twice."""

import os
import re
from collections import Counter
from decimal import Decimal
from urllib.parse import unquote

import pytest

from flowllm.api import Environment
from flowllm.core.errors import ProviderFailure
from flowllm.pricing.classes import disjoint
from flowllm.pricing.cost import pricing_of
from tests.wire.counts import cases
from tests.wire.replay import BODIES, body_of, covered, replay

CORPUS = os.environ.get("FLOWLLM_WIRE_CORPUS", "")
CASES = [case for case in (cases(CORPUS) if CORPUS else ()) if covered(case) and case["expected"]["kind"] not in BODIES]
IN_PATH = re.compile(r"/models?/([^/:?]+(?::\d+)?)")
ROUNDED = Decimal("0.00001")
PRICE = pricing_of(Environment().catalog)


def answered(case):
    """The usage of a recorded answer and the model that was asked; None where it is an error or counts nothing."""
    try:
        reply = replay(case, [body_of(case)])
    except ProviderFailure:
        return None
    sent = case.get("request") or {}
    place = IN_PATH.search(unquote(sent.get("url") or ""))
    asked = (sent.get("json") or {}).get("model") or (place and place[1]) or reply.model
    return reply.usage and (f"{case['provider']}/{asked}", reply.usage)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_every_recorded_answer_is_priced_in_disjoint_classes_or_unknown(case):
    if (found := answered(case)) is None:
        return
    model, usage = found
    classes, cost = disjoint(usage), PRICE(model, usage)
    billed = (usage.input, usage.output) if usage.billed_input is None else (usage.billed_input, usage.billed_output)
    assert sum(classes.counts.values()) == sum(count or 0 for count in billed) + usage.classes.get("citations", 0)
    assert classes.corrected == ((usage.cached_input or 0) + (usage.cache_write or 0) > (usage.input or 0))
    known = [line.amount for line in cost.items if line.amount is not None]
    assert cost.total is None or (cost.total == sum(known) and len(known) == len(cost.items))
    assert cost.total is None or cost.total > 0 or all(line.price == 0 for line in cost.items)


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_costs_that_providers_tell_are_shown_beside_ours(capsys):
    seen, rows = Counter(), []
    for case in CASES:
        found = answered(case)
        cost = found and PRICE(*found)
        seen["no usage" if cost is None else "unknown" if cost.total is None else "priced"] += 1
        if cost and cost.reported is not None:
            rows.append((case["id"], found[0], cost.total, cost.reported, at_the_maker(*found)))
    with capsys.disabled():
        print(f"\nrecorded costs: {dict(seen)}")  # noqa: T201
        for id_, model, ours, theirs, maker in rows:
            print(f"  {id_} {model}: ours {ours}, theirs {theirs}, at its maker {maker}")  # noqa: T201
    if not rows:
        pytest.skip("no recorded answer tells its own cost")
    assert all(isinstance(theirs, Decimal) for *_, theirs, _ in rows)
    # A recording is as old as its prices, and a router is paid for searches of its own: some may differ.
    same = [abs((maker or ours) - theirs) <= ROUNDED for *_, ours, theirs, maker in rows if ours or maker]
    assert sum(same) * 2 >= len(same)


def at_the_maker(model, usage):
    """What the model would cost where it is from; None where no router stands between."""
    return PRICE(model.removeprefix("openrouter/").replace("4.5", "4-5"), usage).total if "router" in model else None
