"""What comes out: integers for names, captures, early demand, folded cases, digests, JSON, drawings."""

import random

import pytest

from flowllm.compiler import draw
from flowllm.compiler.candidates import asked, candidates
from flowllm.compiler.plan_json import digest, from_json, to_json
from flowllm.core.errors import UsageError
from flowllm.core.origin import Origin
from flowllm.core.plan import Plan, Step
from flowllm.core.slot import ListOf, Path, Template
from flowllm.policies.chain import parse_policy
from tests.spec.harness import compiled as case_plan
from tests.spec.harness import read_table
from tests.unit.compiler.worlds import compiled, nodes

CASES = {name: case for name, case in read_table().items() if "errors" not in case}
CALL = {"kind": "call", "prompt": "hi"}


def fake(*reads, **more):
    return {"kind": "fake", "in": {f"v{i}": read for i, read in enumerate(reads)}, **more}


def plan_of(pipeline, files=None):
    return compiled(pipeline, files).plan


def step_of(plan, *ids):
    """The step of that address."""
    step = next(step for step in plan.steps if step.id == ids[0])
    return step_of(step.body, *ids[1:]) if len(ids) > 1 else step


def names(plan, indexes):
    return [plan.steps[index].id for index in indexes]


def test_needs_are_indexes_of_earlier_steps():
    plan = plan_of(
        nodes(
            {"o": "c.value"}, c=fake("b.value", "a.value"), b=fake("a.value"), a=fake("inputs.text"), z=fake("c.value")
        )
    )
    assert [step.id for step in plan.steps] == ["a", "b", "c", "z"]
    assert [step.needs for step in plan.steps] == [(), (0,), (0, 1), (2,)]
    assert names(plan, plan.roots) == ["c"]


ROUTE = {
    "all cases share": ({"a": "x.value", "b": "y.value"}, "pre.value", ["pre"]),
    "a case needs nothing": ({"a": "x.value", "b": "y.value"}, {"const": 1}, []),
    "no default": ({"a": "x.value", "b": "y.value"}, None, ["pre"]),
    "one case": ({"a": "x.value"}, None, ["x"]),
    "directly and further back": ({"a": "x.value", "b": "pre.value"}, None, ["pre"]),
    "nothing in common": ({"a": "x.value", "b": "other.value"}, None, []),
    "through a route": ({"a": "inner.value", "b": "y.value"}, None, ["pre"]),
    "only in a case of a route": ({"a": "inner.value", "b": "other.value"}, None, []),
}


@pytest.mark.parametrize("name", ROUTE)
def test_early_is_what_every_case_needs(name):
    cases, default, early = ROUTE[name]
    route = {"kind": "route", "switch": "inputs.text", "cases": cases, **({"default": default} if default else {})}
    inner = {"kind": "route", "switch": "pre.v0", "cases": {"k": "other.value"}, "default": "x.value"}
    plan = plan_of(
        nodes(
            r=route,
            x=fake("pre.value"),
            y=fake("pre.value"),
            pre=fake("inputs.text"),
            other=fake("inputs.n"),
            inner=inner,
        )
    )
    assert names(plan, step_of(plan, "r").early) == early


def test_early_leaves_out_what_the_switch_needs():
    route = {"kind": "route", "switch": "x.v0", "cases": {"a": "x.value", "b": "y.value"}}
    plan = plan_of(nodes(r=route, x=fake("pre.value"), y=fake("pre.value"), pre=fake("inputs.text")))
    assert step_of(plan, "r").early == ()


def test_early_is_empty_where_no_case_may_be_rescued():
    route = {
        "kind": "route",
        "switch": "inputs.text",
        "cases": {"a": "x.value"},
        "when_failed": {"value": {"const": 1}},
    }
    assert step_of(plan_of(nodes(r=route, x=fake("inputs.text"))), "r").early == ()


def test_lazy_holds_what_a_case_reads():
    route = {"kind": "route", "switch": "inputs.text", "cases": {"a": ["x.value", "y.value"]}, "default": "x.value"}
    plan = plan_of(nodes(r=route, x=fake("inputs.text"), y=fake("x.value")))
    step = step_of(plan, "r")
    assert {case: names(plan, needs) for case, needs in step.lazy.items()} == {"": ["x"], "a": ["x", "y"]}
    assert step.needs == ()


