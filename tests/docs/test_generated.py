"""Generated pages are what the code says now, and the table of failures leaves none out."""

import json

import pytest
from jsonschema import Draft202012Validator

from flowllm.config import load_yaml
from flowllm.core.errors import CODES
from tests.docs import generate
from tests.docs.blocks import ROOT


@pytest.mark.parametrize("page", generate.PAGES)
def test_a_page_is_as_it_would_be_written_now(page):
    written = (ROOT / page).read_text("utf-8")
    assert written == generate.PAGES[page](), "python -m tests.docs.generate writes it anew"


def test_every_failure_has_an_example_or_a_reason():
    examples = generate.read_examples()
    assert examples.keys() == CODES.keys()
    without = [code for code, example in examples.items() if "because" in example]
    assert len(without) <= 12


PIPELINES = sorted(file for file in (ROOT / "pipelines").glob("*.yaml") if not file.name.endswith(".test.yaml"))


@pytest.mark.parametrize("file", PIPELINES, ids=lambda file: file.name)
def test_the_schema_takes_the_shipped_pipelines(file):
    schema = json.loads((ROOT / "docs/schema/pipeline.json").read_text("utf-8"))
    value, _ = load_yaml(file.read_text("utf-8"), file.name)
    assert not [error.message for error in Draft202012Validator(schema).iter_errors(value)]


@pytest.mark.parametrize("damage", [{"nodse": {}}, {"nodes": {"a": {"kind": "cal"}}}, {"outputs": None}])
def test_the_schema_refuses_what_is_wrong(damage):
    schema = json.loads((ROOT / "docs/schema/pipeline.json").read_text("utf-8"))
    fine = {"nodes": {"a": {"kind": "call", "prompt": "hi"}}, "outputs": {"o": "a.text"}}
    assert not list(Draft202012Validator(schema).iter_errors(fine))
    assert list(Draft202012Validator(schema).iter_errors({**fine, **damage}))
