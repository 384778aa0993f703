"""What the compiler refuses: each row a tiny pipeline and the one problem that it has."""

import pytest
import yaml

from tests.unit.compiler.worlds import compiled, errors, nodes, problems

CALL = {"kind": "call", "prompt": "hi"}
FAKE = {"kind": "fake", "in": {"v": "inputs.text"}}
OUT = {"o": "a.text"}


def out(path):
    return {"o": path}


def route(switch, *cases):
    return nodes(
        out("a.value"),
        a={"kind": "route", "switch": switch, "cases": {case: {"const": 1} for case in cases}, "default": 1},
    )


ONE = {
    # names
    "unknown reference": (
        nodes(out("split.parts"), splat=FAKE),
        "unknown_reference outputs.o: unknown reference `split.parts`",
    ),
    "unknown input": (
        nodes(a={"kind": "fake", "in": {"v": "inputs.txt"}}),
        "unknown_reference a.in: unknown reference `inputs.txt`",
    ),
    "bare input": (nodes(a={"kind": "fake", "in": {"v": "text"}}), "unknown_reference a.in: unknown reference `text`"),
    "unknown port": (nodes(out("a.txt"), a=CALL), "unknown_port outputs.o: `a` has no port `txt`; it has cost, "),
    "index of a node": (nodes(out("a[0]"), a=CALL), "unknown_port outputs.o: `a` has no port `[0]`"),
    "unknown after": (nodes(a={**FAKE, "after": ["b"]}), "unknown_reference a.after: unknown reference `b`"),
    "unknown member": (
        nodes(r={"kind": "retry", "around": ["a", "b"], "of": "a.value"}, a=FAKE),
        "unknown_reference r.around: unknown reference `b`",
    ),
    "when_failed of an own port": (
        nodes(OUT, a={**CALL, "when_failed": {"text": "a.model"}}),
        "unknown_port a.when_failed: `a` has no port `model` in its own when_failed",
    ),
    "hidden loop variable": (
        nodes(
            {"o": "t.text", "p": "a.value"},
            a=FAKE,
            t={"kind": "call", "prompt": "{% for a in inputs.xs %}{{ a }}{% endfor %}"},
        ),
        "hidden_name t.prompt: the template's own variable `a` hides the node `a`; rename it",
    ),
    "bad template": (nodes(OUT, a={"kind": "call", "prompt": "{{ 1 ** 2 }}"}), "bad_template a.prompt: "),
    "print": ({**nodes(a=FAKE), "print": "p"}, "unknown_reference print: there is no output `p`"),
    # kinds and fields
    "unknown kind": (nodes(a={"kind": "fak"}), "unknown_kind a.kind: there is no kind `fak`"),
    "unknown field": (nodes(a={**FAKE, "levle": 2}), "unknown_field a.levle: `fake` has no field `levle`"),
    "bad value": (nodes(a={**FAKE, "level": "high"}), "bad_value a.level: `level`: input should be a valid integer, "),
    "text that looks like a number": (
        nodes(a={**FAKE, "level": "1_000"}),
        "bad_value a.level: `level`: a number is needed, not `1_000`",
    ),
    "true for a number": (
        nodes(a={**FAKE, "level": True}),
        "bad_value a.level: `level`: a number is needed, not `true`",
    ),
    "text that looks like false": (
        nodes(
            {"o": "m.items"},
            m={"kind": "map", "over": "inputs.xs", "around": ["a"], "of": "a.value", "keep_going": "no"},
            a=FAKE,
        ),
        "bad_value m.keep_going: `keep_going`: true or false is needed, not `no`",
    ),
    "alternatives of one parameter are one fault": (
        nodes(OUT, a={**CALL, "stop": 12}),
        "bad_value a.stop: `stop`: input should be a list, not `12`",
    ),
    "missing field": (nodes(OUT, a={"kind": "call"}), "missing_field a: `a` needs `prompt` or `messages`"),
    "model on no call": (nodes(a={**FAKE, "model": "acme/large"}), "unknown_field a.model: `fake` asks no model"),
    "around on no region": (
        nodes({"o": "a.value", "p": "b.value"}, a={**FAKE, "around": ["b"]}, b=FAKE),
        "unknown_field a.around: `fake` owns no nodes",
    ),
    "as without each": (nodes(a={**FAKE, "as": "x"}), "unknown_field a.as: `as` goes with `each`, and `a` has none"),
    "unknown schema": (
        nodes(OUT, a={**CALL, "schema": "schemas.repli"}),
        "unknown_reference a.schema: unknown reference `schemas.repli`",
    ),
    "bad schema": ({**nodes(a=FAKE), "schemas": {"s": {"type": "strin"}}}, "bad_schema schemas.s: "),
    # ports and types
    "port that is missing": (nodes(a={"kind": "typed"}), "missing_input a.in: `a` needs `number`"),
    "port that is not there": (
        nodes(a={"kind": "typed", "in": {"number": 1, "nmber": 2}}),
        "unknown_port a.in: `typed` takes no `nmber`",
    ),
    "type of a port": (
        nodes(a={"kind": "typed", "in": {"number": "inputs.text"}}),
        "type_mismatch a.in.number: an integer is needed, and this is a string",
    ),
    "type of a literal": (nodes(a={"kind": "typed", "in": {"number": 1.5}}), "type_mismatch a.in.number: "),
    "type of a list": (
        nodes(a={"kind": "typed", "in": {"number": 1, "numbers": "inputs.xs[].id"}}),
        "type_mismatch a.in.numbers: ",
    ),
    "type of an item": (
        nodes(out("a.items"), a={"kind": "typed", "each": "inputs.xs", "in": {"number": "item.id"}}),
        "type_mismatch a.in.number: an integer is needed, and this is a string",
    ),
    "part of a text": (
        nodes(a={"kind": "fake", "in": {"v": "inputs.text.words"}}),
        "type_mismatch a.in: `inputs.text` is a string and has no `.words`",
    ),
    "part of a list": (
        nodes(a={"kind": "fake", "in": {"v": "inputs.xs.id"}}),
        "type_mismatch a.in: `inputs.xs` is a list of an object and has no `.id`",
    ),
    "items of a text": (
        nodes(out("m.items"), m={"kind": "map", "over": "inputs.text", "around": ["a"], "of": "a.value"}, a=FAKE),
        "type_mismatch m.over: `over` needs a list, and this is a string",
    ),
    "part in a template": (
        nodes(OUT, a={"kind": "call", "prompt": "{{ inputs.n.x }}"}),
        "type_mismatch a.prompt: `inputs.n` is an integer and has no `.x`",
    ),
    "case that is missing": (
        nodes(r={"kind": "route", "switch": "inputs.which", "cases": {"a": {"const": 1}}}),
        "case_missing r.cases: `r` has no case for `b` and no default",
    ),
    "case that a constant lacks": (
        nodes(r={"kind": "route", "switch": {"const": 2}, "cases": {"1": {"const": 1}}}),
        "case_missing r.cases: `r` has no case for `2` and no default",
    ),
    "case that a huge constant lacks": (
        nodes(r={"kind": "route", "switch": {"const": 2**70}, "cases": {"1": {"const": 1}}}),
        "case_missing r.cases: `r` has no case for `1180591620717411303424` and no default",
    ),
    "case key that is a number": (
        nodes(r={"kind": "route", "switch": "inputs.which", "cases": {1: {"const": 1}}}),
        "bad_key r.cases: key 1 is not a string; quote it",
    ),
    "text around an expression that goes into a number": (
        nodes(a={"kind": "typed", "in": {"number": "n {{ inputs.n }}"}}),
        "text_around_expression a.in: ",
    ),
    "text around an expression that a route switches on": (
        nodes(r={"kind": "route", "switch": "n {{ inputs.n }}", "cases": {"null": {"const": 1}}}),
        "text_around_expression r.switch: ",
    ),
    "broken expression that goes into a number": (
        nodes(a={"kind": "typed", "in": {"number": "{{ inputs. }}"}}),
        "bad_template a.in: the template does not parse",
    ),
    "id with an unseen character": (
        nodes({"o": "b.value"}, **{"a\u200bb": FAKE, "b": FAKE}),
        "bad_key nodes: key `a<U+200B>b` holds a character that cannot be seen",
    ),
    "kind under a key that looks like it": (
        nodes(a={"k\u0456nd": "fake"}),
        "missing_field a: `a` does not say its `kind`; its `k\u0456nd` is written with U+0456, which only looks like",
    ),
    "kind under a mistyped key": (
        nodes(a={"knid": "fake"}),
        "missing_field a: `a` does not say its `kind`; it has `knid`",
    ),
    "half of a character": (
        nodes(a={"kind": "fake", "in": {"v": {"const": ["x\ud800"]}}}),
        "bad_value a.in.v.const[0]: `x\\ud800` holds half of a character",
    ),
    "no number": (
        nodes(r={"kind": "route", "switch": {"const": float("nan")}, "default": {"const": 1}}),
        "bad_value r.switch.const: `nan` is no number that JSON knows",
    ),
    "case named default": (
        nodes(r={"kind": "route", "switch": "inputs.text", "cases": {"default": {"const": 1}, "a": {"const": 1}}}),
        "bad_key r.cases: `default` is no case; what no case fits goes to `default`, which stands beside `cases`",
    ),
    "case without a name": (
        nodes(r={"kind": "route", "switch": "inputs.text", "cases": {"": {"const": 1}}, "default": {"const": 2}}),
        "bad_key r.cases: `` is no case; ",
    ),
    # regions
    "region without nodes": (
        nodes(r={"kind": "retry", "around": [], "of": {"const": 1}}),
        "bad_around r.around: `r` lists no nodes",
    ),
    "region that lists itself": (
        nodes(r={"kind": "retry", "around": ["a", "r"], "of": "a.value"}, a=FAKE),
        "bad_around r.around: `r` lists itself",
    ),
    "each on a route": (
        nodes({"o": "r.items"}, r={"kind": "route", "each": "inputs.xs", "switch": "item.id", "default": {"const": 1}}),
        "each_on_region r.each: `each` cannot stand on a route",
    ),
    "each on a region": (
        nodes(
            r={"kind": "retry", "each": "inputs.xs", "around": ["a"], "of": "a.value"},
            a={"kind": "fake", "in": {"v": "item"}},
        ),
        "each_on_region r.each: `each` cannot stand on a retry",
    ),
    "policy of a region": (
        nodes(r={"kind": "cache", "around": ["a"], "of": "a.value", "retry": 3}, a=FAKE),
        "policy_not_allowed r.retry: `cache` cannot carry out the policy `retry`",
    ),
    "policy of a plain node": (
        nodes(a={**FAKE, "cache": {}}),
        "policy_not_allowed a.cache: `fake` cannot carry out the policy `cache`",
    ),
    "in of a region": (
        nodes(r={"kind": "retry", "around": ["a"], "of": "a.value", "in": {"x": 1}}, a=FAKE),
        "unknown_port r.in: `retry` takes nothing with `in`",
    ),
    "item of an inner map": (
        nodes(
            out("m.items"),
            m={"kind": "map", "over": "inputs.xs", "around": ["w"], "of": "w.items"},
            w={**CALL, "each": "item.ys", "prompt": "{{ item }}"},
        ),
        "as_hides w.as: the item `item` of `w` hides the item of `m`",
    ),
    "item named like a node": (
        nodes(
            out("m.items"),
            m={"kind": "map", "as": "a", "over": "inputs.xs", "around": ["a"], "of": {"const": 1}},
            a=FAKE,
        ),
        "as_hides m.as: the item `a` of `m` hides the node `a`",
    ),
    "own value of each": (
        nodes(out("w.items"), w={**CALL, "each": "inputs.xs", "prompt": "{{ w.text }}"}),
        "own_value_inside w.prompt: `w.text` is not known inside `w`; inside it has index",
    ),
    "region in a region": (
        nodes(
            out("a.value"),
            m={"kind": "map", "over": "inputs.xs", "around": ["r"], "of": "r.value"},
            r={"kind": "cache", "around": ["a"], "of": "a.value"},
            a=FAKE,
        ),
        "inside_a_region outputs.o: `a` is inside `m`; outside read m.errors, m.indexes, m.items",
    ),
    # circles
    "node that reads itself": (nodes(a={"kind": "fake", "in": {"v": "a.value"}}), "cycle a: a -> a: "),
    "two nodes": (
        nodes(a={"kind": "fake", "in": {"v": "b.value"}}, b={"kind": "fake", "in": {"v": "a.value"}}),
        "cycle a: a -> b -> a: ",
    ),
    "circle through after": (
        nodes(a={**FAKE, "after": ["b"]}, b={"kind": "fake", "in": {"v": "a.value"}}),
        "cycle a: a -> b -> a: ",
    ),
    "circle through when_failed": (
        nodes(OUT, a={**CALL, "when_failed": {"text": "b.value"}}, b={"kind": "fake", "in": {"v": "a.text"}}),
        "cycle a: a -> b -> a: ",
    ),
    # models
    "unknown provider": (
        nodes(OUT, a={**CALL, "model": "acmee/large"}),
        "unknown_provider a.model: there is no provider `acmee`",
    ),
    "unknown model": (
        nodes(OUT, a={**CALL, "model": "acme/larg"}),
        "unknown_model a.model: `acme` has no model `larg`",
    ),
    "model without provider": (
        nodes(OUT, a={**CALL, "model": "large"}),
        "unknown_model a.model: there is no model `large`",
    ),
    "unknown default": (
        {**nodes(OUT, a=CALL), "model": "nope/x"},
        "unknown_provider model: there is no provider `nope`",
    ),
    "model for vectors": (
        nodes(OUT, a={**CALL, "model": "acme/vectors"}),
        "capability_mismatch a.model: `acme/vectors` answers no chat requests",
    ),
    "model without images": (
        nodes(OUT, a={"kind": "call", "model": "acme/small", "prompt": [{"user": [{"image": "inputs.any"}]}]}),
        "capability_mismatch a.model: `acme/small` takes no images",
    ),
    "fallback": (nodes(OUT, a={**CALL, "fallback": ["acme/no"]}), "unknown_model a.fallback: `acme` has no model `no`"),
    "aliases that circle": (
        {**nodes(OUT, a={**CALL, "model": "x"}), "models": {"x": "y", "y": "x"}},
        "cycle models.x: the models x -> y -> x name each other",
    ),
    "model that a node chooses": (
        nodes(OUT, a={**CALL, "model": "{{ b.choice }}"}, b={**CALL, "choices": ["acme/large", "acme/small"]}),
        "model_not_static a.model: ",
    ),
    "model that any input chooses": (
        nodes(OUT, a={**CALL, "model": "{{ inputs.text }}"}),
        "model_not_static a.model: ",
    ),
    "one of several models": (
        nodes(out("a.items"), a={**CALL, "each": {"const": ["acme/large", "acme/no"]}, "model": "{{ item }}"}),
        "unknown_model a.model: `acme` has no model `no`",
    ),
    "prompt that cannot fit": (
        nodes(OUT, a={"kind": "call", "model": "acme/tiny", "prompt": "word " * 500 + "{{ inputs.text }}"}),
        "context_too_long a.prompt: the fixed text has about ",
    ),
    # policies
    "unknown policy": (
        {**nodes(OUT, a=CALL), "policies": {"retri": 3}},
        "unknown_field policies.retri: there is no policy `retri`",
    ),
    "bad policy": (nodes(OUT, a={**CALL, "timeout": "soon"}), "bad_value a.timeout: "),
    **{
        f"rule {rule}": (nodes(v={"kind": "validate", "in": {"value": "inputs.text"}, "rules": {"no": rule}}), begin)
        for rule, begin in {
            "value > 3": "not_a_path v.rules.no: `value > 3` is not a path; an expression is written",
            "value is short": "not_a_path v.rules.no: `value is short` is not a path; a condition is one expression",
            "{{ 3 > 2 }}": "bad_value v.rules.no: a condition that reads nothing is the same for every value",
            True: "bad_value v.rules.no: a condition that reads nothing is the same for every value",
            "inputs.text": "type_mismatch v.rules.no: a condition is true or false, and this is a string",
        }.items()
    },
    "constant rule": (
        nodes(v={"kind": "validate", "in": {"value": "inputs.text"}, "rules": {"no": {"const": "value > 3"}}}),
        "bad_value v.rules.no: a condition that reads nothing is the same for every value",
    ),
    "a port that when_failed makes up": (
        nodes(OUT, a={**CALL, "when_failed": {"text": {"const": 1}, "txt": {"const": 2}}}),
        "unknown_port a.when_failed: `a` has no port `txt`; it has ",
    ),
    "a port of a region that when_failed makes up": (
        nodes(
            out("r.value"),
            r={"kind": "cache", "around": ["a"], "of": "a.value", "when_failed": {"text": {"const": 1}}},
            a=FAKE,
        ),
        "unknown_port r.when_failed: `r` has no port `text`; it has hit, value",
    ),
    "a port of an each that when_failed makes up": (
        nodes(out("w.items"), w={**CALL, "each": "inputs.xs", "when_failed": {"txt": {"const": 1}}}),
        "unknown_port w.when_failed: `w` has no port `txt`",
    ),
    "a node called inputs": (
        nodes(out("inputs.value"), inputs=FAKE, a=FAKE),
        "bad_name inputs: `inputs` is the name of the pipeline's inputs",
    ),
    "no outputs": (
        {name: part for name, part in nodes(OUT, a=CALL).items() if name != "outputs"},
        "missing_field outputs: a pipeline needs `outputs`; without any nothing runs",
    ),
    **{
        f"default {default!r} of {schema}": (
            {**nodes(a={"kind": "fake"}), "inputs": {"n": {**schema, "default": default}}},
            f"type_mismatch inputs.n.default: the default of `n` is no value for it: {said}",
        )
        for schema, default, said in [
            ({"type": "integer"}, "abc", "expected integer, got string"),
            ({"type": "integer", "minimum": 10}, 3, "expected at least 10"),
            ({"enum": ["a", "b"]}, "c", "expected one of"),
            ({"type": "array", "items": {"type": "string"}}, [1], "$[0]: expected string, got integer"),
            ({"type": "string"}, None, "expected string, got null"),
        ]
    },
    "a misspelt field is told once": (
        nodes(OUT, a={"kind": "call", "promt": "hi"}),
        "unknown_field a.promt: `call` has no field `promt`",
    ),
    "a misspelt port is told once": (
        nodes(a={"kind": "typed", "in": {"numbr": 3}}),
        "unknown_port a.in: `typed` takes no `numbr`",
    ),
    "constant until": (
        nodes(r={"kind": "retry", "around": ["a"], "of": "a.value", "until": {"const": "a.value"}}, a=FAKE),
        "bad_value r.until: a condition that reads nothing is the same for every value",
    ),
    "until a list": (
        nodes(r={"kind": "retry", "around": ["a"], "of": "a.value", "until": ["a.value"]}, a=FAKE),
        "type_mismatch r.until: a condition is true or false, and this is a list",
    ),
    "limit": (nodes(OUT, a={**CALL, "limit": 3}), "not_available_yet a.limit: the policy `limit` is not available yet"),
    "breaker": ({**nodes(OUT, a=CALL), "policies": {"breaker": 3}}, "not_available_yet policies.breaker: "),
    "strategy": (
        {
            **nodes(OUT, a={**CALL, "model": "g"}),
            "models": {"g": {"strategy": "least_latency", "among": ["acme/large"]}},
        },
        "not_available_yet models.g.strategy: ",
    ),
    "group of itself": (
        {**nodes(OUT, a={**CALL, "model": "g"}), "models": {"g": {"among": ["open/x", "g"]}}},
        "cycle models.g: the models g -> g name each other",
    ),
    "groups of each other": (
        {**nodes(OUT, a={**CALL, "model": "g"}), "models": {"g": {"among": ["w"]}, "w": "h", "h": {"among": ["g"]}}},
        "cycle models.g: the models g -> h -> g name each other",
    ),
    "group without models": (
        {**nodes(OUT, a={**CALL, "model": "g"}), "models": {"g": {"among": []}}},
        "bad_value models.g: ",
    ),
}


