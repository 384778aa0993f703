"""The invariants of truncation, with counters of several tempers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.tokens import ESTIMATE, REPLY, count_message
from flowllm.text.truncation import TooLong, truncate_messages, truncate_text

KEEPS = ["head", "tail", "middle", "sliding_window", "smart"]


def count_messages(messages, counter=ESTIMATE):
    """A conversation with the opening of its answer."""
    return REPLY + sum(count_message(message, counter) for message in messages)


class Counts:
    """A counter from a function that also knows how much it was asked to read."""

    exact = True

    def __init__(self, of):
        self._of = of
        self.read = 0

    def count(self, text):
        self.read += len(text)
        return self._of(text)


COUNTERS = {
    "characters": len,
    "words": lambda text: len(text.split()),
    "estimate": ESTIMATE.count,
    "less than its halves": lambda text: -(-(3 * len(text) - 2 * text.count("  ")) // 7),
    "not additive": lambda text: len(text.encode("utf-8", "surrogatepass")) // 3 + text.count("\n") * 2,
}
keeps = st.sampled_from(KEEPS)
counters = st.sampled_from(sorted(COUNTERS)).map(lambda name: Counts(COUNTERS[name]))
texts = st.text(st.sampled_from("ab .!\né漢\u0301\u200d🎉"), max_size=120)


@given(texts, st.integers(0, 60), keeps, st.sampled_from(["", "…", " [cut] "]), counters)
def test_text_fits_keeps_order_and_is_stable(text, limit, keep, mark, counter):
    try:
        cut = truncate_text(text, limit, keep, mark=mark, counter=counter)
    except TooLong:
        assert counter.count(text) > limit
        return
    assert counter.count(cut.text) == cut.tokens <= limit
    assert truncate_text(cut.text, limit, keep, mark=mark, counter=counter).text == cut.text
    assert (cut.text == text) if counter.count(text) <= limit else is_cut_of(cut.text, text, mark)


def is_cut_of(cut, text, mark):
    """Whether removing one stretch of the text, marked or not, gives the cut."""
    for used in (mark, ""):
        for place in range(len(cut) - len(used) + 1):
            head, tail = cut[:place], cut[place + len(used) :]
            if cut[place:].startswith(used) and text.startswith(head) and text.endswith(tail):
                return True
    return False


LINE = "One two three. Four five six. Seven eight nine."


@pytest.mark.parametrize(
    ("keep", "limit", "expected"),
    [
        ("head", 10, "One two t…"),
        ("tail", 10, "…ght nine."),
        ("middle", 11, "One t…nine."),
        ("sliding_window", 35, "… Four five six. Seven eight nine."),
        ("smart", 40, "One two three.… Seven eight nine."),
        ("head", 100, LINE),
        ("sliding_window", 12, "…eight nine."),
    ],
)
def test_what_of_a_text_is_kept(keep, limit, expected):
    assert truncate_text(LINE, limit, keep, mark="…", counter=Counts(len)).text == expected


def test_a_mark_that_does_not_fit_is_left_out():
    assert truncate_text("abcdefgh", 3, "head", mark="[cut]", counter=Counts(len)).text == "abc"


def test_a_letter_keeps_its_accent():
    assert truncate_text("abe\u0301cd", 3, "head", counter=Counts(len)).text == "ab"


@pytest.mark.parametrize("keep", KEEPS)
def test_text_that_cannot_fit_is_too_long(keep):
    with pytest.raises(TooLong) as caught:
        truncate_text("漢字", 0, keep)
    assert caught.value.limit == 0


@pytest.mark.parametrize("keep", KEEPS)
def test_counting_of_a_text_is_bounded(keep):
    counter = Counts(ESTIMATE.count)
    text = "A sentence of some words. " * 20_000
    truncate_text(text, 2_000, keep, mark="…", counter=counter)
    assert counter.read < 2 * len(text)


@st.composite
def conversations(draw):
    found = []
    for number in range(draw(st.integers(1, 14))):
        kind = draw(st.sampled_from(["system", "user", "assistant", "tools"]))
        words = "w " * draw(st.integers(0, 12)) + f"#{number}"
        if kind != "tools":
            found.append({"role": kind, "content": words})
            continue
        ids = [f"{number}-{i}" for i in range(draw(st.integers(1, 2)))]
        calls = [{"id": i, "name": "look", "arguments": "{}"} for i in ids]
        found.append({"role": "assistant", "content": "", "tool_calls": calls})
        if draw(st.booleans()):
            found.append({"role": "user", "content": f"meanwhile #{number}"})
        found += [{"role": "tool", "content": words + i, "tool_call_id": i} for i in ids]
    return found


@given(conversations(), st.integers(0, 220), keeps, counters)
def test_conversation_invariants(messages, limit, keep, counter):
    users = [m for m in messages if m["role"] == "user"]
    must = users[-1] if users else None
    try:
        cut = truncate_messages(messages, limit, keep, counter=counter)
    except TooLong:
        assert must is None or count_messages([must], counter) > limit
        assert count_messages(messages, counter) > limit
        return
    kept = cut.messages
    assert count_messages(kept, counter) == cut.tokens <= limit
    places = [messages.index(m) for m in kept]
    assert places == sorted(places)
    assert cut.dropped == len(messages) - len(kept)
    assert must is None or must in kept
    assert tool_ids(kept, "call") == tool_ids(kept, "result")
    assert truncate_messages(kept, limit, keep, counter=counter).messages == kept
    assert systems_stay(messages, kept, must, limit, counter)


def tool_ids(messages, side):
    if side == "result":
        return {m["tool_call_id"] for m in messages if m["role"] == "tool"}
    return {call["id"] for m in messages for call in m.get("tool_calls", ())}


def systems_stay(messages, kept, must, limit, counter):
    systems = [m for m in messages if m["role"] == "system"]
    base = [must] if must else []
    if must is None or count_messages(base + systems, counter) > limit:
        return True
    return all(m in kept for m in systems)


def chat(*turns):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    return [{"role": roles[word[0]], "content": word} for word in turns]


TALK = chat("s0", "u1", "a1", "u2", "a2", "u3", "a3", "u4")


@pytest.mark.parametrize(
    ("keep", "room", "expected"),
    [
        ("sliding_window", 4, "s0 u3 a3 u4"),
        ("sliding_window", 5, "s0 u3 a3 u4"),
        ("tail", 6, "s0 u2 a2 u3 a3 u4"),
        ("head", 4, "s0 u1 a1 u4"),
        ("middle", 6, "s0 u1 a1 u3 a3 u4"),
        ("smart", 6, "s0 u1 a1 u3 a3 u4"),
        ("smart", 2, "s0 u4"),
        ("smart", 1, "u4"),
        ("head", 8, "s0 u1 a1 u2 a2 u3 a3 u4"),
    ],
)
def test_which_turns_are_kept(keep, room, expected):
    cut = truncate_messages(TALK, 3 + room * 6, keep, counter=Counts(len))
    assert " ".join(m["content"] for m in cut.messages) == expected


@pytest.mark.parametrize(
    ("keep", "expected"),
    [("sliding_window", "u3 a3 u4"), ("tail", "u3 a3 u4"), ("head", "u1 a1 u4"), ("smart", "u1 a1 u3 a3 u4")],
)
def test_only_smart_goes_on_behind_a_turn_that_does_not_fit(keep, expected):
    messages = chat("u1", "a1", "u2" + "x" * 50, "u3", "a3", "u4")
    cut = truncate_messages(messages, 3 + 6 * 6, keep, counter=Counts(len))
    assert " ".join(m["content"] for m in cut.messages) == expected


@pytest.mark.parametrize("keep", KEEPS)
def test_a_last_user_message_that_does_not_fit_is_too_long(keep):
    with pytest.raises(TooLong) as caught:
        truncate_messages(chat("s", "u" * 50, "a"), 30, keep, counter=Counts(len))
    assert (caught.value.needed, caught.value.limit) == (57, 30)


def test_a_conversation_is_counted_once():
    counter = Counts(ESTIMATE.count)
    messages = chat(*["u" + "x" * 40, "a" + "y" * 40] * 2_000)
    truncate_messages(messages, 5_000, "smart", counter=counter)
    assert counter.read == sum(len(m["content"]) for m in messages)
