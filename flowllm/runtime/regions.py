"""What regions do with their bodies: repeat them, keep their value, run them for every item, call them.

Each attempt and item is a fresh frame whose names are what the body reads from outside, and the
region's own variables.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowllm.core.errors import BadOutput, Failure, NodeFailure, UsageError
from flowllm.core.event import AttemptEnded, CacheHit, CacheMiss
from flowllm.runtime.bind import BoundStep
from flowllm.runtime.context import Place
from flowllm.runtime.inputs import complete_inputs
from flowllm.runtime.plain import apart, plain
from flowllm.text.wording import shortened
from flowllm.text.writing import written

if TYPE_CHECKING:
    from flowllm.runtime.frame import Frame

Ports = Mapping[str, Any]
Arguments = Mapping[str, Any]
CACHE_VERSION = 2


def _inner(frame: "Frame", index: int, place: Place, own: Mapping[str, Any]) -> "Frame":
    """A fresh frame for a region's body; the latest one is what streams follow."""
    bound = frame.bound.steps[index]
    assert bound.body is not None
    names = {root: frame.names[root] for root in bound.roots}
    names.update(own)
    child = type(frame)(bound.body, names, place, frame.run)
    frame.children[index] = child
    return child


async def run_retry(frame: "Frame", index: int, place: Place, arguments: Arguments) -> Ports:
    """Attempts until one is good. A bad one is what `until` refuses, or bad output inside."""
    bound = frame.bound.steps[index]
    name, address, attempts = bound.step.id, frame.address(bound), bound.params.attempts
    problem: str | None = None
    last: Any = None
    for attempt in range(1, attempts + 1):
        frame.progress[index].known = {"attempts": attempt, "problem": problem, "last": last}
        salt = f"{name}#{attempt}/" if attempt > 1 else ""
        own = {name: {"attempt": attempt, "problem": problem, "last": last}}
        child = _inner(frame, index, place.inner(f"{address}#{attempt}/", salt), own)
        problem, last = await _attempt(child)
        if frame.run.observed:
            frame.run.emit(AttemptEnded(address, frame.run.clock.now(), attempt, problem))
        if problem is None:
            return {"value": last, "attempts": attempt, "problem": None}
    frame.progress[index].known = {"attempts": attempts, "problem": problem, "last": last}
    plural = "s" if attempts > 1 else ""
    message = f"not good after {attempts} attempt{plural}: {problem}"
    raise BadOutput(message, code="not_good", value=last, errors=(problem or "",))


async def _attempt(child: "Frame") -> tuple[str | None, Any]:
    """The problem of one attempt (None: it is good) and its value."""
    try:
        await child.complete()
    except BadOutput as failure:
        return "\n".join(failure.errors), failure.value
    value, outputs = child.output("of"), child.bound.outputs
    good = child.output("until") if "until" in outputs else True
    if good is True:
        return None, value
    if good:
        shown = shortened(json.dumps(good, ensure_ascii=False, default=str))
        return f"`until` gives {shown}, which is neither true nor false", value
    problem = child.output("problem") if "problem" in outputs else None
    return _lines(problem) or "`until` is false", value


def _lines(problem: Any) -> str:
    """A problem as text: the items of a list on lines of their own."""
    items = problem if isinstance(problem, list | tuple) else [problem]
    return "\n".join(map(written, items))


async def run_cache(frame: "Frame", index: int, place: Place, arguments: Arguments) -> Ports:
    """The body's value, from the store where the body read the same before; as data, kept or not."""
    bound, run = frame.bound.steps[index], frame.run
    address, services = frame.address(bound), run.services
    behind = _behind(frame, bound)
    try:
        key = _region_key(frame, bound, place, arguments, behind)
    except TypeError as error:
        said = f"`{bound.step.id}` keeps nothing, for it reads a value of the type {error}; give it a `key` of text"
        run.warn_once("bad_value", address, said)
        return {"value": plain(await _cache_body(frame, index, place)), "hit": False}
    refresh = run.refreshes(address)
    kept = services.store.get(key) if services.read_cache and not refresh else None
    if isinstance(kept, Mapping) and kept.get("version") == CACHE_VERSION:
        run.emit(CacheHit(address, run.clock.now(), key, "region"))
        return {"value": kept["value"], "hit": True}
    if services.read_cache:
        run.emit(CacheMiss(address, run.clock.now(), key, "refresh" if refresh else "absent"))
    value = plain(await _cache_body(frame, index, place))
    # Where the files of a model were replaced meanwhile, nobody knows what the value is of.
    if services.write_cache and _behind(frame, bound) == behind:
        services.store.put(key, {"version": CACHE_VERSION, "kind": "region", "value": value}, bound.params.ttl)
    return {"value": value, "hit": False}