def test_a_constant_switch_keeps_one_case():
    cases = {"k": "x.text", "dead": "y.text"}
    route = {"kind": "route", "switch": {"const": "k"}, "cases": cases, "default": {"const": 1}}
    plan = plan_of(nodes(r=route, x=CALL, y={**CALL, "model": "nowhere/none"}))
    step = step_of(plan, "r")
    assert (set(step.cases), step.default, step.folded) == ({"k"}, None, ("", "dead"))
    assert names(plan, step.early) == ["x"]
    assert (step_of(plan, "x").model, step_of(plan, "y").model) == ("acme/large", None)


def test_captures_are_what_is_read_from_outside():
    plan = plan_of(
        nodes(
            {"o": "m.items"},
            m={"kind": "map", "over": "inputs.xs", "as": "x", "around": ["r", "a"], "of": "r.value"},
            r={"kind": "retry", "around": ["a"], "of": ["a.text", "later.value"]},
            a={"kind": "call", "prompt": "{{ x.id }} {{ m.index }} {{ r.problem }} {{ pre.v0 }} {{ inputs.text }}"},
            pre=fake("inputs.n"),
            later=fake("inputs.n"),
        )
    )
    outer, inner = step_of(plan, "m"), step_of(plan, "m", "r")
    assert [str(path) for path in outer.captures] == ["inputs.text", "later.value", "pre.v0"]
    assert [str(path) for path in inner.captures] == ["inputs.text", "later.value", "m.index", "pre.v0", "x.id"]
    assert names(plan, outer.needs) == ["later", "pre"]
    assert inner.needs == ()


def test_each_becomes_a_map_of_the_same_id():
    plan = plan_of(
        nodes({"o": "w.items"}, w=fake("item.id", each="inputs.xs", at_once=3, after=["z"]), z=fake("inputs.n"))
    )
    step = step_of(plan, "w")
    assert (step.kind, dict(step.params), names(plan, step.needs)) == ("map", {"as": "item", "at_once": 3}, ["z"])
    assert step.inputs == {"over": Path("inputs", ("xs",))}
    assert step.body.outputs == {"of": Path("w")}
    assert (step_of(plan, "w", "w").kind, step.body.roots) == ("fake", (0,))


def test_the_problem_of_ok_is_errors():
    validate = {"kind": "validate", "in": {"value": "a.text"}, "rules": {"short": "{{ value | length < 5 }}"}}
    region = {"kind": "retry", "around": ["a", "check"], "of": "a.text", "until": "check.ok"}
    plan = plan_of(nodes({"o": "r.value"}, r=region, a={"kind": "call", "prompt": "{{ r.problem }}"}, check=validate))
    assert plan.steps[0].body.outputs["problem"] == Path("check", ("errors",))
    own = {**region, "problem": "{{ 'no' }}"}
    plan = plan_of(nodes({"o": "r.value"}, r=own, a={"kind": "call", "prompt": "{{ r.problem }}"}, check=validate))
    assert str(plan.steps[0].body.outputs["problem"]) != "check.errors"


