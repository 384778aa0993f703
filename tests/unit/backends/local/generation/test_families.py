import signal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.backends.local.generation import families
from flowllm.backends.local.generation.families import CALLS, THINKING, Family, Reader, family_of
from flowllm.core.delta import Reasoning, Text, ToolCall, fold
from flowllm.core.request import ToolUse

TEMPLATES = Path(__file__).parent / "chat_templates"
THINK = THINKING[0][1]
KNOWN = {calls.name: calls for _, calls in CALLS}
ONE = '{"name": "weather", "arguments": {"city": "Zürich"}}'
TWO = '{"name": "time", "arguments": {}}'
TIME = ("time", "{}")
CITY = ("weather", '{"city": "Zürich"}')


def reader(calls: str = "", *, inside: bool = False) -> Reader:
    found = KNOWN[calls] if calls else None
    return Reader(Family(found, THINK), found, inside)


def read(made: Reader, pieces) -> tuple[str, str, list[tuple[str, str]]]:
    deltas = [delta for piece in pieces for delta in made.feed(piece)] + made.finish()
    reply = fold(deltas)
    return reply.text, reply.reasoning or "", [(call.name, call.arguments) for call in reply.tool_calls]


QUOTED = '"{\\"city\\": \\"Zürich\\"}"'
NONE = [
    '{"name": "x"}',
    '{"name": 3, "arguments": {}}',
    '{"name": "f", "arguments": []}',
    '{"name": "f", "arguments": {"a": 1}'.replace("{", "[", 1),
    '{"name": "", "arguments": {}}',
    '{"name": "f", "arguments": "{"}',
    "[" * 5000,
]
CASES = [
    ("", "plain <tool_call> text", ("plain <tool_call> text", "", [])),
    ("", "<think>why</think>\n\nso", ("so", "why", [])),
    ("", "\n<think>why</think>so\n", ("\nso\n", "why", [])),
    ("", "<think>a</think> <think>b</think> c", ("c", "ab", [])),
    ("", "<think>never closed", ("", "never closed", [])),
    ("", "text <think>no thought</think>", ("text <think>no thought</think>", "", [])),
    ("", "a < b <thin", ("a < b <thin", "", [])),
    ("hermes", f"<tool_call>\n{ONE}\n</tool_call>", ("", "", [CITY])),
    ("hermes", f"First: <tool_call>{ONE}</tool_call>\n<tool_call>{TWO}</tool_call>!", ("First: \n!", "", [CITY, TIME])),
    ("hermes", f"<think>hm <tool_call></think><tool_call>{ONE}</tool_call>", ("", "hm <tool_call>", [CITY])),
    ("hermes", "<tool_call>{broken</tool_call> on", ("<tool_call>{broken</tool_call> on", "", [])),
    ("hermes", f"<tool_call><tool_call>{ONE}</tool_call>", ("<tool_call>", "", [CITY])),
    *(("hermes", text, (text, "", [])) for text in map("<tool_call>{}</tool_call>".format, NONE)),
    ("hermes", f"<tool_call>[{ONE}, {TWO}]</tool_call>", ("", "", [CITY, TIME])),
    ("hermes", f"<tool_call>{ONE}", ("", "", [CITY])),
    ("hermes", '<tool_call>{"name": "weather", "argum', ('<tool_call>{"name": "weather", "argum', "", [])),
    ("hermes", f'<tool_call>{{"name": "weather", "arguments": {QUOTED}}}</tool_call>', ("", "", [CITY])),
    ("hermes", f'<tool_call>{{"function": {ONE}}}</tool_call>', ("", "", [CITY])),
    ("llama3", '{"name": "weather", "parameters": {"city": "Zürich"}}', ("", "", [CITY])),
    ("llama3", f" <|python_tag|>{ONE}; {TWO}", (" ", "", [CITY, TIME])),
    ("llama3", '{"name": "weather"} is JSON', ('{"name": "weather"} is JSON', "", [])),
    ("llama3", '{"answer": 42}', ('{"answer": 42}', "", [])),
    ("llama3", '<|python_tag|>print("hi")', ('<|python_tag|>print("hi")', "", [])),
    ("llama3", "It is " + ONE, ("It is " + ONE, "", [])),
    ("mistral", f"[TOOL_CALLS] [{ONE}, {TWO}]", ("", "", [CITY, TIME])),
    ("mistral", '[TOOL_CALLS]weather[ARGS]{"city": "Zürich"}', ("", "", [CITY])),
    ("mistral", '[TOOL_CALLS]weather{"city": "Zürich"}time{}', ("", "", [CITY, TIME])),
    ("mistral", '[TOOL_CALLS]weather[CALL_ID]abc123def[ARGS]{"city": "Zürich"}', ("", "", [CITY])),
    ("mistral", '[TOOL_CALLS]x[ARGS]{"a"[TOOL_CALLS]time[ARGS]{}', ("", "", [("x", '{"a"'), TIME])),
    ("mistral", "[TOOL_CALLS]x[ARGS]{}[TOOL_CALLS]time[ARGS]{}", ("", "", [("x", "{}"), TIME])),
    ("mistral", '[TOOL_CALLS] [{"name": "x", "arguments": {}}, {"name": "time", "arguments": "{}"}]',
     ("", "", [("x", "{}"), TIME])),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": NaN}}</tool_call>', ("", "", [("f", '{"a": NaN}')])),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "x</tool_call>!', ("!", "", [("f", '{"a": "x')])),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "<tool_call>}"}}</tool_call>',
     ("", "", [("f", '{"a": "<tool_call>}"}')])),
    ("hermes", f'<tool_call>{{"name": "f", "arguments": {{"a": 1<tool_call>{ONE}</tool_call>',
     ("", "", [("f", '{"a": 1'), CITY])),
    ("hermes", f"<tool_call>{TWO}<tool_call>{ONE}</tool_call>", ("", "", [TIME, CITY])),
    ("hermes", '<tool_call>{"name": "f", "arguments": {"a": "\\"}"', ("", "", [("f", '{"a": "\\"}"')])),
    ("hermes", f"<tool_call>{ONE} or so</tool_call>", (" or so", "", [CITY])),
    ("hermes", '<tool_call>{"name": "time", "arguments": {}, "id": "7"}</tool_call>', ("", "", [TIME])),
    ("hermes", '<tool_call>{"type": "function", "function": {"name": "time", "arguments": {}}}</tool_call>',
     ("", "", [TIME])),
    ("hermes", '<tool_call>{"arguments": {}, "name": "time"}</tool_call>', ("", "", [TIME])),
    ("mistral", "[TOOL_CALLS] []", ("[TOOL_CALLS] []", "", [])),
    ("mistral", "[TOOL_CALLS]", ("[TOOL_CALLS]", "", [])),
    ("granite", f"<|tool_call|>[{ONE}]", ("", "", [CITY])),
    ("functions", '<function=weather>{"city": "Zürich"}</function>', ("", "", [CITY])),
    ("phi", f"functools[{ONE}]", ("", "", [CITY])),
]  # fmt: skip


