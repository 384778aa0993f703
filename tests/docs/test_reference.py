"""Pages of the reference that are written by hand name what the code has, and nothing else."""

import re

import pytest

from flowllm.cli.main import application
from flowllm.config.words import TOP_LEVEL
from flowllm.core.errors import CODES
from flowllm.text.filters import FILTERS, TESTS
from tests.docs.blocks import DOCS, ROOT, blocks_of, pages

LANGUAGE = (DOCS / "reference/language.md").read_text("utf-8")


def listed(label):
    found = re.search(rf"{label}: ([^.]*)\.", LANGUAGE)
    return [word.partition("(")[0] for word in found[1].split(", ")]


def test_filters_and_tests_of_templates_are_listed():
    assert listed("Filters") == sorted(FILTERS)
    assert listed("Tests") == sorted(name for name in TESTS if name.isidentifier())


def test_what_the_table_of_codes_calls_a_note_or_a_warning_is_shown_as_one():
    page = (DOCS / "reference/errors.md").read_text("utf-8")
    shown = {code: severity for severity, code in re.findall(r"^(error|warning|note)\[(\w+)\]", page, re.MULTILINE)}
    told_by_runs = {"no_model", "answer_cut"}
    milder = {name for name, code in CODES.items() if code.severity != "error"} - told_by_runs
    assert {name: shown[name] for name in milder} == {name: CODES[name].severity for name in milder}


def test_every_top_level_key_is_listed():
    rows = re.findall(r"^\| (`[^|]*) \|", LANGUAGE, re.MULTILINE)
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
    assert {*TOP_LEVEL} <= named


def test_variables_that_the_code_reads_are_listed():
    page = (DOCS / "reference/environment.md").read_text("utf-8")
    sources = [*(ROOT / "flowllm").rglob("*.py"), ROOT / "bin/setup.sh"]
    read = {name for file in sources for name in re.findall(r"\bFLOWLLM_[A-Z]+\b", file.read_text("utf-8"))}
    assert read == set(re.findall(r"\bFLOWLLM_[A-Z]+\b", page))


def test_codes_and_commands_that_pages_name_exist():
    import typer

    commands = typer.main.get_command(application()).commands
    for page in pages():
        text = page.read_text("utf-8")
        assert {*re.findall(r"errors\.md#(\w+)", text)} <= CODES.keys(), page
        assert {*re.findall(r"`(?:bin/)?flowllm ([a-z]+)", text)} <= commands.keys(), page


@pytest.mark.parametrize("command", ["run", "check", "plan", "graph", "init", "doctor", "cache", "keys", "models"])
def test_every_command_is_shown_at_work(command):
    lines = [line for page in pages() for block in blocks_of(page) for line in block.text.splitlines()]
    assert [line for line in lines if re.match(rf"\$ .*flowllm {command}\b", line)]
