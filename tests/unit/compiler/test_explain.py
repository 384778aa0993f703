"""What a plan is, for people: what runs, in which order policies stand, what is special about a step."""

import pytest

from flowllm.compiler.explain import Link, outline
from tests.unit.compiler.worlds import compiled, nodes

CALL = {"kind": "call", "prompt": "hi"}
A = {"kind": "fake", "in": {"v": "inputs.text"}}
ITEMS = {"kind": "map", "around": ["a"], "of": "a.value", "over": "inputs.xs", "as": "one"}
ROUTE = {"kind": "route", "switch": "inputs.which", "cases": {"a": "a.value"}, "default": "b.value"}


def steps(outputs=None, /, files=None, **written):
    return {step.id: step for step in outline(compiled(nodes(outputs, **written), files).plan).steps}


@pytest.mark.parametrize(
    ("written", "details"),
    [
        ({"s": {"kind": "retry", "around": ["a"], "of": "a.value", "until": "{{ s.attempt > 1 }}"}},
         ["at most 3 attempts"]),
        ({"s": {"kind": "retry", "around": ["a"], "of": "a.value", "until": "{{ s.attempt > 1 }}", "attempts": 5}},
         ["at most 5 attempts"]),
        ({"s": ITEMS}, ["each one of inputs.xs"]),
        ({"s": {**ITEMS, "keep_going": False}}, ["each one of inputs.xs"]),
        ({"s": {**ITEMS, "keep_going": True}}, ["each one of inputs.xs", "keeps going"]),
        ({"s": {**ITEMS, "over": "{{ inputs.xs[1:] }}"}}, ["each one of {{ inputs.xs[1:] }}"]),
        ({"s": {**ITEMS, "over": {"const": [1, "é"]}}}, ['each one of [1, "é"]']),
        ({"s": {**ITEMS, "over": ["inputs.n"]}}, ["each one of {...}"]),
        ({"s": {"kind": "cache", "around": ["a"], "of": "a.value"}}, []),
        ({"s": {"kind": "cache", "around": ["a"], "of": "a.value", "ttl": "7d"}}, ["for 7d"]),
        ({"s": {**ROUTE, "default": "inputs.n"}}, ["by inputs.which"]),
        ({"s": {**ROUTE, "default": "inputs.n", "when_failed": {"value": {"const": 1}}}},
         ["by inputs.which", "if it fails: value"]),
        ({"s": {"kind": "fake", "in": {"v": "a.value"}, "when_failed": {"value": {"const": 1}, "v": {"const": 2}}}},
         ["if it fails: v, value"]),
        ({"s": {"kind": "fake", "in": {"v": "a.value", "switch": "inputs.n", "over": "inputs.xs"}, "level": 2}}, []),
    ],
)  # fmt: skip
def test_details(written, details):
    assert list(steps({"o": "inputs.n"}, **written, a=A)["s"].details) == details


def test_a_sub_pipeline_tells_its_file():
    inner = {"nodes": {"n": CALL}, "outputs": {"s": "n.text"}}
    found = steps({"o": "d.s"}, {"./s.yaml": inner}, d={"kind": "pipeline", "use": "./s.yaml"})
    assert found["d"].details == ("./s.yaml",)
    assert [step.address for step in found["d"].inner] == ["d/n"]


BODY = {"kind": "cache", "around": ["inner", "way", "b"], "of": "way.value"}


@pytest.mark.parametrize(
    ("written", "runs"),
    [
        ({"s": {**A, "in": {"v": "a.value"}}}, {"s": "always", "a": "always", "b": "never"}),
        ({"s": {**ROUTE, "when_failed": {"value": {"const": 1}}}}, {"s": "always", "a": "maybe", "b": "maybe"}),
        ({"s": {**ROUTE, "default": "a.value"}}, {"s": "always", "a": "always", "b": "never"}),
        ({"s": {**A, "when_failed": {"value": "a.value"}}}, {"s": "always", "a": "maybe", "b": "never"}),
        ({"s": {**A, "in": {"v": "a.value"}, "when_failed": {"value": "a.value"}}}, {"a": "always"}),
        ({"s": {**ROUTE, "switch": {"const": "a"}}}, {"s": "always", "a": "always", "b": "never"}),
    ],
)
def test_what_runs(written, runs):
    found = steps(**written, a=A, b=A)
    assert {name: found[name].runs for name in runs} == runs


