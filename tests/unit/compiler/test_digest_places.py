"""The digest of a plan does not know where in a file something stands."""

import pytest

from flowllm.api import Environment, Flow

PIPELINE = """\
inputs: {text: string, which: {type: string, enum: [a, b]}}
nodes:
  a: {kind: prompt, text: "{{ inputs.text | upper }}"}
  b: {kind: truncate, in: {text: "{{ a.text }}"}, max_tokens: 9, when_failed: {text: "{{ 'none' }}"}}
  c: {kind: route, switch: "{{ inputs.which }}", cases: {a: "{{ a.text }}"}, default: "{{ b.text }}"}
  d: {kind: call, model: mock/echo, prompt: "Say {{ item }}", each: "{{ [c.value] }}"}
outputs: {o: "{{ c.value }}", p: "d.items[].text"}
"""


def digest(folder, text):
    file = folder / "p.yaml"
    file.write_text(text, "utf-8")
    return Flow.load(file, environment=Environment(project=folder)).plan.digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("inputs:", "# above all\n\ninputs:"),
        ("  b:", "\n\n  b:"),
        ("nodes:", "\nnodes: # all of them"),
        ("outputs: {", "\n# what comes out\noutputs: {    "),
        ("{kind: route, switch:", "{kind:   route,   switch:"),
        ('  a: {kind: prompt, text: "{{ inputs.text | upper }}"}\n', ""),
    ],
)
def test_moving_things_around_changes_nothing(old, new, tmp_path):
    assert PIPELINE.count(old) == 1
    changed = PIPELINE.replace(old, new)
    if not new:
        changed = changed.replace("outputs:", f"{old}outputs:")
    assert digest(tmp_path, changed) == digest(tmp_path, PIPELINE)


@pytest.mark.parametrize(
    ("old", "new"), [("upper", "lower"), ("c.value }}", "b.text }}"), ("max_tokens: 9", "max_tokens: 8"), ("Say", "Do")]
)
def test_what_is_run_changes_it(old, new, tmp_path):
    assert digest(tmp_path, PIPELINE.replace(old, new)) != digest(tmp_path, PIPELINE)
