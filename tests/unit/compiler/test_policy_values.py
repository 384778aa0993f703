"""What is wrong with the value of a policy: which part, in which words, and what to write instead."""

import pytest

from flowllm.compiler import compile_spec
from flowllm.compiler.call_policies import fallbacks
from flowllm.config import load, load_yaml
from flowllm.core.errors import PipelineInvalid
from flowllm.policies import SETTABLE
from flowllm.policies.chain import parse_policy, policy_model
from tests.unit.compiler.worlds import CATALOG, KINDS, problems

CALL = "kind: call, prompt: x, model: open/m"
NO_LENGTH = "is no length of time such as 500ms, 45s, 2m or 7d"


def found(written: str, top: str = ""):
    own = f", {written}" if written else ""
    text = f"{{nodes: {{a: {{{CALL}{own}}}}}, outputs: {{o: a.text}}, policies: {{{top}}}}}"
    return problems(load_yaml(text, "p.yaml")[0])


@pytest.mark.parametrize(
    ("written", "where", "message", "hint"),
    [
        ("retry: {attempts: -1}", "a.retry.attempts", "`attempts` is at least 1, not `-1`", "retry: {attempts: 4}"),
        ("retry: {attempts: x}", "a.retry.attempts", "`attempts` is a whole number, not `x`", "retry: {attempts: 4}"),
        ("retry: {base: x}", "a.retry.base", f"`x` {NO_LENGTH}", "retry: {base: 500ms}"),
        ("retry: {restart: 3}", "a.retry.restart", "`restart` is true or false, not `3`", "retry: {restart: true}"),
        ("retry: 0", "a.retry", "`retry` is at least 1, not `0`", "retry: 4"),
        ("retry: often", "a.retry", "`retry` is a whole number, not `often`", "retry: 4"),
        ("retry: []", "a.retry", "`retry` is a whole number, not a list", "retry: 4"),
        ("timeout: 5 parsecs", "a.timeout", f"`5 parsecs` {NO_LENGTH}", "timeout: 45s"),
        ("timeout: 0", "a.timeout", "`timeout` is above 0, not `0`", "timeout: 45s"),
        ("timeout: {}", "a.timeout", "`timeout` needs `seconds`", "timeout: {seconds: 45s}"),
        ("attempt_timeout: -3", "a.attempt_timeout", f"`-3` {NO_LENGTH}", "attempt_timeout: 45s"),
        ("cache: {ttl: x}", "a.cache.ttl", f"`x` {NO_LENGTH}", "cache: {ttl: 7d}"),
        ("cache: x", "a.cache", f"`x` {NO_LENGTH}", "cache: 7d"),
        ("cache: {tll: 7d}", "a.cache.tll", "`cache` has no `tll`", "did you mean `ttl`?"),
        ("fallback: 3", "a.fallback", "`fallback` is a list, not `3`", "fallback: [openai/gpt-5.4-mini]"),
        ("fallback: []", "a.fallback", "`fallback` needs at least 1", "fallback: [openai/gpt-5.4-mini]"),
        ("fallback: [m/n, 3]", "a.fallback.1", "`fallback[1]` is a text, not `3`", "fallback: [openai/gpt-5.4-mini]"),
        ("fallback: [typo/model]", "a.fallback", "there is no provider `typo`", "known here: acme, builtin, open"),
        ("limit: {at_once: 0}", "a.limit.at_once", "`at_once` is at least 1, not `0`", "limit: {at_once: 8}"),
    ],
)
def test_a_bad_value_has_its_place_and_a_hint(written, where, message, hint):
    assert [(problem.where, problem.message, problem.hint) for problem in found(written)] == [(where, message, hint)]


