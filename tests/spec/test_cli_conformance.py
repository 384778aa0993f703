"""Cases of the conformance table through `flowllm run --json` in a process of its own, with the real kinds on mock.

A case becomes files: its pipeline, its sub-pipelines, and mock rules for its `replies` and `delays`. What the
table's made-up kinds do is written with real ones: `fake` is a `validate` without rules, `validate` has the one
rule that refuses `bad`, and a call's `value` and `choice` are its `text`. `LEFT_OUT` names what real kinds cannot say.
"""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.cli.command import run_apart
from tests.spec.harness import read_table

LEFT_OUT = {
    "map_reduce": "split divides at commas there",
    "of_may_be_an_object": "each call costs 1 there",
    "retry_bad_output_failure_is_an_attempt": "of several replies one fails there",
    "retry_needs_no_until": "its first prompt is blank, which a real call refuses",
    "when_failed_sees_its_own_failure": "its first prompt is blank, which a real call refuses",
}
QUICK = 44
"""Cases that every run of the suite starts processes for; the others are marked slow."""
CASES = read_table()
TAKEN = [name for name in CASES if name not in LEFT_OUT]
EVERY_OTHER = [*TAKEN[::2], *TAKEN[1::2]]


def pipeline_of(case: dict, pipeline: dict) -> dict:
    """The pipeline with real kinds; calls with replies ask a model named like them."""
    kinds = {name: node.get("kind") for name, node in pipeline.get("nodes", {}).items()}
    replies = case.get("replies", {})
    nodes = {name: node_of(name, node, replies) for name, node in pipeline.get("nodes", {}).items()}
    model = f"mock/{LATE}" if case.get("delays") else "mock/echo"
    whole = {"flowllm": 1, "model": model, **pipeline, "nodes": nodes}
    return renamed_ports(whole, kinds)


def node_of(name: str, node: dict, replies: dict) -> dict:
    kind = node.get("kind")
    if kind == "fake":
        return {**node, "kind": "validate", "in": {"value": node["in"]}}
    if kind == "validate":
        return {**node, "rules": {"is bad": "{{ value != 'bad' }}"}}
    if kind == "call" and (name in replies) and "model" not in node:
        return {**node, "model": f"mock/{name}"}
    return node


def renamed_ports(value, kinds: dict):
    """`ask.value` of a call is `ask.text`; `f.v` of a fake is `f.value.v`."""
    if isinstance(value, dict):
        return {key: renamed_ports(item, kinds) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed_ports(item, kinds) for item in value]
    if not isinstance(value, str):
        return value
    for name, kind in kinds.items():
        if kind == "call":
            value = re.sub(rf"\b{re.escape(name)}\.(value|choice)\b", f"{name}.text", value)
        elif kind == "fake":
            value = re.sub(rf"\b{re.escape(name)}\.(?!value\b)(\w+)", rf"{name}.value.\1", value)
    return value


def rules_of(case: dict) -> list[dict]:
    """Mock rules for `replies` and `delays`."""
    rules = []
    for node, replies in case.get("replies", {}).items():
        if isinstance(replies, list):
            rules.append({"model": node, **answer_of(replies)})
        else:
            rules += [{"model": node, "match": exactly(p), **answer_of([reply])} for p, reply in replies.items()]
            rules += [{"model": node, "match": exactly(p), "reply": p} for p in PROMPTS.get(case["name"], ())]
    if delays := case.get("delays", {}):
        rules += [{"model": LATE, "match": exactly(p), "reply": p, "latency": delays[p]} for p in delays]
        rules += [{"model": LATE, "match": exactly(p), "reply": p} for p in PROMPTS.get(case["name"], ())]
    return rules


LATE = "late"
"""The model of cases with delays: `mock/echo` reads no rules."""
PROMPTS = {
    "map_order_is_input_order": ("fast",),
    "map_around_retry": (),
    "item_fails_stops_the_map": ("a", "c"),
    "item_fails_keep_going": ("a", "c"),
    "every_item_fails": (),
    "item_fallback_value": ("a",),
}
"""Prompts that are answered by themselves where other prompts of the same node have replies."""


