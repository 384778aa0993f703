"""What models can do against what they are asked for, and providers whose files are broken."""

import pytest

from flowllm.compiler import compile_spec
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.kinds import Kinds

SHAPE = {"type": "object", "required": ["n"]}
PLAIN = ModelCard("plain", supports=frozenset({"images"}))
ABLE = ModelCard("able", supports=frozenset({"json_schema", "tools"}))
PROVIDERS = {
    "acme": ProviderCard(
        "acme",
        models={
            "plain": PLAIN,
            "able": ABLE,
            "wordy": ModelCard("wordy", supports=frozenset(), quirks={"structured": "json_object"}),
            "unsaid": ModelCard("unsaid"),
        },
    ),
    "open": ProviderCard("open", models={"plain": PLAIN}, quirks={"structured": "none"}),
}
BROKEN = Problem("unknown_field", "a provider file has no `modles`", "aaa.modles", hint="did you mean `models`?")


class Files(dict):
    """Cards, some of which cannot be made."""

    def __getitem__(self, name):
        found = super().__getitem__(name)
        if isinstance(found, Problem):
            raise PipelineInvalid([found])
        return found


def findings(nodes, providers=PROVIDERS, **more):
    written = {"nodes": nodes, "outputs": {name: f"{name}.text" for name in nodes}, **more}
    spec = parse_mapping(written, kinds=Kinds())
    try:
        compile_spec(spec, kinds=Kinds(), catalog=Catalog(Files(providers)))
    except PipelineInvalid as invalid:
        return list(invalid.problems)
    return []


def ask(model, **more):
    return {"kind": "call", "prompt": "x", "model": model, **more}


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (ask("acme/plain", schema=SHAPE), "`acme/plain` takes no `schema`"),
        (ask("acme/plain", schema="schemas.shape"), "`acme/plain` takes no `schema`"),
        (ask("acme/plain", schema=SHAPE, tools=[{"name": "f"}]), "`acme/plain` takes no `schema` and no tools"),
        (ask("acme/able", schema=SHAPE, fallback=["acme/plain"]), "`acme/plain` takes no `schema`"),
        (ask("acme/able", schema=SHAPE), None),
        (ask("acme/plain"), None),
        (ask("acme/unsaid", schema=SHAPE), None),
        (ask("acme/unlisted", schema=SHAPE), None),
        (ask("acme/wordy", schema=SHAPE), None),
        (ask("open/plain", schema=SHAPE), None),
    ],
)
def test_a_schema_needs_a_model_that_takes_one_as_far_as_that_is_known(node, message):
    found = findings({"ask": node}, schemas={"shape": SHAPE})
    expected = [] if message is None else [("capability_mismatch", message, "model: acme/able")]
    assert [(problem.code, problem.message, problem.hint) for problem in found] == expected


def test_validate_may_have_a_schema_whatever_the_model_takes():
    check = {"kind": "validate", "in": {"text": "ask.text"}, "schema": SHAPE}
    assert findings({"ask": ask("acme/plain"), "check": check}, outputs={"o": "check.value"}) == []


@pytest.mark.parametrize("node", [ask("aaa/m"), ask("acme/able", fallback=["aaa/m"])])
def test_a_broken_provider_is_told_of_with_all_other_problems(node):
    found = findings({"ask": node, "b": ask("acme/plain", temperature=9)}, {**PROVIDERS, "aaa": BROKEN})
    assert [problem.code for problem in found] == ["unknown_field", "bad_value"]
    assert found[0] == BROKEN


def test_a_broken_provider_is_told_of_once():
    assert findings({"ask": ask("aaa/m"), "b": ask("aaa/other")}, {"aaa": BROKEN}) == [BROKEN]


def test_a_broken_provider_that_nothing_asks_harms_nothing():
    providers = {"aaa": BROKEN, **PROVIDERS}
    assert findings({"ask": ask("acme/able")}, providers) == []
    (mismatch,) = findings({"ask": ask("acme/plain", schema=SHAPE)}, providers)
    assert mismatch.hint == "model: acme/able"
