import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flowllm.core.errors import NodeFailure
from flowllm.core.scope import Scope
from flowllm.nodes.select import Select
from flowllm.text.lexical import vectors
from flowllm.text.sentences import split_sentences
from flowllm.text.words import count_words, prose

FOLDER = Path(__file__).parent / "articles"
ARTICLES = {path.stem: path.read_text("utf-8") for path in sorted(FOLDER.glob("*.txt"))}
SUMMARY = Select(by="centrality", unit="words", slack=0.15, diversity=0.3, order="input")
BUDGETS = (60, 80, 120)
UNRELATED = (
    "\n\nThe recipe for plum jam is older than the stove. Boil four kilos of plums with sugar and cinnamon. "
    "Stir the jam with a wooden spoon. Fill the hot jam into clean jars. A jar of plum jam keeps long.\n"
)


async def take(node, items, budget=None, query=None, rows=None):
    rows = vectors([item if isinstance(item, str) else item["text"] for item in items]) if rows is None else rows
    return await node.run(Scope(), vectors=rows, items=items, query=query, budget=budget)


async def summary(sentences, words=80):
    return (await take(SUMMARY, sentences, words))["items"]


def sentences(text):
    return [part for part in split_sentences(text)[0] if part]


def words(parts):
    return sum(len(part.split()) for part in parts)


@pytest.mark.parametrize("name", ARTICLES)
@pytest.mark.parametrize("budget", [40, *BUDGETS, 200])
async def test_the_asked_words_come_within_the_slack_and_verbatim(name, budget):
    chosen = await summary(split_sentences(ARTICLES[name])[0], budget)
    assert abs(words(chosen) - budget) <= 0.15 * budget
    assert all(part in ARTICLES[name] for part in chosen)
    places = [ARTICLES[name].index(part) for part in chosen]
    assert places == sorted(places)


@pytest.mark.parametrize("name", ARTICLES)
@given(seed=st.integers(0, 10_000))
async def test_shuffled_sentences_give_the_same_set(name, seed):
    parts = sentences(ARTICLES[name])
    shuffled = random.Random(seed).sample(parts, len(parts))
    assert set(await summary(shuffled)) == set(await summary(parts))


@pytest.mark.parametrize("name", ARTICLES)
@pytest.mark.parametrize("budget", BUDGETS)
async def test_a_doubled_article_gives_the_same_summary(name, budget):
    once = await summary(sentences(ARTICLES[name]), budget)
    assert await summary(sentences(ARTICLES[name] + "\n\n" + ARTICLES[name]), budget) == once


@pytest.mark.parametrize("name", ARTICLES)
@pytest.mark.parametrize("budget", BUDGETS)
async def test_an_unrelated_paragraph_changes_one_sentence_at_most(name, budget):
    before = set(await summary(sentences(ARTICLES[name]), budget))
    after = set(await summary(sentences(ARTICLES[name] + UNRELATED), budget))
    assert len(before - after) <= 1
    assert len(after - before) <= 1


@pytest.mark.parametrize("name", ARTICLES)
async def test_a_key_sentence_moved_to_the_end_is_still_chosen(name):
    parts = sentences(ARTICLES[name])
    for key in await summary(parts):
        moved = [part for part in parts if part != key] + [key]
        assert (await summary(moved))[-1] == key


def near_copy(sentence):
    """The sentence in two thirds of its own content words, the others replaced."""
    said = sentence.rstrip(".").split()
    content = [place for place, word in enumerate(said) if len(word) > 3]
    for number, place in enumerate(content):
        if number % 3 == 2:
            said[place] = f"zq{number}xv"
    return " ".join(said) + "."


@pytest.mark.parametrize("name", ARTICLES)
@pytest.mark.parametrize("place", [0, 7, 1000])
@pytest.mark.parametrize("budget", BUDGETS)
async def test_a_planted_near_copy_is_chosen_once(name, place, budget):
    parts = sentences(ARTICLES[name])
    for key in await summary(parts, budget):
        copy = near_copy(key)
        assert copy != key
        chosen = await summary([*parts[:place], copy, *parts[place:]], budget)
        assert (key in chosen) + (copy in chosen) <= 1


async def test_without_diversity_the_copy_may_come_too():
    parts = sentences(ARTICLES["bees"])
    key = (await take(SUMMARY.model_copy(update={"order": "rank"}), parts, 80))["items"][0]
    plain = Select(by="centrality", k=3)
    assert {key, near_copy(key)} <= set((await take(plain, [*parts, near_copy(key)]))["items"])


DOCS = [{"id": 1, "text": "Cats sleep all day."}, {"id": 2, "text": "Bridges rust."}, {"id": 3, "text": "A cat eats."}]


