"""Claims of provider files and their evidence: no tick outranks it, and nothing that was recorded is left out."""

from collections import Counter

import pytest

from flowllm.core.card import ProviderCard
from tests.docs.evidence import RECORDED_AS, accepted, recorded, shipped, tick

CARDS = shipped()
RECORDED, ACCEPTED = recorded(), accepted()
CHAT_FEATURES = ("streaming", "tools", "parallel_tools", "json_schema", "images", "reasoning", "caching", "citations")
CARD = ProviderCard("p", wire={"chat": "w"}, features={"chat": {"tools": True, "images": False}})
SEEN, TAKEN = Counter({("p", "w", "tools"): 2}), Counter({("p", "w", "tools"): 7})
ELSEWHERE = Counter(
    {("p", "other", "tools"): 2, ("q", "w", "tools"): 2, ("p", "w", "images"): 2, ("p", "w", "citations"): 2}
)


@pytest.mark.parametrize(
    ("word", "recordings", "types", "cell"),
    [
        ("tools", SEEN, TAKEN, "recorded 2"),
        ("tools", Counter(), TAKEN, "types 7"),
        ("tools", Counter(), Counter(), "documented"),
        ("tools", ELSEWHERE, ELSEWHERE, "documented"),
        ("images", ELSEWHERE, ELSEWHERE, "no"),
        ("citations", ELSEWHERE, ELSEWHERE, ""),
        ("chat", Counter(), Counter(), "documented"),
    ],
)
def test_a_claim_is_ticked_by_its_best_evidence(word, recordings, types, cell):
    assert tick(CARD, "chat", word, recordings, types) == cell


def test_a_task_that_a_provider_does_not_do_has_no_tick():
    assert tick(CARD, "embed", "embed", SEEN, TAKEN) == ""


@pytest.mark.parametrize("name", CARDS)
def test_what_was_recorded_is_claimed(name):
    card = CARDS[name]
    wire = card.wire.get("chat")
    seen = {word for word in CHAT_FEATURES if RECORDED[RECORDED_AS.get(name, name), wire, word]}
    assert {word: card.supports("chat", word) for word in seen} == dict.fromkeys(seen, True)


@pytest.mark.parametrize("name", CARDS)
def test_every_provider_says_who_it_is_and_when_that_was_looked_at(name):
    card = CARDS[name]
    assert card.title
    assert card.local or card.checked


def test_the_evidence_is_there():
    assert RECORDED["anthropic", "anthropic_messages", "tools"] >= 1
    assert ACCEPTED["bedrock", "bedrock_converse", "images"] >= 1
    assert ACCEPTED["bedrock", "bedrock_converse", "chat"] >= 30
