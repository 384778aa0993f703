"""`flowllm run`: one run, a rehearsal, or a sweep."""

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

import typer

from flowllm.cli import completion
from flowllm.cli.options import UNKNOWN_PRICE, Command, Mock, Overrides, Pipeline, one_of
from flowllm.core.record import record

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine

    from flowllm.api import Flow, FlowResult, RunOptions
    from flowllm.cli.render import Screen

TOLD = frozenset({"AttemptEnded", "StreamHeld", "ModelChosen", "Warned", "CallRetried", "StepRescued"})
"""Events that a person is told of while the live tree or the streamed text goes on."""
SHORT = 200
"""Characters up to which an output beside the shown one is told on stderr."""


@record(kw_only=True)
class Run(Command):
    """Run a pipeline. Its output goes to stdout, everything else to stderr."""

    pipeline: Pipeline
    overrides: Overrides = None
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "-i",
            metavar="NAME=VALUE",
            help="An input: name=value, name=@file, name=@-, @row.json.",
            autocompletion=completion.inputs,
        ),
    ] = None
    events: Annotated[bool, typer.Option("--events", help="Print what happens as JSON lines.")] = False
    stream: Annotated[
        bool | None, typer.Option("--stream/--no-stream", help="Show text as it comes (default: on a terminal).")
    ] = None
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Ask no model; show calls, tokens and cost.")] = False
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Neither read nor write the cache.")] = False
    refresh: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS", help="Ask again at this step (ask, docs[3]/ask).", autocompletion=completion.nodes
        ),
    ] = None
    max_cost: Annotated[str | None, typer.Option(metavar="DOLLARS", help="End the run before it costs more.")] = None
    unknown_price: Annotated[
        str,
        typer.Option(
            metavar="|".join(UNKNOWN_PRICE),
            help="With --max-cost: what a price does that is not known.",
            callback=one_of(*UNKNOWN_PRICE),
        ),
    ] = "fail"
    timeout: Annotated[str | None, typer.Option(metavar="TIME", help="End the run after this time (90s, 5m).")] = None
    multirun: Annotated[
        bool, typer.Option("--multirun", "-m", help="Run once for each combination of values (model=a,b).")
    ] = False
    mock: Mock = None

    needs_logs: ClassVar[bool] = True

    def carry_out(self, screen: "Screen") -> int:
        """Run in the manner asked for."""
        if self.multirun:
            from flowllm.cli.sweep import sweep

            return sweep(self, screen)
        from flowllm.cli.opening import model_of_rules, open_flow, usable_model
        from flowllm.core.errors import ProviderFailure, SetupError

        flow = open_flow(self.pipeline, self.overrides, self.mock, self.inputs)
        inputs = self.read_inputs(flow, screen)
        if self.dry_run:
            from flowllm.cli.rehearse import rehearse

            return rehearse(self, flow, inputs, screen)
        try:
            return self._run(flow, inputs, screen)
        except SetupError as error:
            if error.code == "no_model":
                error.hint = usable_model(flow.environment) or model_of_rules(self.pipeline) or error.hint
            raise
        except ProviderFailure as error:
            if error.code == "not_found" and error.facts.provider == "mock" and self.mock is None:
                error.hint = "--mock FILE gives rules to answer by; model=mock/echo only repeats the prompt"
            raise

    def read_inputs(self, flow: "Flow", screen: "Screen") -> dict[str, Any]:
        """The inputs; warnings and samples that are used are said on stderr."""
        from flowllm.cli.opening import read_inputs

        inputs, used = read_inputs(flow, self.inputs)
        missing = [n for n, spec in flow.spec.inputs.items() if n not in inputs and "default" not in spec.schema]
        if self.strict or any(name not in flow.given for name in missing):
            flow.check(inputs, strict=self.strict)
        warnings = flow.compiled.warnings
        if warnings and not self.quiet:
            screen.problems(warnings)
        for name in used:
            screen.note(f"input `{name}` is the pipeline's sample; give your own with -i {name}=@FILE")
        return inputs

    def _run(self, flow: "Flow", inputs: dict[str, Any], screen: "Screen") -> int:
        from flowllm.cli.interrupts import run_async

        began = time.monotonic()
        wanted = screen.on_terminal if self.stream is None else self.stream
        streams = wanted and not (self.as_json or self.events) and _shows_text(flow)
        with Watching(self, screen, streams=streams) as watching:
            options = self.options(watching.readers)
            work = _streamed(flow, inputs, options, screen) if streams else flow.arun(inputs, options)
            result = run_async(watching.until_lost(work))
        self._show(result, screen, streamed=streams, seconds=time.monotonic() - began)
        return 0

    def options(self, readers: tuple[Any, ...] = ()) -> "RunOptions":
        """How the run is made, from the options given."""
        from flowllm.api import RunOptions

        return RunOptions(
            readers=readers,
            refresh=tuple(self.refresh or ()),
            timeout=_seconds(self.timeout),
            read_cache=not self.no_cache,
            write_cache=not self.no_cache,
            max_cost=_dollars(self.max_cost),
            unknown_price=self.unknown_price,
            rehearse=self.dry_run,
        )

    def _show(self, result: "FlowResult", screen: "Screen", *, streamed: bool, seconds: float) -> None:
        if self.as_json:
            screen.json(result.to_data())
        elif not (self.events or streamed):
            screen.text(result.text)
        for name, value in result.outputs.items():
            if name != result.shown and result.shown is not None and _is_short(value):
                screen.note(f"{name}: {_words(value)}")
        summary = result.summary.text()
        screen.note(f"{summary}, {seconds:.1f} s" if summary else f"no calls, {seconds:.1f} s")


