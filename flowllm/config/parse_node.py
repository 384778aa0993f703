"""One node as written to a `NodeSpec`."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.parsing import Parsing, shown
from flowllm.config.prompts import parse_prompt, parse_template
from flowllm.config.shapes import Shape
from flowllm.config.words import COMMON, EACH, INPUTS, POLICIES, check_key_name, check_name
from flowllm.core.errors import Problem
from flowllm.core.nearest import nearest
from flowllm.core.node import Holds, condition
from flowllm.core.origin import Origin
from flowllm.core.slot import Evaluable, Expression, Late, Slot
from flowllm.core.spec import NodeSpec
from flowllm.text.slots import parse_slot
from flowllm.text.wording import inner_expression


def parse_node(name: str, raw: object, marks: Marks, parsing: Parsing) -> NodeSpec:
    """The node ``name``; one without a kind, of which anything may be read, when what was written is no node."""
    check_key_name(name, name, marks, parsing.problems.append)
    if name == INPUTS:
        message = f"`{INPUTS}` is the name of the pipeline's inputs, which a node would hide"
        parsing.wrong("bad_name", message, name, marks.key, f"write `{INPUTS}_1`")
    if not isinstance(raw, dict):
        what = "a node is a mapping with `kind`"
        message = f"`{name}` is empty; {what}" if raw is None else f"{what}, not {shown(raw, marks)}"
        parsing.wrong("bad_value", message, name, marks.text, f"{name}: {{kind: call, prompt: ...}}")
        return NodeSpec(name, "", origin=marks.key)
    kind = raw.get("kind")
    if not isinstance(kind, str):
        _no_kind(name, raw, marks, parsing)
        kind = ""
    return _Writer(name, raw, marks, parsing, parsing.shapes.of(kind)).node(kind)


def _no_kind(name: str, raw: Mapping[str, Any], marks: Marks, parsing: Parsing) -> None:
    if raw.get("kind") is not None:
        place = marks.at("kind")
        message = f"{shown(raw['kind'], place)} is not a kind"
        parsing.wrong("bad_value", message, f"{name}.kind", place.text, "kind: call")
        return
    message, origin = f"`{name}` does not say its `kind`", marks.key
    meant = nearest("kind", [key for key in raw if key not in COMMON and key not in POLICIES])
    if meant:
        message, origin = f"{message}; {_unlike(meant)}", marks.at(meant).key
    parsing.wrong("missing_field", message, name, origin, f"kind: {raw[meant]}" if meant else "kind: call")


def _unlike(word: str) -> str:
    """What a key has in place of letters of `kind`."""
    foreign = [f"U+{ord(letter):04X}" for letter in word if not letter.isascii()]
    if not foreign:
        return f"it has `{word}`"
    return f"its `{word}` is written with {', '.join(foreign)}, which only looks like one of the letters a to z"


class _Writer:
    """Parses the fields of one node."""

    __slots__ = ("_marks", "_name", "_parsing", "_raw", "_shape")

    def __init__(self, name: str, raw: Mapping[str, Any], marks: Marks, parsing: Parsing, shape: Shape) -> None:
        self._name = name
        self._raw = raw
        self._marks = marks
        self._parsing = parsing
        self._shape = shape

    def node(self, kind: str) -> NodeSpec:
        """Everything put together."""
        raw, shape = self._raw, self._shape
        common = {key for key in raw if key in COMMON and not shape.own(key)}
        if "model" in raw and (shape.calls or not shape.own("model")):
            common.add("model")
        policies = {key: raw[key] for key in raw if key in POLICIES and not shape.own(key)}
        rest = {key: value for key, value in raw.items() if key not in common and key not in policies}
        return NodeSpec(
            id=self._name,
            kind=kind,
            ports=self._ports() if "in" in common else {},
            fields=self._fields(rest),
            params={key: rest[key] for key in rest if key not in shape.held and not self._names_text(key)},
            policies=policies,
            when_failed=self._when_failed() if "when_failed" in common else None,
            around=self._ids("around") if "around" in common else (),
            after=self._ids("after") if "after" in common else (),
            each=self._slot("each") if "each" in common and raw["each"] is not None else None,
            each_params=self._each_params(common),
            model=self._model() if "model" in common else None,
            origin=self._marks.key,
            origins=self._origins(),
            keys={name: place for key, inner in self._marks.children.items() for name, place in inner.keys(str(key))},
            written=self._written(),
        )

    def _fields(self, rest: Mapping[str, Any]) -> dict[str, Evaluable]:
        shape = self._shape
        found = {shape.fields[key]: self._field(key, rest[key]) for key in rest if key in shape.held}
        if "file" in rest and self._names_text("file"):
            raw, marks = {"file": rest["file"]}, Marks(children={"file": self._marks.at("file")})
            found["text"] = parse_template(raw, marks, self._name, self._parsing)
        return found

    def _names_text(self, key: str) -> bool:
        """Whether ``file`` on this kind is a file with the kind's text."""
        return key == "file" and self._shape.own("file") and self._shape.held.get("text") is Holds.TEMPLATE

    def _origins(self) -> dict[str, Origin]:
        """Places of all fields; a field that nothing reads is placed at its key."""
        shape, found = self._shape, {}
        for name, inner in self._marks.walk():
            field = name in self._raw and "." not in name
            known = not field or name in COMMON or name in POLICIES or shape.own(name) or not shape.known
            found[name] = inner.text if known else inner.key
        return found

    def _written(self) -> dict[str, str]:
        """The scalars of parameters as written."""
        found, held = {}, self._shape.held
        for key, inner in self._marks.children.items():
            if isinstance(key, str) and key not in held and (key in EACH or key not in COMMON):
                if inner.raw is not None:
                    found[key] = inner.raw
                found.update((name, part.raw) for name, part in inner.walk(key) if part.raw is not None)
        return found

    def _slot(self, key: str) -> Slot:
        marks = self._marks.at(key)
        return parse_slot(self._raw[key], marks.place, f"{self._name}.{key}", self._parsing.problems.append)

    def _field(self, key: str, raw: object) -> Evaluable:
        """A field that is evaluated, by what the kind says it holds."""
        holds, where, marks = self._shape.held[key], f"{self._name}.{key}", self._marks.at(key)
        if raw is None and holds is not Holds.SLOT:
            return self._slot(key)
        if holds is Holds.PROMPT:
            return parse_prompt(raw, marks, where, self._parsing) or self._slot(key)
        if holds is Holds.TEMPLATE:
            return parse_template(raw, marks, where, self._parsing)
        if holds is Holds.LATE:
            names = self._shape.late_names.get(key, ())
            return Late(self._mapping(key, where=lambda inner: f"{where}.{inner}"), names)
        if key in self._shape.conditions:
            return parse_slot(raw, marks.place, where, partial(self._report_condition, raw))
        return self._slot(key)

    def _report_condition(self, raw: object, problem: Problem) -> None:
        """A literal is no condition: the hint is one. Of an expression with text around it the expression is."""
        literal = problem.code == "not_a_path" and problem.hint.startswith("{const:")
        message = f"{problem.message.partition(';')[0]}; a condition is one expression, which is true or false"
        hint = condition(self._raw.get("of", "value"))
        problem = replace(problem, message=message, hint=hint) if literal else problem
        if problem.code == "text_around_expression":
            problem = replace(problem, hint=inner_expression(str(raw)) or problem.hint)
        self._parsing.problems.append(problem)

    def _ports(self) -> Mapping[str, Slot]:
        return self._mapping("in", where=lambda _: f"{self._name}.in")

    def _when_failed(self) -> Mapping[str, Slot] | None:
        if self._raw["when_failed"] is None:
            return None
        return self._mapping("when_failed", where=lambda _: f"{self._name}.when_failed")

    def _mapping(self, key: str, where: Any) -> dict[str, Slot]:
        """A mapping of slots; ``where`` gives the place of each in the pipeline's own words."""
        raw, marks = self._raw[key], self._marks.at(key)
        if not isinstance(raw, dict):
            message = f"`{key}` is a mapping of names to values, not {shown(raw, marks)}"
            place = f"{self._name}.{key}"
            self._parsing.wrong("bad_value", message, place, marks.text, f"{key}: {{name: inputs.name}}")
            return {}
        plain, condition_of = self._parsing.problems.append, key in self._shape.conditions
        return {
            name: parse_slot(
                value,
                marks.at(name).place,
                where(name),
                partial(self._report_condition, value) if condition_of else plain,
            )
            for name, value in raw.items()
        }

    def _ids(self, key: str) -> tuple[str, ...]:
        raw, marks = self._raw[key], self._marks.at(key)
        if isinstance(raw, list) and all(isinstance(item, str) for item in raw):
            return tuple(raw)
        one = raw if isinstance(raw, str) else "ask"
        message = f"`{key}` is a list of nodes, not {shown(raw, marks)}"
        if isinstance(raw, list):
            message = f"`{key}` lists the names of nodes alone"
        self._parsing.wrong("bad_value", message, f"{self._name}.{key}", marks.text, f"{key}: [{one}]")
        return ()

    def _each_params(self, common: set[str]) -> dict[str, Any]:
        found = {key: self._raw[key] for key in self._raw if key in EACH and key in common}
        name = found.get("as") or (self._raw.get("as") if self._shape.control == "map" else None)
        if isinstance(name, str):
            check_name(name, f"{self._name}.as", self._marks.at("as").text, self._parsing.problems.append)
        return found

    def _model(self) -> str | Expression | None:
        """A model's name, or one expression that chooses it."""
        raw, marks, where = self._raw["model"], self._marks.at("model"), f"{self._name}.model"
        if raw is None or (isinstance(raw, str) and "{{" not in raw):
            return raw
        if isinstance(raw, str):
            slot = parse_slot(raw, marks.place, where, self._parsing.problems.append)
            return slot if isinstance(slot, Expression) else None
        message = f"{shown(raw, marks)} is not a model; a model is `provider/name`"
        self._parsing.wrong("bad_value", message, where, marks.text, "model: openai/gpt-5.4-mini")
        return None
