"""Every case of ``pipelines/NAME.test.yaml``, and proof that a reference lost from a template is noticed.

A case has ``input``, ``overrides``, ``mock`` (rules) and ``expect``: ``outputs`` (those named must be equal; ``"*"``
stands for any value), ``calls`` (one list for each chat, in any order: texts that its prompt must hold), or
``error`` (the code) with ``says`` (what its message or hint must hold).
"""

import re
from pathlib import Path

import pytest
import yaml

from flowllm.api.environment import Environment
from flowllm.api.flow import Flow
from flowllm.backends import mock
from flowllm.core.errors import FlowError
from flowllm.core.request import Chat

FOLDER = Path(__file__).resolve().parents[2] / "pipelines"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml") if not path.name.endswith(".test.yaml"))
CASES = [
    pytest.param(FOLDER / f"{name}.yaml", case, id=f"{name}: {case['name']}")
    for name in NAMES
    for case in yaml.safe_load((FOLDER / f"{name}.test.yaml").read_text("utf-8"))["cases"]
]
REFERENCE = re.compile(r"\{\{.*?\}\}")


def outcome(pipeline, case, patch):
    """What differs from what is expected, one line each."""
    backends = []

    class Kept(mock.MockBackend):
        def __init__(self, rules, *, capture=True):
            super().__init__(rules, capture=capture)
            backends.append(self)

    patch.setattr(mock, "MockBackend", Kept)
    expect = case["expect"]
    try:
        environment = Environment(project=pipeline.parent, mock=case.get("mock", ()))
        outputs = Flow.load(pipeline, case.get("overrides", ()), environment=environment).run(case["input"]).outputs
    except FlowError as error:
        told = f"{error.code}: {error.message} {error.hint}"
        return [] if error.code == expect.get("error") and expect["says"] in told else [told]
    if "error" in expect:
        return [f"no error, but {outputs}"]
    wrong = [
        f"{name} is {outputs[name]!r}" for name, value in expect["outputs"].items() if not same(value, outputs[name])
    ]
    asked = [mock.rendered_prompt(each) for backend in backends for each in backend.requests if isinstance(each, Chat)]
    return wrong + missing(asked, expect["calls"]) if "calls" in expect else wrong


def same(expected, value):
    if isinstance(expected, dict):
        return (
            isinstance(value, dict) and {*expected} == {*value} and all(same(expected[k], value[k]) for k in expected)
        )
    if isinstance(expected, list):
        return isinstance(value, list) and len(expected) == len(value) and all(map(same, expected, value))
    return expected in ("*", value)


def missing(asked, calls):
    left, wrong = list(asked), []
    for wanted in calls:
        found = next((prompt for prompt in left if all(text in prompt for text in wanted)), None)
        wrong += [f"no prompt holds {wanted}"] if found is None else []
        left.remove(found) if found is not None else None
    return wrong + [f"not expected: {prompt}" for prompt in left]


@pytest.mark.parametrize(("pipeline", "case"), CASES)
def test_a_case_comes_out_as_written(pipeline, case, monkeypatch):
    assert not outcome(pipeline, case, monkeypatch)


def references():
    """Each ``{{ }}`` of each pipeline's templates, to be replaced by nothing."""
    for name in NAMES:
        text = (FOLDER / f"{name}.yaml").read_text("utf-8")
        for found in REFERENCE.finditer(text):
            if "model:" not in text[max(0, found.start() - 8) : found.start()]:
                yield pytest.param(name, found.start(), found.end(), id=f"{name}: {found[0]} at {found.start()}")


@pytest.mark.parametrize(("name", "start", "end"), list(references()))
def test_a_lost_reference_is_noticed(name, start, end, tmp_path, monkeypatch):
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    broken = re.sub(r"sample: \{file: [^}]*\}", "title: text", text[:start] + text[end:])
    (tmp_path / f"{name}.yaml").write_text(broken, "utf-8")
    cases = yaml.safe_load((FOLDER / f"{name}.test.yaml").read_text("utf-8"))["cases"]
    assert any(outcome(tmp_path / f"{name}.yaml", case, monkeypatch) for case in cases)


@pytest.mark.parametrize("name", NAMES)
def test_a_pipeline_has_its_page_its_cases_and_its_samples(name):
    assert (FOLDER / f"{name}.md").is_file()
    text = (FOLDER / f"{name}.yaml").read_text("utf-8")
    assert all((FOLDER / sample).is_file() for sample in re.findall(r"file: (\./samples/[^}]*)\}", text))
    assert len(REFERENCE.findall(text)) > 0


@pytest.mark.parametrize("name", ["summarize", "answer"])
def test_these_run_without_a_model_on_their_sample(name):
    flow = Flow.load(FOLDER / f"{name}.yaml", environment=Environment(project=FOLDER))
    samples = {"summarize": {"text": (FOLDER / "samples/article.txt").read_text("utf-8")}}
    given = samples.get(name) or {
        "question": "What does a cabin cost?",
        "docs": yaml.safe_load((FOLDER / "samples/docs.json").read_text("utf-8")),
    }
    assert flow.run(given).outputs["engine"] == "extractive"


@pytest.mark.parametrize("name", NAMES)
def test_other_readers_of_yaml_read_them_too(name):
    assert yaml.safe_load((FOLDER / f"{name}.yaml").read_text("utf-8"))["name"] == name


@pytest.mark.parametrize(("name", "field"), [(n, "question" if n in ("answer", "compare") else "text") for n in NAMES])
def test_a_text_of_blanks_alone_is_refused(name, field):
    flow = Flow.load(FOLDER / f"{name}.yaml", ["model=mock/echo"] if name != "compare" else [])
    inputs = {field: " \n\t", **({"docs": [{"id": "a", "text": "b"}]} if name == "answer" else {})}
    with pytest.raises(FlowError, match=f"the input `{field}` is not valid: .*is blank"):
        flow.run(inputs)