@pytest.mark.parametrize(("calls", "text", "found"), CASES)
@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_what_a_text_holds(calls, text, found, size):
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    assert read(reader(calls), pieces) == found


def test_a_prompt_that_opens_a_thought():
    assert read(reader(inside=True), ["why", "</th", "ink>so"]) == ("so", "why", [])
    family = family_of("... </think> ...")
    assert family.thinks_after("<|assistant|>\n<think>\n")
    assert not family.thinks_after("<think>\n\n</think>\n\n")
    assert not Family().thinks_after("<think>")


def test_words_and_thoughts_are_shown_as_they_come():
    made = reader("hermes")
    assert made.feed("<think>a") == [Reasoning("a")]
    assert made.feed("b</th") == [Reasoning("b")]
    assert made.feed("ink>c") == [Text("c")]
    assert made.feed("d<tool") == [Text("d")]
    assert made.feed("box>") == [Text("<toolbox>")]
    assert made.feed(f"<tool_call>{ONE}</tool_call") == [
        ToolCall(0, "call_0", "weather"),
        ToolCall(0, arguments=CITY[1]),
    ]
    assert made.feed(">e") == [Text("e")]
    assert made.called
    assert made.finish() == []


@pytest.mark.parametrize(
    ("calls", "before", "after"),
    [
        ("hermes", '<tool_call>\n{"name": "f", "arguments": ', "}\n</tool_call>"),
        ("hermes", '<tool_call>[{"function": {"name": "f", "arguments": ', "}}]</tool_call>"),
        ("llama3", '{"name": "f", "parameters": ', "}"),
        ("llama3", '<|python_tag|>{"type": "function", "name": "f", "parameters": ', "}"),
        ("mistral", '[TOOL_CALLS] [{"name": "f", "arguments": ', "}]"),
        ("mistral", "[TOOL_CALLS]f[ARGS]", ""),
        ("granite", '<|tool_call|>[{"name": "f", "arguments": ', ', "id": "1"}]'),
        ("functions", "<function=f>", "</function>"),
        ("phi", 'functools[{"name": "f", "arguments": ', "}]"),
    ],
)
@pytest.mark.parametrize("written", ['{"a": [1, {"b": "}\\\\\\"{"}], "c": "x"}', "{}", '{\n  "\\\\": "]"}'])
def test_a_call_comes_argument_by_argument(calls, before, after, written):
    made, told = reader(calls), []
    for letter in before:
        told += made.feed(letter)
    assert told == []
    for count, letter in enumerate(written, 1):
        told += made.feed(letter)
        said = "".join(delta.arguments for delta in told)
        assert said in (written[:count], written[: count - (letter in "\\[")])
    assert told[0] == ToolCall(0, "call_0", "f")
    assert all(delta == ToolCall(0, arguments=delta.arguments) for delta in told[1:])
    for letter in after:
        told += made.feed(letter)
    assert fold([*told, *made.finish()]).tool_calls == (ToolUse("f", written, "call_0"),)
    assert not [delta for delta in told if isinstance(delta, Text)]