def test_what_runs_inside_a_region():
    route = {**ROUTE, "cases": {"a": "inner.value"}, "default": "b.value"}
    written = {"c": BODY, "way": route, "inner": A, "b": A, "a": A}
    for outputs, wanted in [
        ({"o": "c.value"}, {"way": "always", "inner": "maybe", "b": "maybe"}),
        ({"o": "a.value"}, {"way": "never", "inner": "never", "b": "never"}),
    ]:
        inner = steps(outputs, **written)["c"].inner
        assert {step.id: step.runs for step in inner} == wanted
        assert {step.address for step in inner} == {f"c/{name}" for name in wanted}


def test_links_name_the_case_that_reads():
    written = {**ROUTE, "cases": {"a": "a.value", "b": ["b.value", "a.value"]}, "default": "b.value"}
    found = steps(s={**written, "after": ["z"], "when_failed": {"value": "y.value"}}, a=A, b=A, y=A, z=A)
    told = [Link("z"), Link("a", "a"), Link("a", "b"), Link("b", "b"), Link("b", "default"), Link("y", "failed")]
    assert sorted(found["s"].links, key=str) == sorted(told, key=str)


def test_links_inside_a_region_are_addresses():
    region = {"kind": "cache", "around": ["a", "b"], "of": "b.value"}
    found = steps(c=region, a=A, b={"kind": "fake", "in": {"v": "a.value", "w": "a.v"}})
    assert {step.id: step.links for step in found["c"].inner} == {"a": (), "b": (Link("c/a"),)}


@pytest.mark.parametrize(("switch", "dropped"), [("a", ["default", "b"]), ("b", ["default", "a"]), ("c", ["a", "b"])])
def test_dropped_cases(switch, dropped):
    found = steps(s={**ROUTE, "switch": {"const": switch}, "cases": {"a": "a.value", "b": "b.value"}}, a=A, b=A)
    assert sorted(found["s"].dropped) == sorted(dropped)


@pytest.mark.parametrize(
    ("own", "around"),
    [
        ({}, ["retry", "meter"]),
        ({"retry": False}, ["meter"]),
        ({"retry": None}, ["meter"]),
        ({"retry": {}}, ["retry", "meter"]),
        ({"retry": True}, ["retry", "meter"]),
        ({"retry": 5}, ["retry 5", "meter"]),
        ({"retry": {"attempts": 2, "base": "1s"}}, ["retry attempts=2 base=1s", "meter"]),
        ({"timeout": "45s"}, ["timeout 45s", "retry", "meter"]),
        ({"timeout": False}, ["retry", "meter"]),
        ({"cache": True}, ["cache", "single-flight", "retry", "meter"]),
        ({"cache": "7d"}, ["cache 7d", "single-flight", "retry", "meter"]),
        ({"cache": False}, ["retry", "meter"]),
        ({"fallback": ["open/a", "open/b"]}, ["fallback open/a, open/b", "retry", "meter"]),
    ],
)
def test_policies_stand_as_they_are_around_the_call(own, around):
    assert list(steps({"o": "c.text"}, c={**CALL, **own})["c"].policies) == around


def test_steps_that_ask_nothing_have_the_policies_that_they_write():
    found = steps(s={**A, "timeout": "3s"}, a=A)
    assert (found["s"].policies, found["a"].policies) == (("timeout 3s",), ())
    assert (found["s"].models, found["a"].models) == ((), ())


def test_models_are_those_behind_the_names():
    inner = {"nodes": {"n": {**CALL, "model": "own"}}, "outputs": {"s": "n.text"}, "models": {"own": "open/x"}}
    use = {"kind": "pipeline", "use": "./s.yaml"}
    found = steps({"o": "d.s"}, {"./s.yaml": inner}, d=use, e={**CALL, "fallback": ["open/z"]})
    assert (found["d"].models, found["d"].inner[0].models, found["e"].models) == (
        (),
        ("open/x",),
        ("acme/large", "open/z"),
    )


def test_the_outline_of_a_plan():
    plan = compiled({**nodes({"o": "a.value", "n": "inputs.n"}, a=A), "name": "letters"}).plan
    found = outline(plan)
    assert (found.name, found.digest) == ("letters", plan.digest)
    assert found.inputs == ("text", "n", "xs", "which", "any")
    assert found.outputs == {"o": "a.value", "n": "inputs.n"}
