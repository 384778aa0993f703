"""What is wrong with the value of a policy, in the user's words, each part at its place."""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from pydantic import ValidationError

from flowllm.core.policy import Policy
from flowllm.text.misfits import Misfit, misfits

_EXAMPLES = {
    "seconds": "45s",
    "ttl": "7d",
    "models": "[openai/gpt-5.4-mini]",
    "replies": "true",
    "attempts": "4",
    "base": "500ms",
    "cap": "20s",
    "longest": "60s",
    "restart": "true",
    "failures": "5",
    "pause": "5s",
    "at_once": "8",
    "requests_per_minute": "60",
    "tokens_per_minute": "100000",
}
"""A good value of each parameter."""


def wrong_parts(name: str, raw: object) -> Iterator[Misfit]:
    """Every part of what was written after ``name:`` that the policy does not take.

    ``steps`` lead from the policy's value to the part; none where the bare value is meant.
    """
    from flowllm.policies.chain import parameters, policy_model

    model = policy_model(name)
    assert model is not None
    try:
        given = parameters(name, raw)
        if given is not None:
            model.model_validate(given)
    except ValidationError as error:
        for misfit in misfits(error, given, model, f"`{name}`", _EXAMPLES):
            yield _of_policy(name, model, raw, misfit)
    except ValueError as error:
        yield Misfit("bad_value", str(error), (), f"{name}: true")


def _of_policy(name: str, model: type[Policy], raw: object, misfit: Misfit) -> Misfit:
    """A misfit of the parameters as one of the policy: a bare value stands for its main parameter."""
    main = model.shorthand
    if not isinstance(raw, Mapping):
        example = _EXAMPLES.get(main, "true")
        inside = misfit.steps[1:] if isinstance(raw, list) else ()
        places = "".join(f"[{step}]" for step in inside)
        message = misfit.message.replace(f"`{main}{places}`", f"`{name}{places}`", 1)
        return Misfit("bad_value", message, inside, f"{name}: {example}")
    if misfit.code == "unknown_field":
        return misfit
    parameter = str(misfit.steps[0]) if misfit.steps else main
    return replace(misfit, hint=f"{name}: {{{parameter}: {_EXAMPLES.get(parameter, '...')}}}")
