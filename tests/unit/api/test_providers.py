"""What is known of providers: which suits a need, why, and that knowing more never counts against one."""

import json

import pytest

from flowllm.api import Environment
from flowllm.api.providers import FEATURES, Wanted, provider_facts, read_needs, recommend
from flowllm.core.errors import UsageError

BASE = {
    "base_url": "https://api.acme.example/v1",
    "wire": {"chat": "openai_chat"},
    "auth": {"scheme": "bearer", "env": "ACME_KEY"},
}
SEEING = {"features": {"chat": {"tools": True, "images": True}}}
BLIND = {"features": {"chat": {"tools": True, "images": False}}}
LOCAL = {"base_url": "http://localhost:1/v1", "auth": {"scheme": "none"}, "free": True}
MODEL = {"models": {"eye": {"supports": ["tools", "images"]}}}


@pytest.fixture
def ranked(tmp_path, monkeypatch):
    """Recommend among providers of one's own alone."""

    def rank(cards, needs=("chat",), **wanted):
        folder = tmp_path / "providers"
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.yaml"):
            old.unlink()
        for name, more in cards.items():
            (folder / f"{name}.yaml").write_text(json.dumps({**BASE, **more}))
        found = recommend(Environment(project=tmp_path), Wanted(tuple(needs), **wanted))
        return {one.provider: one for one in found if one.provider in cards}

    monkeypatch.delenv("ACME_KEY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return rank


def test_who_is_known_to_do_it_goes_before_who_may(ranked):
    found = ranked({"acme-blind": BLIND, "acme-dark": {}, "acme-seeing": SEEING}, ("tools", "images"))
    assert list(found) == ["acme-seeing", "acme-dark"]
    assert (found["acme-seeing"].unknown, found["acme-dark"].unknown) == ((), ("tools", "images"))


def test_what_is_known_goes_before_a_higher_score(ranked):
    found = ranked({"acme-dark": LOCAL | {"checked": "2026-11-22"}, "acme-seeing": SEEING}, ("tools",))
    assert list(found) == ["acme-seeing", "acme-dark"]
    assert found["acme-dark"].score > found["acme-seeing"].score


def test_a_model_that_can_is_enough(ranked):
    found = ranked({"acme-m": {**BLIND, **MODEL}}, ("images",))
    assert "its model eye supports images" in [why for _, why in found["acme-m"].reasons]


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ({}, ["acme-here", "acme-far"]),
        ({"local": True}, ["acme-here"]),
        ({"free": True}, ["acme-here"]),
        ({"has_key": True}, ["acme-here"]),
    ],
)
def test_what_is_asked_for_is_had(ranked, wanted, names):
    assert list(ranked({"acme-far": {}, "acme-here": LOCAL}, **wanted)) == names


def test_a_key_counts_and_is_not_told(ranked, monkeypatch):
    before = ranked({"acme": SEEING})["acme"].score
    monkeypatch.setenv("ACME_KEY", "canary-secret-0123456789")
    after = ranked({"acme": SEEING}, has_key=True)["acme"]
    assert after.score == before + 5
    assert "canary" not in str(after.to_data())


@pytest.mark.parametrize("needs", [("chat",), ("tools",), ("tools", "images")])
@pytest.mark.parametrize(
    "more",
    [
        {"limits": {"texts": {"value": 1, "source": "https://acme.example/limits"}}},
        {"features": {"chat": {"tools": True, "images": True, "citations": False, "json_schema": False}}},
        {"status": "https://status.acme.example", "pricing": "https://acme.example/pricing"},
        {"checked": "2026-11-22"},
        {"models": {"m": {"price": {"input": 99}, "context": 1}}},
    ],
    ids=["a limit", "what it cannot", "pages", "a day", "a price"],
)
def test_what_is_documented_never_lowers_a_score(ranked, needs, more):
    found = ranked({"acme-said": SEEING | more, "acme-unsaid": SEEING}, needs)
    assert found["acme-said"].score >= found["acme-unsaid"].score


def test_the_score_is_the_sum_of_reasons_none_below_nought(ranked):
    for one in ranked({"acme": SEEING, "acme-here": LOCAL}, ("tools",)).values():
        assert one.score == sum(points for points, _ in one.reasons)
        assert min(points for points, _ in one.reasons) >= 0


def test_a_broken_file_is_left_out(ranked):
    assert list(ranked({"acme": {}, "acme-broken": {"wire": 5}})) == ["acme"]


def test_who_makes_answers_up_is_not_recommended(tmp_path):
    assert "mock" not in {one.provider for one in recommend(Environment(project=tmp_path), Wanted())}


@pytest.mark.parametrize(
    ("words", "needs"),
    [
        ((), ("chat",)),
        (("tools,vision",), ("tools", "images")),
        (("tools", " parallel-tools , tools"), ("tools", "parallel_tools")),
        (("embeddings,ranking",), ("embed", "rerank")),
    ],
)
def test_needs_are_read(words, needs):
    assert read_needs(words) == needs


def test_an_unknown_need_is_refused():
    with pytest.raises(UsageError, match="`tool` is neither a task nor a feature") as caught:
        read_needs(["tool"])
    assert caught.value.hint == "did you mean `tools`?"


def test_an_unknown_provider_is_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        provider_facts(Environment(project=tmp_path), "opnai")
    assert (caught.value.code, caught.value.hint) == ("unknown_provider", "did you mean `openai`?")


def test_facts_of_every_shipped_provider(tmp_path):
    environment = Environment(project=tmp_path)
    for name in environment.catalog.providers:
        facts = provider_facts(environment, name)
        assert facts["title"]
        assert {word for told in facts["features"].values() for word in told} <= set(FEATURES)
        assert set(facts["features"]) <= set(facts["tasks"]), name


CLOUD = LOCAL | {"free": True, "elsewhere": ["*-cloud"], "models": {"big-cloud": {"supports": ["images"]}, "small": {}}}


@pytest.mark.parametrize(
    ("needs", "wanted", "unknown"),
    [
        (("images",), {}, ()),
        (("images",), {"free": True}, ("images",)),
        (("images",), {"local": True}, ("images",)),
    ],
)
def test_what_a_server_asks_of_another_place_is_neither_free_nor_local(ranked, needs, wanted, unknown):
    (found,) = ranked({"acme-here": CLOUD}, needs, **wanted).values()
    assert found.unknown == unknown
    assert {reason for _, reason in found.reasons} >= {
        "costs nothing, but for *-cloud", "answers on this machine, but for *-cloud",
    }  # fmt: skip