@pytest.mark.parametrize(
    ("pipeline", "hint"),
    [
        ({**nodes(OUT, a=CALL), "policies": {"breaker": True}}, {"policies": {"breaker": False}}),
        ({**nodes(OUT, a={**CALL, "limit": 3})}, {"limit": False}),
    ],
)
def test_the_hint_for_what_is_not_available_can_be_pasted(pipeline, hint):
    (problem,) = problems(pipeline)
    pasted = yaml.safe_load(problem.hint)
    assert pasted == hint
    node = {name: value for name, value in pipeline["nodes"]["a"].items() if name != "limit"}
    top = {name: value for name, value in pasted.items() if name == "policies"}
    own = {} if top else pasted
    assert errors({**pipeline, "nodes": {"a": {**node, **own}}, **top}) == []


@pytest.mark.parametrize("name", ONE)
def test_one_problem(name):
    pipeline, begin = ONE[name]
    found = errors(pipeline)
    assert len(found) == 1, found
    assert found[0].startswith(begin), found


FINE = {
    "alias": {**nodes(OUT, a={**CALL, "model": "w"}), "models": {"w": "v", "v": "open/anything"}},
    "group without strategy": {
        **nodes(OUT, a={**CALL, "model": "g"}),
        "models": {"g": {"among": ["acme/large", "open/x"]}},
    },
    "group that nothing needs": {
        **nodes(OUT, a=CALL, b={**CALL, "model": "g"}),
        "models": {"g": {"strategy": "x", "among": ["acme/large"]}},
    },
    "limit that nothing needs": nodes(OUT, a=CALL, b={**CALL, "limit": 2}),
    "limit switched off": {**nodes(OUT, a={**CALL, "limit": False}), "policies": {"limit": 3}},
    "model that an enum chooses": {
        **nodes(OUT, a={**CALL, "model": "{{ inputs.which }}"}),
        "models": {"a": "acme/large", "b": "acme/small"},
    },
    "integer where a number is wanted": nodes(a={"kind": "typed", "in": {"number": 3}}),
    "what is not known": nodes(a={"kind": "typed", "in": {"number": "inputs.any"}}),
    "null of an optional port": nodes(a={"kind": "typed", "in": {"number": 1, "text": {"const": None}}}),
    "all cases of an enum": nodes(
        r={"kind": "route", "switch": "inputs.which", "cases": {"a": {"const": 1}, "b": {"const": 2}}}
    ),
    "a route that fails on purpose": nodes(
        r={
            "kind": "route",
            "switch": {"const": 2},
            "cases": {"1": {"const": 1}},
            "when_failed": {"value": {"const": 0}},
        }
    ),
    **{
        f"default {default!r}": {**nodes(a={"kind": "fake"}), "inputs": {"n": {**schema, "default": default}}}
        for schema, default in [
            ({"type": "integer", "minimum": 3}, 3),
            ({"type": ["string", "null"]}, None),
            ({"type": "number"}, 3),
            ({}, [1]),
        ]
    },
    "rules of all forms": nodes(
        v={
            "kind": "validate",
            "in": {"value": "inputs.any"},
            "rules": {"a": "{{ value > 3 }}", "b": "value.ok", "c": "inputs.any", "d": "{{ inputs.text == 'x' }}"},
        }
    ),
    "until is absent": nodes(r={"kind": "retry", "around": ["a"], "of": "a.value", "until": None}, a=FAKE),
    "timeout of a region": nodes(r={"kind": "cache", "around": ["a"], "of": "a.value", "timeout": 3}, a=FAKE),
    "index of an each in its when_failed": nodes(
        out("w.items"), w={**CALL, "each": "inputs.xs", "when_failed": {"text": "{{ w.error ~ w.index }}"}}
    ),
}


