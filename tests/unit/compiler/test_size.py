"""Large graphs: nothing recurses, and a circle is named whatever its length (C1, C12)."""

import sys

import pytest

from tests.unit.compiler.worlds import compiled, errors, nodes


def fake(*reads):
    return {"kind": "fake", "in": {f"v{i}": read for i, read in enumerate(reads)}}


@pytest.fixture
def shallow():
    """A stack that a walk along a long chain would overflow."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(400)
    yield
    sys.setrecursionlimit(before)


def test_c12_a_chain_of_5000(shallow):
    chain = {f"n{i}": fake(f"n{i - 1}.value" if i else "inputs.text") for i in range(5000)}
    plan = compiled(nodes({"o": "n4999.value"}, **chain)).plan
    assert [step.needs for step in plan.steps] == [(), *((i,) for i in range(4999))]


def test_c12_a_graph_of_10000():
    graph = {f"n{i}": fake(f"n{i // 2}.value", f"n{i - 1}.value") if i else fake("inputs.text") for i in range(10_000)}
    plan = compiled(nodes({"o": "n9999.value"}, **graph)).plan
    assert len(plan.steps) == 10_000
    assert all(need < index for index, step in enumerate(plan.steps) for need in step.needs)


def test_thousands_of_routes(shallow):
    routes = {
        f"r{i}": {
            "kind": "route",
            "switch": "inputs.which",
            "cases": {"a": f"r{i - 1}.value", "b": f"r{max(i - 2, 0)}.value"},
        }
        for i in range(1, 2000)
    }
    plan = compiled(nodes({"o": "r1999.value"}, r0=fake("inputs.text"), **routes)).plan
    assert plan.steps[plan.roots[0]].early == (0,)


def test_c1_a_circle_of_5000(shallow):
    ring = {f"n{i}": fake(f"n{(i - 1) % 5000}.value") for i in range(5000)}
    (found,) = errors(nodes({"o": "n0.value"}, **ring))
    assert found.startswith("cycle n0: n0 -> n4999 -> n4998 -> ")
    assert found.endswith(" -> n1 -> n0: each waits for the next")
    assert len(found) < 200


def test_c1_every_circle_is_named():
    found = errors(
        nodes(
            {"o": "a.value"},
            a=fake("b.value", "c.value"),
            b=fake("a.value"),
            c=fake("d.value"),
            d=fake("c.value"),
            e=fake("e.value"),
        )
    )
    assert found == [
        "cycle a: a -> b -> a: each waits for the next",
        "cycle c: c -> d -> c: each waits for the next",
        "cycle e: e -> e: each waits for the next",
    ]


def test_regions_in_regions_have_an_end():
    regions = {
        f"r{i}": {
            "kind": "cache",
            "around": [f"r{i + 1}" if i < 60 else "a"],
            "of": f"r{i + 1}.value" if i < 60 else "a.value",
        }
        for i in range(61)
    }
    (found,) = errors(nodes({"o": "r0.value"}, **regions, a=fake("inputs.text")))
    assert found.startswith("bad_around ")
