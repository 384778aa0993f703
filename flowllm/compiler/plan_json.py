"""Plans as JSON: for workers on other machines, and for the digest that says what a plan is.

The JSON carries ``version``; a reader refuses another one. `digest` leaves out what changes nothing:
places, names and paths of files, comments, the order in the file.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson

from flowllm.compiler.candidates import asked
from flowllm.compiler.slot_json import (
    Json,
    path_from_json,
    path_to_json,
    place_from_json,
    place_to_json,
    slot_from_json,
    slot_to_json,
)
from flowllm.core.errors import UsageError
from flowllm.core.origin import UNKNOWN
from flowllm.core.plan import Plan, Rescue, Step

VERSION = 1
_NONE: Mapping[str, Any] = {}


def to_json(plan: Plan) -> Json:
    """The whole plan as JSON values."""
    return {"version": VERSION, **_plan_to_json(plan)}


def from_json(data: Mapping[str, Any]) -> Plan:
    """The inverse of `to_json`. Raises `UsageError` for another version."""
    if data.get("version") != VERSION:
        message = f"this plan has version {data.get('version')}, and version {VERSION} is read"
        raise UsageError("bad_value", message, hint="make it again with flowllm plan --json")
    return _plan_from_json(data)


def _plan_to_json(plan: Plan) -> Json:
    return {
        "name": plan.name,
        "steps": [_step_to_json(step) for step in plan.steps],
        "roots": list(plan.roots),
        "outputs": _slots_to_json(plan.outputs),
        "inputs": dict(plan.inputs),
        "output_schemas": dict(plan.output_schemas),
        "models": dict(plan.models),
        "print": plan.print,
        "digest": plan.digest,
    }


def _plan_from_json(data: Mapping[str, Any]) -> Plan:
    return Plan(
        data["name"], tuple(map(_step_from_json, data["steps"])), tuple(data["roots"]),
        _slots_from_json(data["outputs"]), data["inputs"], data["output_schemas"], data["models"],
        data["print"], data["digest"],
    )  # fmt: skip


def _slots_to_json(slots: Mapping[str, Any], *, places: bool = True) -> Json:
    return {name: slot_to_json(slot, places=places) for name, slot in slots.items()}


def _slots_from_json(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: slot_from_json(slot) for name, slot in data.items()}


def _step_to_json(step: Step) -> Json:
    data = _own_to_json(step, places=True)
    data["params"] = dict(step.params)
    if step.body is not None:
        data["body"] = _plan_to_json(step.body)
    if step.unsure:
        data["unsure"] = {name: place_to_json(origin) for name, origin in step.unsure.items()}
    if step.origin != UNKNOWN:
        data["at"] = place_to_json(step.origin)
    if step.typed != UNKNOWN:
        data["typed"] = place_to_json(step.typed)
    return data


def _own_to_json(step: Step, *, places: bool) -> Json:
    """A step without its body and parameters; what is empty is left out."""
    data: Json = {
        "id": step.id,
        "kind": step.kind,
        "inputs": _slots_to_json(step.inputs, places=places),
        "policies": dict(step.policies),
        "needs": list(step.needs),
        "early": list(step.early),
        "lazy": {name: list(needs) for name, needs in step.lazy.items()},
        "cases": _slots_to_json(step.cases, places=places),
        "default": None if step.default is None else slot_to_json(step.default, places=places),
        "folded": list(step.folded),
        "captures": [path_to_json(path, places=places) for path in step.captures],
        "model": step.model,
        "models": list(step.models),
    }
    if step.rescue is not None:
        data["rescue"] = {
            "ports": _slots_to_json(step.rescue.ports, places=places),
            "needs": list(step.rescue.needs),
        }
    return {name: value for name, value in data.items() if value or name in ("id", "kind")}


def _step_from_json(data: Mapping[str, Any]) -> Step:
    rescue, default, body = data.get("rescue"), data.get("default"), data.get("body")
    return Step(
        id=data["id"],
        kind=data["kind"],
        inputs=_slots_from_json(data.get("inputs", _NONE)),
        params=data.get("params", {}),
        policies=data.get("policies", {}),
        needs=tuple(data.get("needs", ())),
        early=tuple(data.get("early", ())),
        lazy={name: tuple(needs) for name, needs in data.get("lazy", _NONE).items()},
        cases=_slots_from_json(data.get("cases", _NONE)),
        default=None if default is None else slot_from_json(default),
        folded=tuple(data.get("folded", ())),
        rescue=None if rescue is None else Rescue(_slots_from_json(rescue["ports"]), tuple(rescue["needs"])),
        body=None if body is None else _plan_from_json(body),
        captures=tuple(map(path_from_json, data.get("captures", ()))),
        model=data.get("model"),
        models=tuple(data.get("models", ())),
        unsure={name: place_from_json(at) for name, at in data.get("unsure", _NONE).items()},
        origin=place_from_json(data.get("at")),
        typed=place_from_json(data.get("typed")),
    )


def digest(plan: Plan, entries: Mapping[str, Any] = _NONE, groups: Mapping[str, Any] = _NONE) -> str:
    """The sha256, in hex, of everything in a plan that can change what it gives.

    ``entries`` is what the catalog says of each model (`models.entries`), ``groups`` the named groups
    of the pipeline around a region's body. A sub-plan that has a digest stands for itself.
    """
    groups = {**groups, **plan.models}
    used = {name for step in plan.steps for name in asked(step, groups)}
    body = {
        "version": VERSION,
        "steps": [_essence(step, entries, groups) for step in plan.steps],
        "roots": plan.roots,
        "outputs": _slots_to_json(plan.outputs, places=False),
        "inputs": plan.inputs,
        "models": {name: entries.get(name) for name in used},
        "groups": plan.models,
    }
    return hashlib.sha256(_canonical(body)).hexdigest()


def _canonical(body: Json) -> bytes:
    """The JSON of a plan, its keys sorted; integers may have any size."""
    try:
        return orjson.dumps(body, default=str, option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        return json.dumps(body, default=str, sort_keys=True).encode()


def _essence(step: Step, entries: Mapping[str, Any], groups: Mapping[str, Any]) -> Json:
    data = _own_to_json(step, places=False)
    data["params"] = {name: value for name, value in step.params.items() if not (step.body and name == "use")}
    if step.body is not None:
        data["body"] = step.body.digest or digest(step.body, entries, groups)
    return data