async def test_by_query_takes_the_nearest_first():
    found = await take(Select(k=2), DOCS, query=vectors(["what does the cat eat"])[0])
    assert [item["id"] for item in found["items"]] == [3, 1]
    assert found["indexes"] == [2, 0]
    assert found["scores"] == sorted(found["scores"], reverse=True)
    assert all(isinstance(score, float) for score in found["scores"])


async def test_order_input_keeps_the_order_of_the_items():
    found = await take(Select(k=2, order="input"), DOCS, query=list(map(float, vectors(["cat eats"])[0])))
    assert found["indexes"] == [0, 2]


@pytest.mark.parametrize(
    ("node", "budget", "count"),
    [
        (Select(), None, 3),
        (Select(k=1), None, 1),
        (Select(unit="items"), 2, 2),
        (Select(unit="items", k=1), 2, 1),
        (Select(unit="words", slack=0.0), 2, 1),
        (Select(unit="words", slack=0.0), 9, 3),
        (Select(unit="words", slack=0.0), 5, 2),
    ],
)
async def test_how_many(node, budget, count):
    assert len((await take(node, DOCS, budget))["items"]) == count


ARTICLE = "図書館は夜も開く。利用者は夜の図書館を望む。費用は年に八億円と見込まれる。職員は百二十人増える。雨が降った。"


@pytest.mark.parametrize("budget", [20, 30, 40])
async def test_a_script_without_blanks_keeps_the_budget(budget):
    chosen = await summary(sentences(ARTICLE), budget)
    assert abs(sum(map(count_words, chosen)) - budget) <= 0.15 * budget
    assert prose(chosen) in ARTICLE or len(chosen) > 1
    assert " " not in prose(chosen)


async def test_tokens_are_counted_by_the_counter():
    pytest.importorskip("flowllm.text.tokens")
    from flowllm.text.tokens import count

    found = await take(Select(unit="tokens", slack=0.2), DOCS, count(DOCS[0]["text"]))
    assert sum(count(item["text"]) for item in found["items"]) <= count(DOCS[0]["text"]) * 1.2
    assert found["items"]


async def test_blank_items_are_never_taken_and_no_items_give_none():
    assert (await take(Select(), ["", " ", "One."]))["items"] == ["One."]
    assert (await take(Select(), ["", " "]))["items"] == []
    assert (await take(Select(), [], 5, rows=[])) == {"items": [], "scores": [], "indexes": []}


@pytest.mark.parametrize("items", [["rope knot", "rope sail", "rope mast"], ["rope sail", "rope mast", "rope knot"]])
async def test_ties_are_broken_by_content(items):
    assert (await take(Select(k=2), items))["items"] == ["rope knot", "rope mast"]


async def test_equal_items_count_once_and_the_first_stands_for_them():
    assert (await take(Select(k=5), ["b", "a", "b"]))["indexes"] in ([0, 1], [1, 0])


REFUSED = [
    (Select(by="query"), {}, "needs the port `query`"),
    (Select(), {"budget": 0}, "above 0"),
    (Select(), {"budget": True}, "above 0"),
    (Select(), {"budget": float("nan")}, "above 0"),
    (Select(), {"budget": "many"}, "above 0"),
    (Select(), {"budget": 1}, "no item fits into 1 words: the smallest has 2"),
    (Select(), {"rows": np.zeros((2, 4))}, "3 items but 2 vectors"),
    (Select(), {"rows": np.zeros(3)}, "of one length"),
    (Select(), {"rows": [[1], [1, 2], [3]]}, "of one length"),
    (Select(), {"rows": [[1], [float("nan")], [3]]}, "of one length"),
    (Select(), {"query": [1.0, 2.0]}, "the query has 2 dimensions"),
]


@pytest.mark.parametrize(("node", "given", "message"), REFUSED)
async def test_what_cannot_be_is_a_failure_in_plain_words(node, given, message):
    with pytest.raises(NodeFailure, match=message):
        await take(node, DOCS, **given)


@pytest.mark.parametrize(
    "field", [{"k": 0}, {"slack": 1.0}, {"slack": -0.1}, {"diversity": 1.1}, {"by": "luck"}, {"kk": 1}]
)
def test_parameters_have_bounds(field):
    with pytest.raises(ValidationError):
        Select(**field)


def test_ports_and_fields_are_as_documented():
    ports = {name: port.required for name, port in Select.input_ports().items()}
    assert ports == {"vectors": True, "items": True, "query": False, "budget": False}
    assert set(Select().output_ports({}, {})) == {"items", "scores", "indexes"}
    known = {"items": {"type": "array", "items": {"type": "string"}}}
    assert Select().output_ports(known, {})["items"] == known["items"]
    assert all(info.description for info in Select.model_fields.values())


def test_the_articles_are_five():
    assert len(ARTICLES) == 5
