"""Which models a step asks when its own does not answer: those of its group, then its fallbacks."""

import pytest

from flowllm.compiler import compile_spec
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ProviderCard
from flowllm.core.delta import Finish, Text
from flowllm.core.errors import ProviderFailure, SetupError
from flowllm.core.kinds import Kinds
from flowllm.runtime import Engine, bind

CATALOG = Catalog({"open": ProviderCard("open", wire={"chat": "openai_chat"})})
GROUPS = {
    "fast": {"among": ["open/a", "open/b"]},
    "good": {"among": ["open/a", "open/c", "fast"]},
    "alias": "good",
}
CHOSEN = "{{ inputs.m }}"


def bound(own, check=lambda model: None):
    """One call, and the models that it asks, in order; only the last of them answers."""
    found = []

    async def backend(request, scope):
        found.append(request.model)
        if request.model != "open/last":
            raise ProviderFailure("auth", "no")
        yield Text("hi")
        yield Finish("stop")

    pipeline = {
        "inputs": {"m": {"type": "string", "enum": ["fast", "good", "alias", "open/d"], "default": "fast"}},
        "models": GROUPS,
        "nodes": {"ask": {"kind": "call", "prompt": "hello", **own}},
        "outputs": {"by": "ask.model"},
    }
    plan = compile_spec(parse_mapping(pipeline, kinds=Kinds()), kinds=Kinds(), catalog=CATALOG).plan
    return bind(plan, Engine(Kinds(), backend, check_model=check)), found


@pytest.mark.parametrize(
    ("model", "chosen", "asked"),
    [
        ("open/d", "fast", ["d"]),
        ("fast", "fast", ["a", "b"]),
        ("alias", "fast", ["a", "c", "b"]),
        (CHOSEN, "open/d", ["d"]),
        (CHOSEN, "fast", ["a", "b"]),
        (CHOSEN, "good", ["a", "c", "b"]),
        (CHOSEN, "alias", ["a", "c", "b"]),
    ],
)
async def test_a_group_is_asked_to_its_end_however_it_is_named(model, chosen, asked):
    ready, found = bound({"model": model, "fallback": ["open/b", "open/last"]})
    result = await ready.run({"m": chosen})
    expected = asked if "b" in asked else [*asked, "b"]
    assert found == [f"open/{name}" for name in [*expected, "last"]]
    assert result.outputs == {"by": "open/last"}


@pytest.mark.parametrize("off", [False, None])
async def test_fallback_switched_off(off):
    ready, found = bound({"model": "open/last", "fallback": off})
    assert (await ready.run({})).outputs == {"by": "open/last"}
    assert found == ["open/last"]


@pytest.mark.parametrize("member", ["open/a", "open/c", "open/b"])
def test_every_model_of_a_group_is_checked_before_the_run(member):
    def check(model):
        if model == member:
            raise SetupError("missing_key", f"no key for {model}")

    ready, _ = bound({"model": "good"}, check)
    with pytest.raises(SetupError, match=member):
        ready.check_models()
