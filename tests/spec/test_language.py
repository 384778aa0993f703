"""The conformance table of the language: every case, through the compiler and the executor."""

import pytest

from flowllm.core.errors import PipelineInvalid
from tests.spec.harness import World, compiled, read_table

CASES = read_table()
WANTED = {"errors", "out", "ran", "ranset", "stream", "again"}
WRONG = [name for name, case in CASES.items() if "errors" in case]
RIGHT = [name for name in CASES if name not in WRONG]


def test_the_table_is_whole():
    assert len(CASES) == 88
    assert all(WANTED & case.keys() for case in CASES.values())


@pytest.mark.parametrize("name", WRONG)
def test_errors(name):
    with pytest.raises(PipelineInvalid) as raised:
        compiled(CASES[name])
    found = [str(problem) for problem in raised.value.problems]
    wanted = CASES[name]["errors"]
    assert len(found) == len(wanted), found
    assert [text for text, begin in zip(found, wanted, strict=True) if not text.startswith(begin)] == []


@pytest.mark.parametrize("name", [name for name in RIGHT if "warn" in CASES[name]])
def test_warnings(name):
    warnings = compiled(CASES[name]).warnings
    assert sorted(warning.code for warning in warnings) == sorted(CASES[name]["warn"])


@pytest.mark.parametrize("name", RIGHT)
async def test_runs(name):
    case = CASES[name]
    world = World(case)
    if "stream" not in case or {"out", "ran", "ranset"} & case.keys():
        check(case, await world.run(case.get("in", {})))
    for output, deltas in case.get("stream", {}).items():
        assert await World(case).stream(case.get("in", {}), output) == deltas
    if "again" in case:
        again = case["again"]
        check(again, await world.run(again.get("in", case.get("in", {})), again.get("refresh", ())))


def check(wanted, got):
    out, ran = got
    if "out" in wanted:
        assert out == wanted["out"]
    elif isinstance(out, str):
        pytest.fail(out)
    if "ran" in wanted:
        assert ran == wanted["ran"]
    if "ranset" in wanted:
        assert sorted(ran) == sorted(wanted["ranset"])