def test_all_parts_that_are_wrong_come_at_once():
    places = [problem.where for problem in found("retry: {attempts: 0, base: x, bse: 1}, timeout: x")]
    assert sorted(places) == ["a.retry.attempts", "a.retry.base", "a.retry.bse", "a.timeout"]


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("meter: false", "the policy `meter` is always on and cannot be set", "leave `meter` out"),
        ("meter: {}", "the policy `meter` is always on and cannot be set", "leave `meter` out"),
        ("single_flight: true", "the policy `single_flight` comes with `cache` and cannot be set", "cache: {ttl: 7d}"),
        ("retyr: 3", "there is no policy `retyr`", "did you mean `retry`?"),
        ("when_failed: {}", "there is no policy `when_failed`", f"known here: {', '.join(sorted(SETTABLE))}"),
    ],
)
def test_only_what_may_be_set_is_a_default(written, message, hint):
    (problem,) = found("", top=written)
    assert (problem.code, problem.message, problem.hint) == ("unknown_field", message, hint)
    assert problem.where == f"policies.{written.partition(':')[0]}"


def test_a_default_that_is_wrong_is_told_of_once():
    (problem,) = found("", top="retry: {attempts: 0}")
    assert (problem.where, problem.hint) == ("policies.retry.attempts", "retry: {attempts: 4}")


@pytest.mark.parametrize("name", SETTABLE)
def test_hints_are_good_values(name):
    bad = "{}" if name == "fallback" else "{none_such: 1}"
    for written in (f"{name}: [[]]", f"{name}: {bad}"):
        for problem in found("", top=written):
            if ": " in problem.hint and not problem.hint.startswith(("did", "known")):
                value = load_yaml(problem.hint, "hint")[0][name]
                parse_policy(name, value)


@pytest.mark.parametrize("name", SETTABLE)
def test_every_parameter_has_an_example_that_it_takes(name):
    for parameter in policy_model(name).model_fields:
        (problem,) = [one for one in found("", top=f"{name}: {{{parameter}: {{}}}}") if one.code == "bad_value"]
        assert parse_policy(name, {**_needed(name), **load_yaml(problem.hint, "hint")[0][name]}) is not None


def _needed(name):
    return {"timeout": {"seconds": 1}, "attempt_timeout": {"seconds": 1}, "fallback": {"models": ["a/b"]}}.get(name, {})


@pytest.mark.parametrize(
    "written",
    [
        "retry: {attempts: >-1}",
        "retry: >0",
        "retry: {base: 1s, >bse: 1}",
        "fallback: [open/m, >3]",
        "timeout: >{}",
    ],
)
@pytest.mark.parametrize("top", [False, True])
def test_the_part_that_is_wrong_is_where_it_stands(written, top, tmp_path):
    before, _, behind = written.partition(">")
    if top:
        text = f"policies:\n  {before}{behind}\nnodes: {{a: {{{CALL}}}}}\noutputs: {{o: a.text}}\n"
    else:
        text = (
            f"outputs: {{o: a.text}}\nnodes:\n  a:\n    {CALL.replace(', ', chr(10) + '    ')}\n    {before}{behind}\n"
        )
    path = tmp_path / "p.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(PipelineInvalid) as refused:
        compile_spec(load(path, [], kinds=KINDS), kinds=KINDS, catalog=CATALOG)
    (problem,) = refused.value.problems
    line, indent = (2, 3) if top else (7, 5)
    assert (problem.origin.line, problem.origin.column) == (line, indent + len(before))


@pytest.mark.parametrize("written", ["retyr: 3", "meter: false", "single_flight: true"])
def test_a_policy_that_cannot_be_set_is_at_its_name(written, tmp_path):
    path = tmp_path / "p.yaml"
    path.write_text(f"policies:\n  {written}\nnodes: {{a: {{{CALL}}}}}\noutputs: {{o: a.text}}\n", "utf-8")
    with pytest.raises(PipelineInvalid) as refused:
        compile_spec(load(path, [], kinds=KINDS), kinds=KINDS, catalog=CATALOG)
    (problem,) = refused.value.problems
    assert (problem.origin.line, problem.origin.column) == (2, 3)


@pytest.mark.parametrize(
    ("raw", "models"),
    [
        (["a/b", "c/d"], ["a/b", "c/d"]),
        ("a/b", ["a/b"]),
        ({"models": ["a/b", 3]}, ["a/b"]),
        ({"models": "a/b"}, ["a/b"]),
        ({}, []),
        (None, []),
    ],
)
def test_the_models_of_a_fallback(raw, models):
    assert fallbacks({"fallback": raw, "retry": 3}) == models
    assert fallbacks({}) == []
