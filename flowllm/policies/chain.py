"""Policies by name, and the chain that they make around a backend.

``flowllm/policies/NAME.py`` holds the one subclass of `Policy` that ``NAME:`` means in YAML; it is
imported when it is first used. A value is the policy's parameters, or one bare value for its main
parameter (``timeout: 45s``), or true, or false or null to switch it off. `ordered` sorts by rank,
lower ranks further out, and `chain` folds once. Always on: ``retry``, ``meter``, and ``cache`` for vectors.
"""

import functools
import importlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flowllm.core.nearest import did_you_mean
from flowllm.core.policy import Policy, Services
from flowllm.core.scope import Call
from flowllm.policies import ALWAYS_ON

PACKAGE = "flowllm.policies"
ALWAYS: Mapping[str, Any] = {**dict.fromkeys(ALWAYS_ON, True), "cache": {"replies": False}}
WITH_CACHE = "single_flight"
OF_THE_NODE = frozenset({"when_failed"})
"""Written beside policies, carried out by the executor."""


@functools.cache
def policy_model(name: str) -> type[Policy] | None:
    """The policy's class, or None when there is none of that name."""
    if not name.isidentifier() or not (Path(__file__).parent / f"{name}.py").is_file():
        return None
    module = importlib.import_module(f"{PACKAGE}.{name}")
    found = (value for value in vars(module).values() if _is_policy(value) and value.__module__ == module.__name__)
    return next(found, None)


def _is_policy(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Policy)


@functools.cache
def order() -> tuple[str, ...]:
    """Every policy, outermost first."""
    models = {path.stem: policy_model(path.stem) for path in Path(__file__).parent.glob("*.py")}
    ranks = {name: model.rank for name, model in models.items() if model is not None}
    return tuple(sorted(ranks, key=ranks.__getitem__))


def parse_policy(name: str, raw: object) -> Policy | None:
    """What was written after ``name:``; None when it switches the policy off.

    ValueError with one sentence when it is not understood.
    """
    model = policy_model(name)
    if model is None:
        raise ValueError("; ".join(filter(None, (f"`{name}` is no policy", did_you_mean(name, order())))))
    if raw is None or raw is False:
        return None
    try:
        return model.model_validate(_parameters(name, model, raw))
    except ValidationError as error:
        raise ValueError(_sentence(name, model, error)) from None


def parameters(name: str, raw: object) -> dict[str, Any] | None:
    """What was written after ``name:`` as a mapping of parameters; None when it switches the policy off.

    ValueError when there is no such policy or it takes no such value; parameters are not checked.
    """
    model = policy_model(name)
    if model is None:
        raise ValueError(f"`{name}` is no policy")
    return None if raw is None or raw is False else dict(_parameters(name, model, raw))


def shortest(name: str, parameters: Mapping[str, Any]) -> object:
    """Parameters as one would write them: true for none, the bare value of the main one alone."""
    if not parameters:
        return True
    main = getattr(policy_model(name), "shorthand", "")
    return parameters[main] if set(parameters) == {main} else dict(parameters)


def _parameters(name: str, model: type[Policy], raw: object) -> Mapping[str, Any]:
    if isinstance(raw, Mapping):
        return dict(raw)
    if raw is True:
        return {}
    if not model.shorthand:
        raise ValueError(f"`{name}` takes true, false or a mapping of its parameters")
    return {model.shorthand: [raw] if model.shorthand == "models" and isinstance(raw, str) else raw}


def _sentence(name: str, model: type[Policy], error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    where = ".".join([name, *map(str, first["loc"])])
    if first["type"] == "extra_forbidden":
        unknown = str(first["loc"][-1])
        said = f"`{name}` has no parameter `{unknown}`"
        return "; ".join(filter(None, (said, did_you_mean(unknown, model.model_fields))))
    if first["type"] == "missing":
        return f"`{where}` is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"`{where}`: {message[:1].lower()}{message[1:]}"


def ordered(policies: Mapping[str, Any]) -> tuple[Policy, ...]:
    """``policies`` as written, with those that are always on, outermost first.

    ValueError as `parse_policy`; the compiler has refused such values before.
    """
    return tuple(sorted(_active(policies), key=lambda policy: policy.rank))


def chain(policies: Sequence[Policy], backend: Call, services: Services) -> Call:
    """``backend`` as a node asks for it: within its policies, outermost first."""
    call = backend
    for policy in reversed(policies):
        call = policy.wrap(call, services)
    return call


def _active(policies: Mapping[str, Any]) -> list[Policy]:
    written = {name: raw for name, raw in policies.items() if name not in OF_THE_NODE}
    parsed = {name: parse_policy(name, raw) for name, raw in {**ALWAYS, **written, "meter": True}.items()}
    models = getattr(parsed.get("fallback"), "models", ())
    if (cache := parsed.get("cache")) is not None:
        parsed["cache"] = cache.model_copy(update={"models": models})
        if "cache" in written:
            parsed[WITH_CACHE] = parse_policy(WITH_CACHE, {"inside": _inside(parsed.values()), "models": models})
    return [policy for policy in parsed.values() if policy is not None]


def _inside(policies: Iterable[Policy | None]) -> str:
    """How a shared request is made: equal texts for policies that would make it alike."""
    shared = policy_model(WITH_CACHE)
    assert shared is not None
    return " ".join(sorted(repr(policy) for policy in policies if policy and policy.rank > shared.rank))
