"""Runs one case of the conformance table through the compiler and the executor, on a made-up model."""

import asyncio
import heapq
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from random import Random

import yaml

from flowllm.compiler import Compiled, compile_spec
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.delta import Finish, Meta, Text
from flowllm.core.errors import BadOutput, Failure, NodeFailure
from flowllm.core.event import CacheHit, Cost, StepRescued, StepStarted
from flowllm.core.policy import Services
from flowllm.core.spec import PipelineSpec
from flowllm.core.store import MemoryStore
from flowllm.runtime import Engine, bind
from flowllm.runtime.run import Options
from tests.spec.kinds import KINDS

TABLE = Path(__file__).with_name("language.yaml")
CATALOG = Catalog({"fake": ProviderCard("fake", wire={"chat": "fake"}, models={"m": ModelCard("m")}, local=True)})
SILENT = frozenset({"route", "retry", "cache", "map", "pipeline"})
"""Kinds that do no work of their own and are not listed when they start."""


class CoreLoader(yaml.SafeLoader):
    """YAML 1.2: of the words of YAML 1.1 only true, false and null are no text."""


CoreLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
CoreLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


def read_table() -> dict[str, dict]:
    """All cases by name, `like` and `patch` carried out."""
    cases = {case["name"]: case for case in yaml.load(TABLE.read_text(), CoreLoader)}
    return {name: {**case, "p": written(case, cases)} for name, case in cases.items()}


def written(case: dict, cases: Mapping[str, dict]) -> dict:
    """The case's pipeline."""
    if "like" not in case:
        return case["p"]
    like = cases[case["like"]]["p"]
    nodes = dict(like["nodes"])
    for name, change in case.get("patch", {}).items():
        nodes[name] = {**nodes.get(name, {}), **change}
    return {**like, "nodes": nodes}


def parsed(case: dict) -> PipelineSpec:
    """The case's pipeline with a model for its calls."""
    return parse_mapping({"model": "fake/m", **case["p"]}, kinds=KINDS, pipelines=models_of(case.get("files", {})))


def models_of(files: dict) -> dict:
    return {use: {"model": "fake/m", **pipeline} for use, pipeline in files.items()}


def compiled(case: dict) -> Compiled:
    """The case's plan."""
    return compile_spec(parsed(case), kinds=KINDS, catalog=CATALOG)


class JumpClock:
    """Time passes only when everybody waits; then it jumps to the next moment that somebody waits for."""

    def __init__(self) -> None:
        self.time = 0.0
        self._waiting: list = []
        self._count = itertools.count()
        self._ticker: asyncio.Task | None = None

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        woken = asyncio.get_running_loop().create_future()
        self._at(self.time + seconds, lambda: woken.done() or woken.set_result(None))
        await woken

    def timeout(self, deadline: float | None) -> asyncio.Timeout:
        timer = asyncio.timeout(None)
        if deadline is not None:
            self._at(deadline, lambda: timer.reschedule(asyncio.get_running_loop().time()))
        return timer

    def _at(self, moment: float, act) -> None:
        heapq.heappush(self._waiting, (moment, next(self._count), act))
        if self._ticker is None or self._ticker.done():
            self._ticker = asyncio.get_running_loop().create_task(self._tick())

    async def _tick(self) -> None:
        while self._waiting:
            for _ in range(30):
                await asyncio.sleep(0)
            moment, _, act = heapq.heappop(self._waiting)
            self.time = max(self.time, moment)
            try:
                act()
            except RuntimeError:
                # The timeout's block has ended.
                continue


@dataclass
class Answers:
    """Answers a call by its node and prompt, as `replies` says."""

    replies: Mapping[str, list | dict]
    delays: Mapping[str, float]
    used: dict[str, int] = field(default_factory=dict)

    async def __call__(self, request, scope):
        prompt = "".join(message.text for message in request.messages)
        node = scope.address.rpartition("/")[2]
        answer = self._answer(node, prompt)
        if prompt in self.delays:
            await scope.clock.sleep(self.delays[prompt])
        if answer.startswith("!!"):
            raise BadOutput(answer[2:])
        if answer.startswith("!"):
            raise NodeFailure("node_failed", answer[1:])
        for piece in re.findall(r"\S+\s*|\s+", answer):
            yield Text(piece)
        yield Finish("stop", "stop")
        yield Meta(request.model)

    def _answer(self, node: str, prompt: str) -> str:
        known = self.replies.get(node)
        if isinstance(known, list):
            at = self.used.get(node, 0)
            self.used[node] = at + 1
            return known[at] if at < len(known) else prompt
        return (known or {}).get(prompt, prompt)


@dataclass
class Seen:
    """The order in which steps started, as the table writes it."""

    ran: list[str] = field(default_factory=list)

    def __call__(self, event) -> None:
        match event:
            case StepStarted(address=address, kind=kind) if kind not in SILENT:
                self.ran.append(address)
            case StepRescued(address=address):
                self.ran.append(f"{address}!")
            case CacheHit(address=address, kind="region"):
                self.ran.append(f"{address}*")
            case CacheHit(address=address):
                self.ran[len(self.ran) - 1 - self.ran[::-1].index(address)] = f"{address}*"


@dataclass
class World:
    """One store and one set of answers, for a case's runs."""

    case: dict
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.answers = Answers(self.case.get("replies", {}), self.case.get("delays", {}))

    def engine(self) -> Engine:
        services = Services(store=self.store, price=lambda model, usage: Cost(Decimal(1)))
        return Engine(kinds=KINDS, backends=self.answers, services=services, clock=JumpClock(), random=Random(0))

    async def run(self, given: Mapping, refresh=()) -> tuple[object, list[str]]:
        """The outputs, or the failure as the table writes it, and what ran."""
        seen = Seen()
        bound = bind(compiled(self.case).plan, self.engine())
        try:
            result = await bound.run(given, Options(readers=[seen], refresh=refresh))
        except Failure as failure:
            return f"FAILED {failure.address}: {failure.message}", seen.ran
        return dict(result.outputs), seen.ran

    async def stream(self, given: Mapping, output: str) -> list[str]:
        """The text deltas of an output."""
        bound = bind(compiled(self.case).plan, self.engine())
        async with bound.stream(given, output) as stream:
            found = [delta.text.strip() async for delta in stream if isinstance(delta, Text)]
            await stream.result()
        return found
