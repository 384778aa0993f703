"""A configuration, resolved and with its places, to a `PipelineSpec`: here the configuration ends."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from pathlib import PurePath
from typing import Any

from flowllm.config.marks import Marks
from flowllm.config.parse_input import parse_input
from flowllm.config.parse_node import parse_node
from flowllm.config.parsing import Parsing, shown
from flowllm.config.words import INPUTS, LANGUAGE, POLICIES, TOP_LEVEL, check_key_name, closest
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.record import record
from flowllm.core.spec import PipelineSpec
from flowllm.text.slots import parse_slot

FindPipeline = Callable[[str, str, Origin], PipelineSpec | None]
"""``use`` as written, the place in words and in the file, to that pipeline; None: already reported."""


@record
class Source:
    """What was read: ``file`` names it in errors, ``folder`` is where its relative paths start.

    All keys of ``value`` are strings (`flowllm.config.keys` sees to that).
    """

    value: Any
    marks: Marks = field(default_factory=Marks)
    name: str = ""
    file: str = ""
    folder: str = ""


def parse(source: Source, parsing: Parsing, find: FindPipeline) -> PipelineSpec:
    """The spec; what is wrong stands in ``spec.problems``, which ``parsing`` collects."""
    raw = _checked(source, parsing)
    parser = _Parser(raw, source.marks, parsing)
    nodes = {
        name: parse_node(name, value, parser.marks.at("nodes", name), parsing)
        for name, value in parser.mapping("nodes").items()
    }
    nodes.pop(INPUTS, None)  # which is told; everybody else reads the pipeline's inputs
    pipelines = {}
    for node in nodes.values():
        use = node.params.get("use")
        if isinstance(use, str) and parsing.shapes.of(node.kind).control == "pipeline" and use not in pipelines:
            inner = find(use, f"{node.id}.use", node.place("use"))
            if inner is not None:
                pipelines[use] = inner
    return PipelineSpec(
        name=parser.text("name") or source.name or PurePath(source.file).stem,
        inputs={
            name: parse_input(name, value, parser.marks.at("inputs", name), parsing)
            for name, value in parser.mapping("inputs").items()
        },
        nodes=nodes,
        outputs=parser.outputs(),
        description=parser.text("description") or "",
        model=parser.text("model"),
        embedder=parser.text("embedder") if "embedder" in raw else "builtin/lexical",
        models=parser.mapping("models"),
        schemas=parser.schemas(),
        policies=parser.mapping("policies"),
        print=parser.text("print"),
        file=source.file,
        folder=source.folder,
        origins=_origins(source.marks),
        keys={name: place for key in ("models", "policies") for name, place in parser.keys(key)},
        pipelines=pipelines,
        problems=tuple(parsing.problems),
    )


def _checked(source: Source, parsing: Parsing) -> Mapping[str, Any]:
    if not isinstance(source.value, Mapping):
        what = "a pipeline is a mapping with `nodes` and `outputs`"
        message = f"{what}, not {shown(source.value, source.marks)}"
        if source.value is None:
            message = f"the file is empty; {what}"
        parsing.wrong("bad_yaml", message, "", source.marks.value, "nodes: {ask: {kind: call, prompt: hello}}")
        return {}
    raw: Mapping[str, Any] = source.value
    for key in raw:
        if key not in TOP_LEVEL:
            message = f"a pipeline has no `{key}`"
            hint = f"policies: {{{key}: ...}}" if key in POLICIES else closest(key, TOP_LEVEL)
            parsing.wrong("unknown_field", message, key, source.marks.at(key).key, hint)
    version = raw.get("flowllm", LANGUAGE)
    if version != LANGUAGE or isinstance(version, bool):
        marks = source.marks.at("flowllm")
        message = f"this is language version {LANGUAGE}, not {shown(version, marks)}"
        parsing.wrong("bad_value", message, "flowllm", marks.text, f"flowllm: {LANGUAGE}")
    return raw


def _origins(marks: Marks) -> dict[str, Origin]:
    """Places of everything outside nodes, and of nodes and their fields."""
    if not marks.children:
        return {"": marks.value} if marks.value != UNKNOWN else {}
    found = {"": marks.value}
    for key, inner in marks.children.items():
        found[str(key)] = inner.text
        for name, part in inner.walk(str(key), 2 if key == "nodes" else -1):
            found[name] = part.key if key == "nodes" and name.count(".") == 1 else part.text
    return found


class _Parser:
    """Reads top-level keys."""

    __slots__ = ("_parsing", "_raw", "marks")

    def __init__(self, raw: Mapping[str, Any], marks: Marks, parsing: Parsing) -> None:
        self._raw = raw
        self._parsing = parsing
        self.marks = marks

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A mapping, empty where nothing is written."""
        value = self._raw.get(key)
        if value is None:
            return {}
        if isinstance(value, dict):
            return value
        self._refuse(key, value, "a mapping", f"{key}: {{name: ...}}")
        return {}

    def keys(self, key: str) -> Iterator[tuple[str, Origin]]:
        """The places of the keys in a mapping that is written."""
        return self.marks.at(key).keys(key) if self.marks.has(key) else iter(())

    def text(self, key: str) -> str | None:
        """A text or nothing."""
        value = self._raw.get(key)
        if value is None or isinstance(value, str):
            return value
        marks = self.marks.at(key)
        self._refuse(key, value, "a text", f'{key}: "{marks.raw or value}"')
        return None

    def _refuse(self, key: str, value: object, wanted: str, hint: str) -> None:
        marks = self.marks.at(key)
        message = f"`{key}` is {wanted}, not {shown(value, marks)}"
        self._parsing.wrong("bad_value", message, key, marks.text, hint)

    def outputs(self) -> dict[str, Any]:
        """Every output's slot."""
        found, report = {}, self._parsing.problems.append
        for name, value in self.mapping("outputs").items():
            marks, place = self.marks.at("outputs", name), f"outputs.{name}"
            check_key_name(name, place, marks, report)
            found[name] = parse_slot(value, marks.place, place, report)
        return found

    def schemas(self) -> dict[str, Any]:
        """Named schemas; each a mapping."""
        found = {}
        for name, value in self.mapping("schemas").items():
            found[name] = value if isinstance(value, dict) else {}
            if isinstance(value, dict):
                continue
            marks = self.marks.at("schemas", name)
            message = f"a schema is a JSON Schema, not {shown(value, marks)}"
            hint = f"{name}: {{type: object, properties: {{}}}}"
            self._parsing.wrong("bad_schema", message, f"schemas.{name}", marks.text, hint)
        return found
