"""A kind's ``run``, and what comes of it: ports that are what it declares, or a failure of its node."""

import asyncio
import contextvars
import inspect
import threading
import typing
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import cache
from typing import Any

from flowllm.core.errors import Failure, NodeFailure
from flowllm.core.node import Node
from flowllm.core.slot import Path
from flowllm.runtime.bind import BoundStep, Names
from flowllm.text.slots import compile_evaluable, references

OWN = "flowllm."
"""Where kinds are defined whose ports the tests vouch for."""


def begin(bound: BoundStep, arguments: Mapping[str, Any]) -> Any:
    """What ``run`` gives: its ports, or something to wait for. A kind must not end the program."""
    assert bound.run is not None
    try:
        return bound.run(**arguments)
    except (SystemExit, asyncio.CancelledError) as error:
        raise left(bound, error) from error


def blocks(bound: BoundStep) -> bool:
    """Whether a step has a timeout that its kind, sync and of users' own, would keep from ending it."""
    ours = type(bound.params).__module__.startswith(OWN)
    return bound.timeout is not None and not ours and not inspect.iscoroutinefunction(bound.run)


async def aside(work: Callable[[], Any]) -> Any:
    """What ``work`` gives in a thread of its own, which is left to itself when the wait for it is cancelled."""
    outcome: Future[tuple[Any, BaseException | None]] = Future()

    def carry_out() -> None:
        found: tuple[Any, BaseException | None]
        try:
            found = work(), None
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            found = None, error
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(found)

    threading.Thread(target=contextvars.copy_context().run, args=(carry_out,), daemon=True).start()
    given, error = await asyncio.wrap_future(outcome)
    if error is not None:
        raise error
    return given


def left(bound: BoundStep, error: SystemExit | asyncio.CancelledError) -> NodeFailure:
    """The failure of a kind that tried to end the program, or says that it was cancelled, which nobody did."""
    did = "was cancelled from within"
    if isinstance(error, SystemExit):
        did = f"tried to end the program (SystemExit: {error.code})"
    failure = NodeFailure("node_failed", f"the kind `{bound.step.kind}` {did}", hint="raise an error that says why")
    failure.__cause__ = error
    return failure


def ports_of(bound: BoundStep, given: Any) -> Mapping[str, Any]:
    """What a kind gave, which must hold every port that it declares."""
    kind: type[Node] = type(bound.params)
    declared = declared_ports(kind)
    if not declared or (isinstance(given, Mapping) and declared <= given.keys()):
        ports: Mapping[str, Any] = given
        return ports
    said = ", ".join(f"`{name}`" for name in sorted(declared))
    gave = f"the keys {', '.join(f'`{key}`' for key in given)}" if isinstance(given, Mapping) and given else ""
    gave = gave or ("an empty mapping" if isinstance(given, Mapping) else f"{type(given).__name__}, no mapping")
    message = f"the kind `{bound.step.kind}` declares the ports {said} and gave {gave}"
    raise NodeFailure("node_failed", message, hint="return a mapping with the keys of the TypedDict that `run` names")


@cache
def declared_ports(kind: type[Node]) -> frozenset[str]:
    """The ports that a kind of users' own always gives: the keys of the TypedDict that ``run`` names."""
    run = getattr(kind, "run", None)
    if run is None or kind.__module__.startswith(OWN):
        return frozenset()
    returned: Any = typing.get_type_hints(run).get("return")
    if not typing.is_typeddict(returned):
        return frozenset()
    hints = typing.get_type_hints(returned, include_extras=True)
    sure: frozenset[str] = returned.__required_keys__
    return frozenset(name for name in sure if typing.get_origin(hints[name]) is not typing.NotRequired)


def blank_prompt(bound: BoundStep, names: Names, arguments: Mapping[str, Any], error: Failure) -> Failure:
    """``error``, or, where a call has nothing to send, a failure that says which value was empty."""
    prompt = bound.step.inputs.get("prompt")
    if prompt is None or error.code != "node_failed" or arguments.get("prompt") or arguments.get("messages"):
        return error
    read = dict.fromkeys(found.path for found in references(prompt))
    empty = [path for path in read if _is_blank(path, names)]
    if not empty:
        message = f"the prompt of `{bound.step.id}` renders to nothing but blanks"
        return NodeFailure("node_failed", message, hint="prompt: Say hello")
    words = " and ".join(f"`{path}`" for path in empty)
    message = f"the prompt of `{bound.step.id}` is empty, because {words} {'is' if len(empty) == 1 else 'are'} empty"
    return NodeFailure("node_failed", message, hint=_refuse(empty[0]))


def _refuse(path: Path) -> str:
    """How an empty value is refused before anything runs."""
    if path.root == "inputs" and path.steps:
        return f"inputs: {{{path.steps[0]}: {{type: string, minLength: 1}}}} refuses an empty one at the start"
    return f"a prompt with words of its own is never empty: prompt: 'Text: {{{{ {path} }}}}'"


def _is_blank(path: Path, names: Names) -> bool:
    try:
        value = compile_evaluable(path)(names)
    except Exception:  # noqa: BLE001  a path inside a condition may lead nowhere
        return False
    return not value.strip() if isinstance(value, str) else value is None or value in ([], {})