def _shows_text(flow: "Flow") -> bool:
    """Whether what stdout shows is one output that may be text; other values are shown whole."""
    from flowllm.api.result import shown_output

    shown = shown_output(flow.plan)
    return shown is not None and flow.plan.output_schemas.get(shown, {}).get("type", "string") == "string"


async def _streamed(flow: "Flow", inputs: dict[str, Any], options: "RunOptions", screen: "Screen") -> "FlowResult":
    from flowllm.core.delta import Restart

    async with flow.astream(inputs, options) as stream:
        async for piece in stream:
            if isinstance(piece, Restart):
                screen.restart(piece.reason)
            else:
                screen.piece(piece.text)
        result = await stream.result()
    screen.end_pieces()
    return result


class Watching:
    """The readers of a run's events: progress, ``--events``, the log. They are closed on leaving."""

    def __init__(self, command: Run, screen: "Screen", *, streams: bool) -> None:
        self._screen = screen
        self._progress: Any = None
        self._work: asyncio.Task[FlowResult] | None = None
        self._lost: OSError | None = None
        self._lines: Any = None
        readers: list[Any] = []
        if command.events:
            from flowllm.sinks.events_json import EventLines

            write = screen.errors.write if command.as_json else self._write_event
            readers.append(EventLines(write, screen.redactor.exact))
        if screen.event_log is not None:
            readers.append(screen.event_log)
        elif not command.quiet:
            readers += self._progress_readers(streams=streams)
        self.readers = tuple(readers)

    def _progress_readers(self, *, streams: bool) -> list[Any]:
        """A live tree would draw over text that streams to the same terminal; then only what matters is told."""
        from flowllm.sinks.progress import is_live, progress_for

        live = is_live(self._screen.errors)
        if live and streams and self._screen.on_terminal:
            return [self._tell]
        self._progress = progress_for(self._screen.errors, self._screen.redactor.clean)
        return [self._progress, self._tell] if live else [self._progress]

    async def until_lost(self, work: "Coroutine[Any, Any, FlowResult]") -> "FlowResult":
        """The outcome of the run, which is ended when stdout takes no more events: then raises what it said."""
        import asyncio

        self._work = asyncio.ensure_future(work)
        try:
            return await self._work
        finally:
            if self._lost is not None:
                raise self._lost

    def _write_event(self, line: str) -> None:
        if self._lost is not None:
            return
        try:
            self._screen.line(line)
        except OSError as error:
            self._lost = error
            if self._work is not None:
                self._work.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.close()

    def _tell(self, event: Any) -> None:
        from flowllm.sinks.progress import PlainProgress

        if type(event).__name__ not in TOLD or getattr(event, "problem", None) == "":
            return
        if self._lines is None:
            self._lines = PlainProgress(self._screen.note if self._progress is None else self._progress.write)
        self._lines(event)


def _is_short(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= SHORT)


def _words(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value)


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    from flowllm.core.durations import seconds
    from flowllm.core.errors import UsageError

    try:
        length = seconds(text)
    except ValueError:
        raise UsageError("bad_usage", f"`{text}` is no length of time", hint="--timeout 90s") from None
    if not length:
        raise UsageError("bad_usage", "a run cannot end after no time at all", hint="--timeout 90s, or leave it out")
    return length


def _dollars(text: str | None) -> Decimal | None:
    if text is None:
        return None
    from flowllm.api.amounts import number_of
    from flowllm.core.errors import UsageError

    amount = number_of(text.removeprefix("$"))
    if amount is None:
        raise UsageError("bad_usage", f"`{text}` is no amount of dollars", hint="--max-cost 1.00")
    return amount


COMMAND = Run