def test_a_call_that_another_mark_breaks_off_makes_nobody_wait():
    made = reader("hermes")
    made.feed(f"<tool_call>{TWO[:-1]}")
    assert made.feed('<tool_call>{"name": "f", "arguments": {"a') == [
        ToolCall(1, "call_1", "f"),
        ToolCall(1, arguments='{"a'),
    ]


@pytest.mark.parametrize(
    ("calls", "text"),
    [
        ("mistral", f'[TOOL_CALLS] [{TWO}, {{"name": "f", "arguments": {{"a'),
        ("mistral", '[TOOL_CALLS]time[ARGS]{} f[ARGS]{"a'),
        ("llama3", f'{TWO}; {{"name": "f", "parameters": {{"a'),
        ("hermes", f'<tool_call>{TWO}</tool_call><tool_call>{{"name": "f", "arguments": {{"a'),
    ],
)
def test_a_further_call_comes_argument_by_argument_too(calls, text):
    made = reader(calls)
    told = [delta for letter in text for delta in made.feed(letter)]
    assert ToolCall(1, "call_1", "f") in told
    assert "".join(delta.arguments for delta in told if delta.index) == '{"a'


PARTS = st.sampled_from([
    "<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", ONE, TWO, "{",
    "}", '{"name": "f", "arguments": {', "f[ARGS]{", '"', "\\", ",", "a", " ", "\n", ";", "[", "]", "<", "wea",
    "<tool_c", "functools", "<function=f>", "</function>",
])  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PARTS, max_size=12), st.sampled_from(["", *KNOWN]), st.booleans(), st.randoms())
def test_borders_of_pieces_change_nothing_and_no_letter_is_lost(parts, calls, inside, random):
    text = "".join(parts)
    cut = sorted(random.sample(range(len(text) + 1), min(len(text), 6)))
    pieces = [text[a:b] for a, b in zip([0, *cut], [*cut, len(text)], strict=True)]
    whole = read(reader(calls, inside=inside), [text])
    assert read(reader(calls, inside=inside), pieces) == whole
    if not whole[2]:
        made = reader(calls, inside=inside)
        shown = "".join(delta.text for delta in [*made.feed(text), *made.finish()])
        assert bare(shown) == bare(text)