def test_named_schemas_are_put_in():
    pipeline = {
        **nodes({"o": "a.value.n"}, a={**CALL, "schema": "schemas.s"}),
        "schemas": {"s": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
    plan = plan_of(pipeline)
    assert plan.steps[0].params["schema"] == pipeline["schemas"]["s"]
    assert plan.output_schemas["o"] == {"type": "integer"}


@pytest.mark.parametrize(
    ("defaults", "own", "wanted"),
    [
        ({}, {}, {}),
        ({"retry": {"attempts": 2}}, {}, {"retry": {"attempts": 2}}),
        ({"retry": {"attempts": 2, "base": 1}}, {"retry": {"attempts": 5}}, {"retry": {"attempts": 5, "base": 1}}),
        ({"retry": {"attempts": 2}}, {"retry": 3}, {"retry": 3}),
        ({"cache": {"ttl": "7d"}}, {"cache": False}, {"cache": False}),
        ({"timeout": "5s"}, {"cache": {}}, {"timeout": "5s", "cache": {}}),
    ],
)
def test_defaults_under_own_policies(defaults, own, wanted):
    plan = plan_of(
        {**nodes({"o": "a.text", "p": "b.value"}, a={**CALL, **own}, b=fake("inputs.n")), "policies": defaults}
    )
    assert dict(step_of(plan, "a").policies) == wanted
    assert dict(step_of(plan, "b").policies) == {}


MODELS = {
    "default": ({}, "acme/large", ()),
    "own": ({"model": "open/x"}, "open/x", ()),
    "alias": ({"model": "alias"}, "acme/small", ()),
    "group": ({"model": "group"}, "group", ()),
    "chosen": ({"model": "{{ inputs.which }}"}, None, ("open/a", "acme/small")),
}


@pytest.mark.parametrize("name", MODELS)
def test_models(name):
    own, model, several = MODELS[name]
    meaning = {"alias": "acme/small", "group": {"among": ["alias", "open/y"]}, "a": "open/a", "b": "alias"}
    plan = plan_of({**nodes({"o": "a.text"}, a={**CALL, **own}), "models": meaning})
    assert (plan.steps[0].model, plan.steps[0].models) == (model, several)
    if name == "group":
        assert plan.models == {"group": {"among": ["acme/small", "open/y"]}}
    if name == "chosen":
        assert plan.models == {"a": "open/a", "b": "acme/small"}


def test_a_sub_pipeline_takes_over_the_model_unless_it_has_its_own():
    inner = {"nodes": {"n": CALL}, "outputs": {"s": "n.text"}}
    use = {"kind": "pipeline", "use": "./s.yaml"}
    pipeline = nodes({"o": "d.s"}, d=use)
    assert step_of(plan_of(pipeline, {"./s.yaml": inner}), "d", "n").model == "acme/large"
    assert step_of(plan_of(pipeline, {"./s.yaml": {**inner, "model": "open/x"}}), "d", "n").model == "open/x"


def test_fallbacks_are_resolved():
    meaning = {"other": "open/y", "group": {"among": ["other", "open/w"]}}
    fallback = ["other", "open/z", "group"]
    pipeline = {**nodes({"o": "a.text"}, a={**CALL, "fallback": fallback}), "models": meaning}
    assert plan_of(pipeline).steps[0].policies["fallback"] == ["open/y", "open/z", "open/w"]


def test_groups_of_groups_are_plain_models():
    meaning = {
        "outer": {"among": ["inner", "open/a", "alias"]},
        "inner": {"among": ["open/b", "alias"]},
        "alias": "open/c",
    }
    plan = plan_of({**nodes({"o": "a.text"}, a={**CALL, "model": "outer"}), "models": meaning})
    assert plan.models["outer"] == {"among": ["open/b", "open/c", "open/a"]}
    assert asked(plan.steps[0], plan.models) == candidates("outer", plan.models) == ("open/b", "open/c", "open/a")


MERGED = {
    "node says it is on": ({"cache": {"ttl": "7d"}}, {"cache": True}, {"cache": "7d"}),
    "node says its own": ({"cache": {"ttl": "7d"}}, {"cache": {"ttl": "1d"}}, {"cache": "1d"}),
    "default was off": ({"cache": False}, {"cache": True}, {"cache": True}),
    "default was on": ({"cache": True}, {"cache": "1d"}, {"cache": "1d"}),
    "bare default": ({"retry": 2}, {"retry": {"base": 2}}, {"retry": {"attempts": 2, "base": 2}}),
    "bare node": ({"retry": {"attempts": 2, "base": 2}}, {"retry": 5}, {"retry": {"attempts": 5, "base": 2}}),
    "both bare": ({"timeout": 30}, {"timeout": "45s"}, {"timeout": "45s"}),
    "both mappings": ({"retry": {"base": 2}}, {"retry": {"cap": 3}}, {"retry": {"base": 2, "cap": 3}}),
    "off": ({"retry": 2}, {"retry": False}, {"retry": False}),
    "null": ({"cache": True}, {"cache": None}, {"cache": None}),
    "only the default": ({"cache": {"ttl": "7d"}}, {}, {"cache": {"ttl": "7d"}}),
    "fallbacks": ({"fallback": ["open/y"]}, {"fallback": "open/z"}, {"fallback": ["open/z"]}),
    "fallback off": ({"fallback": ["open/y"]}, {"fallback": False}, {}),
    "fallback null": ({}, {"fallback": None}, {}),
}


@pytest.mark.parametrize("name", MERGED)
def test_a_node_changes_what_it_writes_of_a_default(name):
    defaults, own, expected = MERGED[name]
    plan = plan_of({**nodes({"o": "a.text"}, a={**CALL, **own}), "policies": defaults})
    assert plan.steps[0].policies == expected
    for policy, raw in expected.items():
        parse_policy(policy, raw)


@pytest.mark.parametrize("name", CASES)
def test_json_is_an_exact_round_trip(name):
    import orjson

    plan = case_plan(CASES[name]).plan
    back = from_json(orjson.loads(orjson.dumps(to_json(plan))))
    assert back == plan
    assert to_json(back) == to_json(plan)


def test_another_version_is_refused():
    with pytest.raises(UsageError):
        from_json({**to_json(case_plan(CASES["map_reduce"]).plan), "version": 99})


def shuffled(value, dice):
    """The same data, every mapping in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, dice)) for key, item in value.items()]
        dice.shuffle(items)
        return dict(items)
    return [shuffled(item, dice) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", CASES)
def test_the_order_in_the_file_changes_nothing(name):
    case = CASES[name]
    plan = case_plan(case).plan
    other = case_plan({**case, "p": shuffled(case["p"], random.Random(1))}).plan
    assert (other, other.digest) == (plan, plan.digest)


BASE = nodes({"o": "a.text", "p": "b.value"}, a=CALL, b=fake("inputs.n"))
SUB = {"inputs": {}, "nodes": {"n": CALL}, "outputs": {"s": "n.text"}}
CHANGES = {
    "prompt": {**BASE, "nodes": {**BASE["nodes"], "a": {**CALL, "prompt": "hi "}}},
    "parameter": {**BASE, "nodes": {**BASE["nodes"], "b": fake("inputs.n", level=2)}},
    "reference": {**BASE, "nodes": {**BASE["nodes"], "b": fake("inputs.text")}},
    "model": {**BASE, "model": "acme/small"},
    "policy": {**BASE, "policies": {"timeout": 3}},
    "output": {**BASE, "outputs": {**BASE["outputs"], "o": "a.model"}},
    "input": {**BASE, "inputs": {**BASE["inputs"], "n": "number"}},
    "after": {**BASE, "nodes": {**BASE["nodes"], "b": fake("inputs.n", after=["a"])}},
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_digest_changes_with(name):
    assert plan_of(CHANGES[name]).digest != plan_of(BASE).digest


@pytest.mark.parametrize("change", [{"name": "other"}, {"description": "what it is for"}, {"print": "o"}])
def test_the_digest_does_not_change_with(change):
    assert plan_of({**BASE, **change}).digest == plan_of(BASE).digest


def test_the_digest_covers_sub_pipelines_and_not_their_path():
    def using(use, inner):
        return plan_of(nodes({"o": "d.s"}, d={"kind": "pipeline", "use": use}), {use: inner}).digest

    other = {**SUB, "nodes": {"n": {**CALL, "prompt": "ho"}}}
    assert using("./s.yaml", SUB) == using("./t.yaml", SUB) != using("./s.yaml", other)


def test_the_digest_covers_the_catalog_entries_that_are_used():
    from dataclasses import replace

    from flowllm.compiler import compile_spec
    from flowllm.core.card import Catalog
    from tests.unit.compiler.worlds import CATALOG, KINDS, spec_of

    def with_card(name, **changes):
        cards = {**CATALOG.providers, name: replace(CATALOG.providers[name], **changes)}
        return compile_spec(spec_of(BASE), kinds=KINDS, catalog=Catalog(cards)).plan.digest

    assert with_card("open", base_url="https://elsewhere.example") == plan_of(BASE).digest
    assert with_card("acme", base_url="https://elsewhere.example") != plan_of(BASE).digest
    assert with_card("acme", quirks={"drop": ["seed"]}) != plan_of(BASE).digest
    assert with_card("acme", docs="https://docs.example") == plan_of(BASE).digest


def test_the_digest_of_json_is_the_same():
    plan = plan_of(BASE)
    assert digest(from_json(to_json(plan))) == digest(plan)


DRAWN = nodes(
    {"o": "r.value"},
    r={"kind": "route", "switch": {"const": "k"}, "cases": {"k": "s.value", "dead": "y.text"}},
    s={"kind": "retry", "around": ["x"], "of": "x.text", "attempts": 2, "when_failed": {"value": "z.value"}},
    x={"kind": "call", "prompt": "{{ s.problem }}", "timeout": "45s", "cache": {"ttl": "7d"}, "fallback": ["open/y"]},
    y=CALL,
    z=fake("inputs.n"),
)


def test_tree():
    text = draw.tree(plan_of(DRAWN))
    lines = {line.lstrip("│├└─ ").partition(" ")[0]: line for line in text.splitlines()}
    assert (
        "timeout 45s > cache ttl=7d > single-flight > fallback open/y > retry > meter > acme/large or open/y"
        in lines["x"]
    )
    assert lines["x"].startswith("│  └─ x")
    assert "retry  at most 2 attempts  if it fails: value  <- failed: z" in lines["s"]
    assert '"k"  <- k: s  never: dead' in lines["r"]
    assert lines["y"].startswith(("├─ y  never runs  call", "└─ y  never runs  call"))


@pytest.mark.parametrize("form", draw.FORMATS)
@pytest.mark.parametrize("name", CASES)
def test_every_case_can_be_drawn(form, name):
    text = draw.FORMATS[form](case_plan(CASES[name]).plan)
    assert text.endswith("\n")
    assert "None" not in text


def test_boxes():
    plan = plan_of(DRAWN)
    assert 'subgraph n_s["s<br>retry at most 2 attempts if it fails: value"]' in draw.mermaid(plan)
    assert '  n_z -.->|"failed"| n_s\n' in draw.mermaid(plan)
    assert "class n_y never" in draw.mermaid(plan)
    assert 'subgraph "cluster_s" {' in draw.dot(plan)
    assert '"z" -> "s" [style=dashed, label="failed"];' in draw.dot(plan)


def test_a_constant_switch_that_no_case_fits_keeps_the_default():
    route = {"kind": "route", "switch": {"const": None}, "cases": {"k": "x.value"}, "default": "y.value"}
    plan = plan_of(nodes(r=route, x=fake("inputs.text"), y=fake("inputs.text")))
    step = step_of(plan, "r")
    assert (set(step.cases), step.default, step.folded) == (set(), Path("y", ("value",)), ("k",))
    assert set(step.inputs) == {"switch"}
    assert names(plan, step.lazy[""]) == ["y"]


def test_a_dropped_case_is_not_read_by_its_region():
    route = {"kind": "route", "switch": {"const": "k"}, "cases": {"k": {"const": 1}, "dead": ["x.value", "inputs.n"]}}
    region = {"kind": "cache", "around": ["r"], "of": "r.value"}
    plan = plan_of(nodes(c=region, r=route, x=fake("inputs.text")))
    assert (step_of(plan, "c").captures, step_of(plan, "c").needs) == ((), ())


def test_names_in_in_are_the_nodes_own():
    prompt = {
        "kind": "prompt",
        "in": {"q": "inputs.text", "a": "b.value"},
        "text": "{{ q }}{% if a %}{{ a }}{% endif %}",
    }
    plan = plan_of(nodes({"o": "p.text"}, p=prompt, b=fake("inputs.n")))
    assert names(plan, step_of(plan, "p").needs) == ["b"]
    assert plan_of(nodes(a=fake("inputs.text", extra="v0"))).steps[0].needs == ()


def test_when_failed_of_each_is_every_items():
    each = {**CALL, "each": "inputs.xs", "when_failed": {"text": "z.value"}}
    plan = plan_of(nodes({"o": "w.items"}, w=each, z=fake("inputs.n")))
    assert step_of(plan, "w").rescue is None
    assert step_of(plan, "w", "w").rescue.ports == {"text": Path("z", ("value",))}
    assert names(plan, step_of(plan, "w").needs) == ["z"]


def test_places_travel_and_count_for_nothing():
    from flowllm.compiler.slot_json import slot_from_json, slot_to_json
    from flowllm.core.origin import Layout, Origin

    at = Origin("a.yaml", 3, 9, layout=Layout(4, ((0, 2, 1, 7),)))
    back = slot_from_json(slot_to_json(Template("a\nb", at), places=True))
    assert (back.source, back.origin, back.origin.layout) == ("a\nb", at, at.layout)
    assert slot_to_json(Template("a", at), places=False) == slot_to_json(Template("a"), places=False)
    (back,) = slot_from_json(slot_to_json(ListOf((Path("x", (), at),)), places=True)).items
    assert back.origin == at


@pytest.mark.parametrize("value", [2**63 - 1, 2**64, -(10**40)])
def test_the_digest_holds_integers_of_any_size(value):
    def of(number):
        node = {"kind": "prompt", "text": "{{ x }}", "in": {"x": {"const": number}}}
        return plan_of({"name": "n", "nodes": {"a": node}, "outputs": {"o": "a.text"}}).digest

    assert of(value) == of(value) != of(value - 1)


def test_where_a_model_was_typed_travels_with_a_plan_and_changes_nothing_of_it():
    plain, typed = Step("ask", "call"), Step("ask", "call", typed=Origin(note="command line: model=a/b"))
    plans = [Plan("p", (step,), (0,)) for step in (plain, typed)]
    back = from_json(to_json(plans[1]))
    assert back.steps[0].asked_at == typed.typed
    assert digest(plans[0]) == digest(plans[1])