def answer_of(replies: list[str]) -> dict:
    if replies[0].startswith("!"):
        return {"error": {"status": 400, "message": replies[0].lstrip("!")}}
    return {"replies": replies}


def exactly(prompt: str) -> str:
    return f"^user: {re.escape(prompt)}$"


def called(ran: list[str], case: dict) -> set[str]:
    """The calls among what ran, as `--json` names nodes."""
    names = {re.sub(r"\[\d+\]|#\d+", "", word) for word in ran if word[-1] not in "*!"}
    inner = {
        name for file in case.get("files", {}).values() for name, n in file["nodes"].items() if n["kind"] == "call"
    }
    kinds = {name for name, node in case["p"]["nodes"].items() if node.get("kind") == "call"} | inner
    return {name for name in names if name.rpartition("/")[2] in kinds}


@pytest.fixture
def run(tmp_path: Path):
    """Write a case to files and run it; what is kept in the cache is kept between runs."""

    def carry_out(case: dict, given: dict, *words: str):
        (tmp_path / "pyproject.toml").write_text("")
        files = {"./pipeline.yaml": case["p"], **case.get("files", {})}
        for file, pipeline in files.items():
            text = yaml.safe_dump(pipeline_of(case, pipeline), sort_keys=False)
            (tmp_path / file).write_text(text)
        (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules_of(case)))
        (tmp_path / "row.json").write_text(json.dumps(given))
        row = ("-i", "@row.json") if given else ()
        words = ("run", "pipeline.yaml", "--mock", "rules.yaml", "--json", *row, *words)
        return run_apart(*words, cwd=tmp_path, FLOWLLM_CACHE_DIR=str(tmp_path / "cache"))

    return carry_out


def marked(name: str, place: int):
    return pytest.param(name, marks=[pytest.mark.slow] if place >= QUICK else [])


@pytest.mark.parametrize("name", [marked(name, place) for place, name in enumerate(EVERY_OTHER)])
def test_case(name, run):
    case = CASES[name]
    given = case.get("in", any_values(case["p"].get("inputs", {})) if "errors" in case else {})
    outcome = run(case, given)
    if "errors" in case:
        check_errors(case, outcome)
        return
    check(case, case, outcome)
    if "again" in case:
        again = case["again"]
        refresh = [word for address in again.get("refresh", ()) for word in ("--refresh", address)]
        check(case, again, run(case, again.get("in", given), *refresh))


def any_values(inputs: dict) -> dict:
    """Some value for each input, so that none is missing."""
    return {name: {"string": "x", "array": [], "integer": 1, "object": {}}[kind] for name, kind in inputs.items()}


def check_errors(case: dict, outcome) -> None:
    assert outcome.status == 2, outcome
    found = outcome.data["errors"]
    wanted = [re.match(r"(?:(\S+): )?(\w+)(?: ([\w.]+):)?", text).groups() for text in case["errors"]]
    assert len(found) == len(wanted), found
    for problem, (source, code, where) in zip(found, wanted, strict=True):
        assert problem["code"] == code
        assert problem.get("where", "").startswith(where or "")
        assert source in (None, problem.get("source"))


def check(case: dict, wanted: dict, outcome) -> None:
    out = wanted.get("out")
    if isinstance(out, str):
        assert outcome.status in (1, 4, 5), outcome
        address = re.match(r"FAILED (\S+): ", out)[1]
        assert [error["where"] for error in outcome.data["errors"]] == [f"step {address}"]
        return
    assert outcome.status == 0, outcome
    if out is not None:
        assert outcome.data["outputs"] == out
    ran = wanted.get("ran", wanted.get("ranset"))
    if ran is not None:
        nodes = outcome.data["nodes"]
        assert {name for name, row in nodes.items() if row.get("calls") or row.get("failed")} == called(ran, case)
        assert outcome.data["cache"]["hits"] == sum(word.endswith("*") for word in ran)


def test_at_least_40_cases_run(capsys):
    with capsys.disabled():
        print(  # noqa: T201  the count is to be seen
            f"\n{len(TAKEN)} of {len(CASES)} cases of the conformance table as processes, {QUICK} of them in every run"
        )
    assert len(TAKEN) >= QUICK >= 40
    assert set(LEFT_OUT) <= set(CASES)