@pytest.mark.parametrize("name", FINE)
def test_no_problem(name):
    assert errors(FINE[name]) == []


HINTS = {
    "reference": (nodes(out("spilt.value"), split=FAKE), "did you mean `split.value`?"),
    "input": (nodes(a={"kind": "fake", "in": {"v": "inputs.txt"}}), "did you mean `inputs.text`?"),
    "bare input": (nodes(a={"kind": "fake", "in": {"v": "text"}}), "did you mean `inputs.text`?"),
    "port": (nodes(out("a.txt"), a=CALL), "did you mean `a.text`?"),
    "field": (nodes(a={**FAKE, "levle": 2}), "did you mean `level`?"),
    "a policy of the whole pipeline": (
        nodes(OUT, a={**CALL, "breaker": {"failures": 3}}),
        "at the top of the file: policies: {breaker: ...}",
    ),
    "index of a map": (
        nodes(
            out("m.items"),
            m={"kind": "map", "over": "inputs.xs", "around": ["a"], "of": "a.value"},
            a={"kind": "fake", "in": {"v": "index"}},
        ),
        "did you mean `m.index`?",
    ),
    "problem of a retry": (
        nodes(
            out("r.value"),
            r={"kind": "retry", "around": ["a"], "of": "a.text"},
            a={"kind": "call", "prompt": "{{ problem }}"},
        ),
        "did you mean `r.problem`?",
    ),
    "no outputs": (
        {name: part for name, part in nodes(OUT, a=CALL).items() if name != "outputs"},
        "outputs: {text: a.text}",
    ),
    "default null": (
        {**nodes(a={"kind": "fake"}), "inputs": {"n": {"type": "string", "default": None}}},
        'type: [string, "null"]',
    ),
    "default too small": (
        {**nodes(a={"kind": "fake"}), "inputs": {"n": {"type": "integer", "minimum": 10, "default": 3}}},
        "default: 10",
    ),
    "rule without braces": (
        nodes(v={"kind": "validate", "in": {"value": "inputs.any"}, "rules": {"no": "value == 'x'"}}),
        "\"{{ value == 'x' }}\"",
    ),
    "rule of words": (
        nodes(v={"kind": "validate", "in": {"value": "inputs.any"}, "rules": {"no": "is short"}}),
        '"{{ value | length > 0 }}"',
    ),
    "constant until": (
        nodes(r={"kind": "retry", "around": ["a"], "of": "a.value", "until": False}, a=FAKE),
        '"{{ a.value | length > 0 }}"',
    ),
    "constant rule of a number": (
        nodes(v={"kind": "validate", "in": {"value": "inputs.n"}, "rules": {"no": True}}),
        '"{{ value > 0 }}"',
    ),
    "rule with text around": (
        nodes(v={"kind": "validate", "in": {"value": "inputs.n"}, "rules": {"no": "yes {{ value > 3 }}"}}),
        '"{{ value > 3 }}"',
    ),
    "until with text around": (
        nodes(r={"kind": "retry", "around": ["a"], "of": "a.value", "until": "{{ a.value }} is good"}, a=FAKE),
        '"{{ a.value }}"',
    ),
    "rule of a type": (
        nodes(v={"kind": "validate", "in": {"value": "inputs.any"}, "rules": {"no": "inputs.xs"}}),
        '"{{ inputs.xs | length > 0 }}"',
    ),
    "kind": (nodes(a={"kind": "fak"}), "did you mean `fake`?"),
    "provider": (nodes(OUT, a={**CALL, "model": "acmee/large"}), "did you mean `acme/large`?"),
    "model": (nodes(OUT, a={**CALL, "model": "acme/larg"}), "did you mean `acme/large`?"),
    "list": (nodes(a={"kind": "fake", "in": {"v": "inputs.xs.id"}}), "every item's: `inputs.xs[].id`"),
    "region": (
        nodes(
            out("r.value"),
            r={"kind": "retry", "around": ["a", "c"], "of": "c.value"},
            a=FAKE,
            b={"kind": "fake", "in": {"v": "a.value"}},
            c={"kind": "fake", "in": {"v": "b.value"}},
        ),
        "r: {around: [a, b, c]}",
    ),
    "circle by a port": (
        nodes(a={"kind": "fake", "in": {"v": "b.value"}}, b={"kind": "fake", "in": {"v": "a.value"}}),
        "drop `b.value` from `a.in.v`, or repeat both with a retry around them",
    ),
    "circle by after": (
        nodes(a={**FAKE, "after": ["c", "b"]}, c=FAKE, b={"kind": "fake", "in": {"v": "a.value"}}),
        "a: {after: [c]}",
    ),
    "circle through a region": (
        nodes(
            a={"kind": "fake", "in": {"v": "r.value"}},
            r={"kind": "retry", "around": ["x"], "of": "x.value"},
            x={"kind": "fake", "in": {"v": "a.value"}},
        ),
        "drop `r.value` from `a.in.v`, or repeat both with a retry around them",
    ),
    "type of a schema": (
        {**nodes(a=FAKE), "schemas": {"s": {"type": "objct"}}},
        "type: object  # or string, integer, number, boolean, array, object, null",
    ),
    "reference of a schema": ({**nodes(a=FAKE), "schemas": {"s": {"$ref": "#/$defs/x"}}}, "$ref: '#/$defs/name'"),
    "enumeration of a schema": ({**nodes(a=FAKE), "schemas": {"s": {"enum": 3}}}, "enum: [first, second]"),
    "a port written as a field": (
        nodes(out("a.parts"), a={"kind": "split", "text": "inputs.text"}),
        "in: {text: inputs.text}",
    ),
    "value of a parameter": (nodes(a={**FAKE, "level": "high"}), "level: 1"),
    "item": (
        nodes(
            out("m.items"),
            m={"kind": "map", "over": "inputs.xs", "around": ["a"], "of": "b.value"},
            a=FAKE,
            b={"kind": "fake", "in": {"v": "item"}},
        ),
        "m: {around: [a, b]}",
    ),
}