def bare(text: str) -> str:
    """Without blanks, and without the marks that thoughts may have lost."""
    return "".join(text.replace("<think>", "").replace("</think>", "").split())


@pytest.mark.parametrize(
    ("template", "calls", "thinking"),
    [
        (TEMPLATES / "qwen.jinja", "hermes", True),
        (TEMPLATES / "llama3.jinja", "llama3", False),
        (TEMPLATES / "mistral.jinja", "mistral", False),
        (TEMPLATES / "macros.jinja", None, False),
    ],
)
def test_a_family_is_known_by_its_template(template, calls, thinking):
    found = family_of(template.read_text("utf-8"))
    assert (found.calls.name if found.calls else None) == calls
    assert (found.thinking is not None) == thinking


def test_marks_that_stay_in_the_text():
    assert family_of("[TOOL_CALLS] </think>").marks == {"[TOOL_CALLS]", "[ARGS]", "<think>", "</think>"}
    assert Family().marks == frozenset()


LOOPS = {
    "blanks": ("hermes", "<tool_call>", "\n"),
    "blanks behind a brace": ("hermes", "<tool_call>{", "\n"),
    "blanks behind a bracket": ("hermes", "<tool_call>[", " \t"),
    "blanks behind arguments": ("hermes", '<tool_call>{"name": "f", "arguments": {}', "\n"),
    "blanks behind a call": ("hermes", f"<tool_call>{TWO}", "\n"),
    "blanks behind a list": ("hermes", f"<tool_call>[{TWO}]", "\n"),
    "blanks behind a name": ("mistral", "[TOOL_CALLS]f", "\n"),
    "blanks behind a number": ("mistral", "[TOOL_CALLS]f[CALL_ID]a", "\n"),
    "blanks behind a named call": ("mistral", "[TOOL_CALLS]f{}", "\n"),
    "blanks behind a function": ("functions", "<function=f>", "\n"),
    "other words": ("hermes", "<tool_call>{", '"id": "a", '),
    "further words": ("hermes", '<tool_call>{"name": "f", "arguments": {}', ', "a": 1'),
    "a further number": ("hermes", '<tool_call>{"name": "f", "arguments": {}, "a": ', "1"),
    "letters of a name": ("mistral", "[TOOL_CALLS]", "f"),
    "letters of a function": ("functions", "<function=", "f"),
}


@pytest.fixture
def an_end():
    """A minute, so that work of days is a failure and no hang: matching looks for signals."""

    def stop(*_):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("an_end")
@pytest.mark.parametrize(("calls", "before", "again"), LOOPS.values(), ids=LOOPS)
@pytest.mark.parametrize("end", ["", "{", "}", "x"])
def test_a_model_that_says_one_thing_for_ever_is_read_once(calls, before, again, end):
    made = reader(calls)
    text = before + again * 1_000_000
    told = [*made.feed(text), *made.feed(end), *made.finish()]
    assert len(told) <= 4


@pytest.mark.parametrize("again", ["\n", "a", '"id": "a", '])
def test_what_begins_no_call_is_not_asked_again_without_a_brace(monkeypatch, again):
    asked = []
    monkeypatch.setattr(families, "begun", lambda text, *_: asked.append(text))
    made = reader("hermes")
    made.feed("<tool_call>{")
    for _ in range(50):
        made.feed(again)
    assert len(asked) == 1
    made.feed("{")
    assert len(asked) == 2
