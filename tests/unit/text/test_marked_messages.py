"""A message with a mark: on the last part that says something, through a plan and back."""

import pytest

from flowllm.compiler.slot_json import slot_from_json, slot_to_json
from flowllm.core.slot import ImageOf, Literal, MessageTemplate, Path, PromptTemplate, Template
from flowllm.text.compiling import compile_evaluable

PICTURE = "data:image/png;base64,QQ=="
IMAGE = {"image": {"media_type": "image/png", "data": "QQ=="}}


@pytest.mark.parametrize(
    ("parts", "content"),
    [
        ((Template("{{ n.t }}"),), [{"text": "book", "prompt_cache": "1h"}]),
        ((Template("a"), Template("{{ n.t }}")), [{"text": "a"}, {"text": "book", "prompt_cache": "1h"}]),
        ((Template("a"), Template("{{ n.none }}")), [{"text": "a", "prompt_cache": "1h"}]),
        ((Template("a"), ImageOf(Literal(PICTURE))), [{"text": "a"}, IMAGE | {"prompt_cache": "1h"}]),
        ((Template("a"), ImageOf(Path("n", ("none",)))), [{"text": "a", "prompt_cache": "1h"}]),
        ((Template("{{ n.none }}"),), None),
        ((Template(" "), Template("\n")), None),
    ],
)
def test_where_the_mark_stands(parts, content):
    prompt = PromptTemplate((MessageTemplate("user", parts, "1h"),))
    made = compile_evaluable(prompt)({"n": {"t": "book", "none": None}})
    assert made == ([] if content is None else [{"role": "user", "content": content}])
    assert slot_from_json(slot_to_json(prompt, places=False)) == prompt


def test_a_plan_without_marks_says_nothing_of_them():
    prompt = PromptTemplate((MessageTemplate("user", (Template("a"),)),))
    assert "prompt_cache" not in str(slot_to_json(prompt, places=False))