async def _cache_body(frame: "Frame", index: int, place: Place) -> Any:
    child = _inner(frame, index, place.inner(f"{frame.address(frame.bound.steps[index])}/"), {})
    await child.complete()
    return child.output("of")


def _behind(frame: "Frame", bound: BoundStep) -> list[str]:
    """What stands behind the models of a region's body here: their servers, the rules of the mock, their files."""
    assert bound.body is not None
    return [frame.run.services.identity(model) for model in bound.body.asks]


def _region_key(frame: "Frame", bound: BoundStep, place: Place, arguments: Arguments, behind: list[str]) -> str:
    """All that the value depends on: the body, what stands behind its models here, what it reads from outside or
    ``key``, and the attempt. TypeError for a value that has no key.

    json and not orjson: a key must take integers of any size, and keep NaN and null apart.
    """
    assert bound.body is not None
    read = arguments.get("key")
    if read is None:
        read = {path: value(frame.names) for path, value in bound.captures}
    text = json.dumps([CACHE_VERSION, bound.body.digest, behind, place.salt, apart(read)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


async def run_map(frame: "Frame", index: int, place: Place, arguments: Arguments) -> Ports:
    """The body once for each item, so many at once; results in input order."""
    bound = frame.bound.steps[index]
    items = _items(arguments["over"])
    results: dict[int, Any] = {}
    failures: dict[int, Failure] = {}
    positions = iter(range(len(items)))

    async def work() -> None:
        for position in positions:
            try:
                results[position] = await _item(frame, index, place, position, items[position])
            except Failure as failure:
                if not bound.params.keep_going or frame.run.is_final(failure):
                    raise
                failures[position] = failure
            await asyncio.sleep(0)

    await _together(work, min(bound.params.at_once, len(items)))
    if items and len(failures) == len(items):
        raise _every_item_failed(list(failures.values()))
    errors = [{"index": i, "code": failures[i].code, "message": failures[i].message} for i in sorted(failures)]
    kept = sorted(results)
    return {"items": [results[i] for i in kept], "errors": errors, "indexes": kept}


async def _item(frame: "Frame", index: int, place: Place, position: int, item: Any) -> Any:
    bound = frame.bound.steps[index]
    own = {bound.step.id: {"index": position}, bound.params.name: item}
    child = _inner(frame, index, place.inner(f"{frame.address(bound)}[{position}]/"), own)
    await child.complete()
    return child.output("of")


async def _together(work: Callable[[], Awaitable[None]], workers: int) -> None:
    """Run the same work several times over; the first failure cancels the others."""

    async def one() -> None:
        await work()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(workers):
                group.create_task(one())
    except BaseExceptionGroup as failures:
        raise next(_leaves(failures)) from None


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def _items(over: Any) -> Sequence[Any]:
    if isinstance(over, list | tuple):
        return over
    if hasattr(over, "tolist"):
        rows: list[Any] = list(over)
        return rows
    message = f"`over` must be a list, and it is {_json_type(over)}"
    raise NodeFailure("type_mismatch", message)


def _json_type(value: Any) -> str:
    names = {
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        type(None): "null",
        dict: "an object",
    }
    return names.get(type(value), f"a {type(value).__name__}")


def _every_item_failed(failures: Sequence[Failure]) -> Failure:
    """One failure for all: bad output when each is, so that a retry around the map tries again."""
    first = failures[0]
    message = f"every item failed; first: {first.message}"
    failure: Failure
    if all(isinstance(failed, BadOutput) for failed in failures):
        failure = BadOutput(message, code="every_item_failed", hint=first.hint)
    else:
        failure = NodeFailure("every_item_failed", message, hint=first.hint)
        failure.exit = first.exit
    failure.__cause__ = first
    return failure


async def run_pipeline(frame: "Frame", index: int, place: Place, arguments: Arguments) -> Ports:
    """A sub-pipeline: its own names, only its declared inputs and outputs."""
    bound = frame.bound.steps[index]
    assert bound.body is not None
    try:
        inputs = complete_inputs(bound.body.plan.inputs, arguments)
    except UsageError as error:
        raise NodeFailure(error.code, error.message, hint=error.hint) from None
    child = _inner(frame, index, place.inner(f"{frame.address(bound)}/"), {"inputs": inputs})
    await child.complete()
    return {name: child.output(name) for name in child.bound.outputs}


REGIONS: Mapping[str, Callable[["Frame", int, Place, Arguments], Awaitable[Ports]]] = {
    "retry": run_retry,
    "cache": run_cache,
    "map": run_map,
    "pipeline": run_pipeline,
}