MISMATCHES = {
    "a text from a number": ("split", {"text": "inputs.n"}, 'in: {text: "{{ inputs.n | tojson }}"}'),
    "a text from a list": ("split", {"text": "inputs.xs[].id"}, "in: {text: \"{{ inputs.xs[].id | join('\\\\n') }}\"}"),
    "a number from a text": ("typed", {"number": "inputs.text"}, 'in: {number: "{{ inputs.text | int }}"}'),
    "a number from an expression": ("typed", {"number": "{{ inputs.xs }}"}, 'in: {number: "{{ inputs.xs | length }}"}'),
    "a number from a constant": ("typed", {"number": {"const": "x"}}, "in: {number: {const: 1}}"),
    "a text from a constant": ("split", {"text": 5}, 'in: {text: {const: "5"}}'),
    "a list from a number": ("typed", {"number": 1, "numbers": "inputs.n"}, "in: {numbers: [inputs.n]}"),
    "a list from a text": ("typed", {"number": 1, "numbers": "inputs.text"}, "in: {numbers: {const: [1]}}"),
    "a part of a text": ("fake", {"v": "inputs.text.words"}, "the whole of it is `inputs.text`"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_wrong_type_has_a_hint(name):
    kind, ports, hint = MISMATCHES[name]
    (problem,) = problems(nodes({"o": "inputs.text", "p": "a"}, a={"kind": kind, "in": ports}))
    assert (problem.code, problem.hint) == ("type_mismatch", hint)


def test_a_port_of_the_right_type_is_named():
    cut = {"kind": "truncate", "in": {"text": "inputs.text"}, "max_tokens": 9}
    (problem,) = problems(nodes({"o": "s.parts"}, s={"kind": "split", "in": {"text": "cut.tokens"}}, cut=cut))
    assert (problem.code, problem.hint) == ("type_mismatch", "did you mean `cut.text`?")


@pytest.mark.parametrize("name", HINTS)
def test_hints(name):
    pipeline, hint = HINTS[name]
    assert [problem.hint for problem in problems(pipeline)] == [hint]


def test_all_faults_come_at_once_and_nothing_derived():
    faults = nodes(
        {"o": "good.value", "p": "lost.value", "q": "typo.value", "r": "ask.txt"},
        good={"kind": "fake", "in": {"v": "nowhere.text"}},
        typo={"kind": "fke", "in": {"v": "inputs.text"}},
        bad={"kind": "fake", "in": {"v": "typo.whatever"}, "levl": 3},
        uses={"kind": "fake", "in": {"v": "bad.anything"}},
        ask={"kind": "call", "prompt": "hi", "model": "acmee/large"},
        ring={"kind": "fake", "in": {"v": "ring.value"}},
    )
    assert [problem.code for problem in problems(faults)] == [
        "unknown_provider",
        "unknown_field",
        "unknown_reference",
        "unknown_reference",
        "unknown_port",
        "cycle",
        "unknown_kind",
        "unknown_port",
    ]


def test_a_circle_hides_no_other_fault():
    pipeline = nodes(
        {"o": "a.text", "p": "b.value"}, a={"kind": "call", "prompt": "{{ a.text }}{{ inputs.n.x }}"}, b=FAKE
    )
    assert [problem.code for problem in problems(pipeline)] == ["cycle", "type_mismatch"]


def test_given_inputs():
    pipeline = {**nodes(a=FAKE), "inputs": {"text": "string", "n": {"type": "integer", "default": 1}}}
    assert errors(pipeline) == []
    assert errors(pipeline, given=["text"]) == []
    assert errors(pipeline, given=["n"]) == ["missing_input inputs.text: the input `text` is not given"]


SUB = {
    "./s.yaml": {
        "inputs": {"t": "string"},
        "nodes": {"n": {"kind": "fake", "in": {"v": "inputs.t"}}},
        "outputs": {"s": "n.v"},
    }
}
USES = {
    "right": ({"t": "inputs.text"}, []),
    "missing": ({}, ["missing_input d.in: `./s.yaml` needs its input `t`"]),
    "unknown": ({"t": "inputs.text", "u": 1}, ["unknown_input d.in: `./s.yaml` has no input `u`"]),
    "type": ({"t": "inputs.n"}, ["type_mismatch d.in.t: a string is needed, and this is an integer"]),
}


@pytest.mark.parametrize("name", USES)
def test_sub_pipelines(name):
    given, wanted = USES[name]
    pipeline = nodes({"o": "d.s"}, d={"kind": "pipeline", "use": "./s.yaml", "in": given})
    assert errors(pipeline, SUB) == wanted


def test_problems_of_a_sub_pipeline_name_it_once():
    files = {"./s.yaml": {"nodes": {"n": {"kind": "fake", "in": {"v": "nowhere"}}}, "outputs": {"s": "n.v"}}}
    use = {"kind": "pipeline", "use": "./s.yaml"}
    found = errors(nodes({"o": "d.s", "p": "e.s"}, d=use, e=use), files)
    assert found == ["./s.yaml: unknown_reference n.in: unknown reference `nowhere`"]


@pytest.mark.parametrize(
    ("pipeline", "wanted"),
    [
        (nodes(OUT, a=CALL, b=FAKE), ["unreachable b"]),
        (route("inputs.n", "one", "2"), ["unreachable a.cases"]),
        (route("inputs.n", "1", "-2.5"), []),
        (route("{{ inputs.n > 3 }}", "maybe", "true"), ["unreachable a.cases"]),
        (route("{{ not inputs.any }}", "true", "false"), []),
        (route("{{ inputs.n + 3 }}", "maybe"), []),
        (
            nodes(
                out("r.value"),
                r={"kind": "retry", "around": ["a", "b"], "of": "a.text"},
                a={"kind": "call", "prompt": "{{ r.problem }}"},
                b=FAKE,
            ),
            ["unreachable b"],
        ),
        (nodes(out("r.value"), r={"kind": "retry", "around": ["a"], "of": "a.text"}, a=CALL), ["retry_blind r"]),
        (nodes(out("r.value"), r={"kind": "retry", "around": ["a"], "of": "a.text", "attempts": 1}, a=CALL), []),
        (nodes(OUT, a=CALL, r={"kind": "cache", "around": ["b"], "of": "b.value"}, b=FAKE), ["unreachable r"]),
        (
            nodes(
                out("r.value"),
                r={"kind": "retry", "around": ["a"], "of": "a.text"},
                a={"kind": "call", "prompt": "{{ r.attempt }}"},
            ),
            ["retry_blind r"],
        ),
        (
            nodes(
                out("r.value"),
                r={"kind": "retry", "around": ["a"], "of": "a.text"},
                a={"kind": "call", "prompt": "{{ r.last }}"},
            ),
            [],
        ),
        (nodes(out("r.value"), r={"kind": "retry", "around": ["a"], "of": "a.v"}, a=FAKE), []),
        (nodes(out("a.items"), a={**CALL, "each": "inputs.xs", "keep_going": True}), ["errors_unread a"]),
        (nodes({"o": "a.items", "e": "a.errors"}, a={**CALL, "each": "inputs.xs", "keep_going": True}), []),
        (nodes({"o": "{{ a }}"}, a={**CALL, "each": "inputs.xs", "keep_going": True}), []),
        (
            nodes(
                out("m.items"),
                m={"kind": "map", "over": "inputs.xs", "around": ["r"], "of": "r.value"},
                r={"kind": "route", "switch": "item.id", "cases": {"a": "a.text"}, "default": "item"},
                a=CALL,
            ),
            ["case_outside_region r.cases.a"],
        ),
        *(
            (nodes(OUT, a={"kind": "call", "prompt": prompt}), [f"literal_path {where}" for where in wanted])
            for prompt, wanted in [
                ("inputs.text", ["a.prompt"]),
                (" inputs.text\n", ["a.prompt"]),
                ([{"system": "Be brief."}, {"user": "inputs.text"}], ["a.prompt"]),
                ("Say ${vars.tone} hello", ["a.prompt"]),
                ("{{ inputs.text }}", []),
                ("Read inputs.text", []),
                ("hello", []),
                ("example.com", []),
                ("it costs ${price}", []),
            ]
        ),
    ],
)
def test_warnings(pipeline, wanted):
    from tests.unit.compiler.worlds import compiled

    assert [f"{warning.code} {warning.where}" for warning in compiled(pipeline).warnings] == wanted
    assert [f"{problem.code} {problem.where}" for problem in problems(pipeline, strict=True)] == wanted


def test_a_call_without_a_model_is_a_note_where_it_can_run():
    from tests.unit.compiler.worlds import compiled

    pipeline = {**nodes(OUT, a=CALL, b=CALL), "model": None}
    assert [note.where for note in compiled(pipeline).notes] == ["a"]
    assert compiled(pipeline).plan.steps[0].model is None


def test_a_path_among_the_words_is_said_how_it_is_read():
    from tests.unit.compiler.worlds import compiled

    (warning,) = compiled(nodes(OUT, a={"kind": "call", "prompt": "inputs.text"})).warnings
    assert warning.hint == 'prompt: "{{ inputs.text }}"'


@pytest.mark.parametrize(
    ("switch", "cases", "never"),
    [
        ("inputs.which", ["a", "b", "c"], ["c"]),
        ("inputs.which", ["a", "b"], []),
        ("{{ inputs.which }}", ["a", "x", "y"], ["x", "y"]),
        ("inputs.text", ["a", "x"], []),
        ({"const": "a"}, ["a", "x"], []),
    ],
)
def test_cases_that_the_switch_cannot_have(switch, cases, never):
    slots = {case: {"const": 1} for case in cases}
    pipeline = nodes(r={"kind": "route", "switch": switch, "cases": slots, "default": {"const": 2}})
    warned = [(warning.where, warning.message.split("`")[1]) for warning in compiled(pipeline).warnings]
    assert warned == [("r.cases", name) for name in never]


def test_outputs_under_a_misspelt_key_are_told_once():
    pipeline = nodes(OUT, a=CALL)
    pipeline["output"] = pipeline.pop("outputs")
    assert [problem.code for problem in problems(pipeline)] == ["unknown_field"]
