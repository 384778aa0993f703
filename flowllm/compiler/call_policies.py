"""How calls are made: the pipeline's defaults under each node's own policies, checked."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flowllm.compiler.findings import Findings, did_you_mean
from flowllm.compiler.frames import Unit
from flowllm.core.origin import Origin
from flowllm.core.spec import NodeSpec, PipelineSpec
from flowllm.policies import SETTABLE

if TYPE_CHECKING:
    from flowllm.text.misfits import Part

Place = Callable[[str, "Part"], Origin]
"""Where a part of a policy's value, or the key of it, was written; an empty way is the value itself."""

ANYWHERE = frozenset({"timeout"})
"""Policies that every kind carries out."""


class Policies:
    """The policies of one pipeline's nodes."""

    def __init__(self, spec: PipelineSpec, findings: Findings) -> None:
        self._spec = spec
        self._findings = findings
        self._defaults = {
            name: raw for name, raw in spec.policies.items()
            if self._valid(name, raw, f"policies.{name}", _below(f"policies.{name}", spec))
        }  # fmt: skip

    def settle(self, unit: Unit) -> None:
        """Give the unit what holds for it, and report what cannot."""
        node, kind = unit.node, unit.kind
        if kind is None or unit.each:
            return
        own = dict(node.policies)
        for name, raw in node.policies.items():
            where = f"{node.id}.{name}"
            if not kind.calls and name not in ANYWHERE:
                hint = "on regions only timeout and when_failed are allowed" if kind.control else ""
                hint = hint or f"`{name}` belongs to nodes that ask a model"
                message = f"`{node.kind}` cannot carry out the policy `{name}`"
                self._findings.report("policy_not_allowed", message, where, node.place(name), hint)
            elif not self._valid(name, raw, where, _below(name, node)):
                del own[name]
        unit.policies = merged(self._defaults, own) if kind.calls else own

    def check_available(self, unit: Unit) -> None:
        """Report policies of a step that can run which this version does not carry out."""
        from flowllm.policies.chain import policy_model

        for name, raw in unit.policies.items():
            model = policy_model(name)
            if raw in (None, False) or model is None or getattr(model, "available", True):
                continue
            own = name in unit.node.policies
            where = f"{unit.id}.{name}" if own else f"policies.{name}"
            place = unit.node.place(name) if own else self._spec.place(where)
            message = f"the policy `{name}` is not available yet"
            hint = f"{name}: false" if own else f"policies: {{{name}: false}}"
            self._findings.report("not_available_yet", message, where, place, hint)

    def _valid(self, name: str, raw: object, where: str, place: Place) -> bool:
        if name not in SETTABLE:
            self._findings.report("unknown_field", *_no_policy(name, where, place))
            return False
        from flowllm.compiler.policy_values import wrong_parts

        found = list(wrong_parts(name, raw))
        for part in found:
            way = ".".join(map(str, part.steps))
            at = f"{where}.{way}" if way else where
            self._findings.report(part.code, part.message, at, place(way, part.part), part.hint)
        return not found


def _no_policy(name: str, where: str, place: Place) -> tuple[str, str, Origin, str]:
    """Message, place and hint for a policy that there is not, or that is not the user's to set."""
    if name not in _BY_THEMSELVES:
        return f"there is no policy `{name}`", where, place("", "key"), did_you_mean(name, SETTABLE)
    why, hint = _BY_THEMSELVES[name]
    return f"the policy `{name}` {why}", where, place("", "key"), hint


_BY_THEMSELVES = {
    "meter": ("is always on and cannot be set", "leave `meter` out"),
    "single_flight": ("comes with `cache` and cannot be set", "cache: {ttl: 7d}"),
}


def _below(key: str, spec: PipelineSpec | NodeSpec) -> Place:
    def place(way: str, part: "Part") -> Origin:
        name = f"{key}.{way}" if way else key
        return spec.key_place(name) if part == "key" else spec.place(name)

    return place


def merged(defaults: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A node's own policies over the defaults; parameters that it does not write stay. Both are valid."""
    return {**defaults, **{name: _over(name, defaults.get(name), raw) for name, raw in own.items()}}


def _over(name: str, before: object, raw: object) -> object:
    """One policy over its default, as short as it can be written."""
    from flowllm.policies.chain import parameters, shortest

    old, new = parameters(name, before), parameters(name, raw)
    return raw if new is None or not old else shortest(name, {**old, **new})


def fallbacks(policies: Mapping[str, Any]) -> list[str]:
    """The models that ``fallback`` names."""
    raw = policies.get("fallback")
    raw = raw.get("models") if isinstance(raw, Mapping) else raw
    return [raw] if isinstance(raw, str) else [name for name in raw or () if isinstance(name, str)]
