"""From words of the command line to a loaded pipeline."""

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.api import Environment, Flow
from flowllm.api.finding import find_pipeline
from flowllm.api.gathered import Gathered
from flowllm.core.card import Catalog
from flowllm.core.errors import FlowError, PipelineInvalid, Problem, UsageError, found_by, joined
from flowllm.core.origin import Origin
from flowllm.core.spec import InputSpec

if TYPE_CHECKING:
    from flowllm.config.marks import Marks


def open_flow(
    pipeline: str, overrides: Sequence[str] | None = None, mock: str | None = None, inputs: Sequence[str] | None = None
) -> Flow:
    """Load a pipeline; ``mock`` names a file with rules for mock models.

    ``inputs`` are words of ``-i``: what is wrong with them is told with what is wrong with the overrides.
    """
    file = find_pipeline(pipeline)
    environment = environment_of(file, mock)
    try:
        return Flow.load(file, tuple(overrides or ()), environment=environment)
    except (PipelineInvalid, UsageError) as error:
        if not (overrides and inputs):
            raise
        raise joined([error, *_faults(file, environment, inputs)]) from None


def _faults(file: Path, environment: Environment, inputs: Sequence[str]) -> list[FlowError]:
    """What is wrong with inputs, where the file alone can be loaded; standard input is not read for it."""
    from flowllm.config import parse_inputs

    found = Gathered()
    declared: Mapping[str, InputSpec] | None = None
    with suppress(FlowError):
        declared = Flow.load(file, environment=environment).spec.inputs
    if declared is not None:
        with found:
            parse_inputs(declared, [word for word in inputs if not word.endswith("@-")])
    return found.errors


def environment_of(file: Path, mock: str | None = None) -> Environment:
    """Where a pipeline's file stands: its project, with the mock rules of a file."""
    from flowllm.config import project_of

    return Environment(project=project_of(file.resolve()), mock=read_rules(mock) if mock else ())


def here() -> Environment:
    """The environment of the working folder."""
    from flowllm.config import project_of

    return Environment(project=project_of(Path.cwd() / "pipeline.yaml"))


def sound_here() -> tuple[Environment, list[Problem]]:
    """The environment of the working folder with the providers that are sound.

    What is wrong with the others comes as warnings: nobody asked for them.
    """
    environment, found = here(), Gathered()
    providers = environment.catalog.providers
    cards = {}
    for name in providers:
        with found:
            cards[name] = providers[name]
    vars(environment)["catalog"] = Catalog(cards, environment.catalog.registry)
    return environment, [replace(one, severity="warning") for error in found.errors for one in found_by(error)]


def usable_model(environment: Environment) -> str:
    """A hint that names the override for a provider whose key is there. It is the user who chooses."""
    providers = environment.catalog.providers
    for name in providers:
        with suppress(PipelineInvalid):  # a provider that nothing asks for may be broken
            card = providers[name]
            found = environment.keys.find(card.auth) if card.auth.required else None
            model = next((model.id for model in card.models.values() if "chat" in model.tasks), None)
            if found is not None and model is not None:
                return f"a key for {name} was found ({found[1]}): model={name}/{model} would use it"
    return ""


def read_rules(file: str) -> list[Any]:
    """The rules of a file: a list, or a mapping that holds them under ``mock``, its own or those of its ``cases``."""
    from flowllm.backends.mock_rules import parse_rules
    from flowllm.config import load_yaml, read_text_file

    value, marks = load_yaml(read_text_file(file), file)
    found = list(_lists_of_rules(value))
    if not found:
        hint = '- {match: "(?i)hello", reply: Hi there}'
        raise UsageError("bad_value", f"`{file}` holds no list of mock rules", hint=hint)
    for way, rules in found:
        inner = marks.at(*way)
        parse_rules(rules, partial(_place_of_rule, inner))
    return [rule for _, rules in found for rule in rules]


def _lists_of_rules(value: Any) -> Iterator[tuple[tuple[str | int, ...], list[Any]]]:
    """Lists of rules in what a file holds, and the way to each."""
    if isinstance(value, list):
        yield (), value
    if not isinstance(value, dict):
        return
    if isinstance(value.get("mock"), list):
        yield ("mock",), value["mock"]
    cases = value.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        if isinstance(case, dict) and isinstance(case.get("mock"), list):
            yield ("cases", index, "mock"), case["mock"]


def _place_of_rule(marks: "Marks", steps: Sequence[str | int], part: str) -> Origin:
    return marks.at(*steps).key if part == "key" else marks.at(*steps).text


def model_of_rules(pipeline: str) -> str:
    """A hint that names the test file beside a pipeline, where that holds rules for its sample; else empty."""
    file = find_pipeline(pipeline)
    beside = file.with_name(f"{file.stem}.test.yaml")
    try:
        text = beside.read_text("utf-8")
    except (OSError, ValueError):
        return ""
    if not text.startswith("mock:") and "\nmock:" not in text:
        return ""
    rules = shlex.join(["model=mock/clerk", "--mock", str(beside)])
    return f"choose one: {rules} answers without a provider, model=openai/gpt-5.4-mini asks one"


def read_inputs(flow: Flow, words: Sequence[str] | None) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Inputs given with ``-i`` and, where none is given, samples; the names of those that took their sample.

    What an override gives (``input.NAME=``) wins, so that it can be swept.
    """
    from flowllm.config import parse_inputs

    try:
        given = parse_inputs(flow.spec.inputs, tuple(words or ()), sys.stdin.buffer if sys.stdin else None)
    except (PipelineInvalid, UsageError) as error:
        raise flow.refusal([error]) from None
    known = {**given, **flow.given}
    sampled = {
        name: _sample(flow, spec)
        for name, spec in flow.spec.inputs.items()
        if name not in known and spec.sample is not None
    }
    return {**sampled, **given, **flow.given}, tuple(sampled)


def _sample(flow: Flow, spec: InputSpec) -> Any:
    sample = spec.sample or {}
    if "file" not in sample:
        return sample.get("const")
    from flowllm.config import read_text_file

    text = read_text_file(str(sample["file"]), under=flow.environment.project, base=flow.spec.folder)
    if spec.schema.get("type") == "string":
        return text
    from flowllm.text.strict_json import InvalidJson, loads

    try:
        return loads(text)
    except InvalidJson as error:
        message = f"the sample of `{spec.name}` is no JSON: {error}"
        raise UsageError("bad_value", message, hint=f"-i {spec.name}=@FILE gives another", origin=spec.origin) from None
