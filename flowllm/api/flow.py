"""A pipeline, loaded: check it, run it, stream it; from a script, a notebook, any thread or event loop."""

from collections.abc import AsyncGenerator, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from flowllm.api.absent import with_places
from flowllm.api.environment import Environment
from flowllm.api.finding import find_pipeline
from flowllm.api.gathered import Gathered
from flowllm.compiler import Compiled, compile_spec
from flowllm.config import load, parse_inputs, parse_mapping, project_of, provider_settings, split_overrides
from flowllm.core.errors import FlowError, PipelineInvalid, Problem, UsageError, joined
from flowllm.core.plan import Plan
from flowllm.core.spec import PipelineSpec
from flowllm.text.wording import shortened

if TYPE_CHECKING:
    from flowllm.api.engine import RunOptions
    from flowllm.api.result import FlowResult
    from flowllm.api.stream import FlowStream
    from flowllm.backends.router import Backends
    from flowllm.core.delta import Restart, Text
    from flowllm.core.kinds import Kinds
    from flowllm.runtime import BoundFrame

Inputs = Mapping[str, Any]


class Flow:
    """A pipeline that was loaded and can be checked and run.

    ``spec`` is what was written. Compiling happens at first use and raises `PipelineInvalid` with
    every problem at once. ``given`` are inputs for every run that is not given others by that name.
    """

    def __init__(self, spec: PipelineSpec, environment: Environment, given: Inputs | None = None) -> None:
        self.spec = spec
        self.environment = environment
        self.given: Inputs = dict(given or {})
        self._backends: Backends | None = None

    @classmethod
    def load(cls, file: str | Path, overrides: Sequence[str] = (), *, environment: Environment | None = None) -> "Flow":
        """Load a YAML file, or by its name a pipeline that came with flowllm.

        ``overrides`` are words as on the command line (``nodes.ask.temperature=0``). Where one of them cannot
        be, what is wrong with the others and with the file is raised with it.
        """
        _must_be_words(file, overrides)
        file = find_pipeline(file)
        found = Gathered()
        words = split_overrides([overrides] if isinstance(overrides, str) else overrides, found.errors.append)
        environment = _an_environment(environment) or Environment(project=project_of(file.resolve()))
        with found:
            settings = {**environment.providers, **provider_settings(words.providers)} if words.providers else {}
            if settings:
                environment = replace(environment, providers=settings, provider_words=tuple(words.providers))
        flow, modules = None, Gathered()
        with modules:
            _ = environment.kinds
        if modules.errors:
            environment = environment.without_modules()
        with found:
            spec = load(file, words.configuration, kinds=environment.kinds, project=environment.project)
            flow = cls(spec, environment)
            flow.given = parse_inputs(spec.inputs, words.inputs, typed_as="input.")
        if flow is None or found.errors or modules.errors:
            errors = [*modules.errors, *found.errors]
            told = flow.refusal(errors) if flow else joined(errors)
            raise _but_own_kinds(told) if modules.errors else told
        return flow

    @classmethod
    def of(
        cls,
        mapping: Mapping[str, Any],
        *,
        pipelines: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Environment | None = None,
    ) -> "Flow":
        """A pipeline written as a Python mapping; ``pipelines`` gives its sub-pipelines by their ``use``."""
        environment = _an_environment(environment) or Environment()
        _must_map(mapping, "a pipeline is a mapping", "a file is loaded by Flow.load(FILE)")
        name, folder = str(mapping.get("name", "")), str(environment.project)
        return cls(
            parse_mapping(mapping, kinds=environment.kinds, name=name, folder=folder, pipelines=pipelines), environment
        )

    @cached_property
    def compiled(self) -> Compiled:
        """The plan with its warnings and notes."""
        return self._compile()

    def _compile(self, given: Collection[str] | None = None, *, strict: bool = False) -> Compiled:
        """Compile; where settings of providers cannot be, what is wrong with the pipeline is told with them."""
        found, environment = Gathered(), self.environment
        catalog = None
        with found:
            catalog = environment.catalog
        if catalog is None:
            catalog = replace(environment, providers={}, provider_words=()).catalog
        with found:
            compiled = compile_spec(
                self.spec,
                kinds=environment.kinds,
                catalog=catalog,
                given=given,
                strict=strict,
                today=environment.day,
            )
        if found.errors:
            raise with_places(joined(found.errors), environment.project)
        return compiled

    def refusal(self, errors: Iterable[FlowError]) -> FlowError:
        """What says these errors and all that is wrong with the pipeline besides."""
        found = Gathered(list(errors))
        with found:
            _ = self.compiled
        return joined(found.errors)

    @property
    def plan(self) -> Plan:
        """What will run."""
        return self.compiled.plan

    @cached_property
    def frame(self) -> "BoundFrame":
        """The plan bound to its kinds, once for all runs, threads and event loops."""
        return self.bound_to(self.environment.kinds)

    def bound_to(self, kinds: "Kinds") -> "BoundFrame":
        """The plan bound to ``kinds``, which count by the tokenizers that provider files name."""
        from flowllm.api.tokenizers import use_tokenizers
        from flowllm.runtime import bind_frame

        frame = bind_frame(self.plan, kinds)
        use_tokenizers(frame, self.environment.catalog)
        return frame

    def check(self, given: Inputs | None = None, *, strict: bool = False) -> tuple[Problem, ...]:
        """Warnings and notes; raises `PipelineInvalid`. ``given`` also checks that no input is missing."""
        names = None if given is None else {*given, *self.given}
        if self._lacks(names) or (strict and self._has_warnings()):
            self._compile(names, strict=strict)
        return (*self.compiled.warnings, *self.compiled.notes)

    def run(self, inputs: Inputs | None = None, options: "RunOptions | None" = None) -> "FlowResult":
        """Run once. Works where an event loop is running too, as in a notebook."""
        from flowllm.api.sync import run_sync

        return run_sync(self.arun(inputs, options))

    async def arun(self, inputs: Inputs | None = None, options: "RunOptions | None" = None) -> "FlowResult":
        """Run once on the running event loop."""
        from flowllm.api.running import Running

        return await Running(self, self._backends, options).result(self._inputs(inputs))

    def stream(self, inputs: Inputs | None = None, options: "RunOptions | None" = None) -> "Iterator[Text | Restart]":
        """The shown output's text as it comes; a `Restart` says: forget what came before.

        Where no text comes, `FlowResult.text` comes as one piece: other values and several outputs as JSON.
        """
        given = self._inputs(inputs)
        from flowllm.api.sync import iterate_sync
        from flowllm.core.delta import Text

        async def deltas() -> "AsyncGenerator[Text | Restart, None]":
            came = False
            async with self.astream(given, options) as stream:
                async for delta in stream:
                    came = True
                    yield delta
                result = await stream.result()
            if not came and result.text:
                yield Text(result.text)

        return iterate_sync(deltas)

    def astream(self, inputs: Inputs | None = None, options: "RunOptions | None" = None) -> "FlowStream":
        """A run whose text is read as it comes: ``async with flow.astream(...) as stream``."""
        from flowllm.api.running import Running

        return Running(self, self._backends, options).stream(self._inputs(inputs))

    async def __aenter__(self) -> Self:
        """Keep connections open over many runs on this event loop."""
        self._backends = self.environment.connect()
        return self

    async def __aexit__(self, *error: object) -> None:
        backends, self._backends = self._backends, None
        if backends is not None:
            await backends.aclose()

    def _lacks(self, names: Collection[str] | None) -> bool:
        """Whether a run with only these inputs, None for whatever it needs, would miss one."""
        declared = self.spec.inputs.items()
        return names is not None and any(name not in names and "default" not in spec.schema for name, spec in declared)

    def _has_warnings(self) -> bool:
        """Whether there is something that only strictness refuses, or more to say of what is wrong."""
        try:
            return bool(self.compiled.warnings)
        except PipelineInvalid:
            return True

    def _inputs(self, inputs: Inputs | None) -> Inputs:
        """What a run is given wins over what the pipeline was loaded with; tuples are lists."""
        inputs = {} if inputs is None else inputs
        first = next(iter(self.spec.inputs), "name")
        hint = f'run({{"{first}": ...}})'
        _must_map(inputs, "inputs are a mapping from names to values", hint)
        for name in inputs:
            if not isinstance(name, str):
                raise UsageError("bad_value", f"an input's name is a text, not `{shortened(repr(name))}`", hint=hint)
        return {**self.given, **{name: _listed(value) for name, value in inputs.items()}}

    def __repr__(self) -> str:
        spec = self.spec
        return f"<Flow {spec.name or 'pipeline'}: {', '.join(spec.inputs)} -> {', '.join(spec.outputs)}>"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: the graph."""
        from flowllm.compiler.draw import mermaid, tree

        return {"text/plain": tree(self.plan), "text/markdown": f"```mermaid\n{mermaid(self.plan)}\n```"}


def _must_be_words(file: object, overrides: object) -> None:
    """Refuse what is neither a file's name nor words as on the command line."""
    if not isinstance(file, str | Path):
        message = f"a pipeline is loaded by its file's name, not `{shortened(repr(file))}`"
        raise UsageError("bad_value", message, hint='Flow.load("pipeline.yaml")')
    words = [overrides] if isinstance(overrides, str) else overrides
    if not isinstance(words, Sequence) or not all(isinstance(word, str) for word in words):
        message = f"overrides are a list of texts, not `{shortened(repr(overrides))}`"
        raise UsageError("bad_value", message, hint='Flow.load(FILE, ["model=mock/echo"])')


def _an_environment(given: object) -> Environment | None:
    if given is not None and not isinstance(given, Environment):
        message = f"`environment` is an Environment, not `{shortened(repr(given))}`"
        raise UsageError("bad_value", message, hint='environment=Environment(project="folder")')
    return given


def _must_map(given: object, must: str, hint: str) -> None:
    if not isinstance(given, Mapping):
        raise UsageError("bad_value", f"{must}, not `{shortened(repr(given))}`", hint=hint)


def _listed(value: Any) -> Any:
    """The value with lists for tuples, itself where it holds none."""
    if isinstance(value, tuple):
        return [_listed(item) for item in value]
    if isinstance(value, dict):
        found = {name: _listed(item) for name, item in value.items()}
        return found if any(found[name] is not item for name, item in value.items()) else value
    if isinstance(value, list):
        items = [_listed(item) for item in value]
        return items if any(new is not old for new, old in zip(items, value, strict=True)) else value
    return value


def _but_own_kinds(error: FlowError) -> FlowError:
    """What is wrong but for kinds and schemas that the project's own modules may have."""
    if not isinstance(error, PipelineInvalid):
        return error
    return PipelineInvalid(
        one for one in error.problems if one.code != "unknown_kind" and "`schemas." not in one.message
    )
