from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowllm.backends.local.generation.families import CALLS, THINKING, Family, Reader, family_of
from flowllm.core.delta import Reasoning, Text, ToolCall, fold

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
    '{"name": "f", "arguments": {"a": NaN}}',
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
    ("mistral", '[TOOL_CALLS]x[ARGS]{"a"[TOOL_CALLS]time[ARGS]{}', ('[TOOL_CALLS]x[ARGS]{"a"', "", [TIME])),
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
    assert made.feed(f"<tool_call>{ONE}</tool_call") == []
    assert made.feed(">e") == [ToolCall(0, "call_0", *CITY), Text("e")]
    assert made.called
    assert made.finish() == []


PARTS = st.sampled_from([
    "<tool_call>", "</tool_call>", "<think>", "</think>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", ONE, TWO, "{",
    "}", "a", " ", "\n", ";", "[", "]", "<", "wea", "<tool_c", "functools", "<function=f>", "</function>",
])  # fmt: skip


@settings(max_examples=200, deadline=None)
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
