"""Other people's servers, started for a module of tests, and one question through overrides of a provider."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from flowllm.api import Environment, Flow
from flowllm.backends.http import HttpClient
from flowllm.backends.probe import list_models
from flowllm.core.delta import Delta, Reply, fold
from flowllm.core.request import Chat, Message, Request, Text
from flowllm.core.scope import Scope, SystemClock

INSTALLED = Path(os.environ.get("FLOWLLM_THIRDPARTY", Path(__file__).resolve().parents[2] / ".thirdparty"))
PATIENCE = 60.0
"""Seconds that a server may take to listen: other work may share the machine."""
PIPELINE = """
flowllm: 1
inputs: {ask: string}
model: compatible/m
nodes:
  say: {kind: call, prompt: "{{ inputs.ask }}", retry: {attempts: 1}}
outputs: {text: say.text}
"""


@dataclass(frozen=True)
class Place:
    """A provider as a server stands in for it: the model, and settings of the provider where it lives.

    ``settings`` are words of the command line with ``{url}`` for the server's address.
    """

    model: str
    settings: tuple[str, ...]
    keys: dict[str, str] = field(default_factory=dict)

    @property
    def provider(self) -> str:
        return self.model.partition("/")[0]

    def words(self, url: str) -> list[str]:
        """What would stand on the command line."""
        own = [f"providers.{self.provider}.{setting.format(url=url)}" for setting in self.settings]
        return [f"model={self.model}", *own]


@contextmanager
def serving(executable: Path, command: Sequence[str | Path], log: Path) -> Iterator[str]:
    """The address of a server that runs meanwhile; `{port}` in the command is a free port of this machine."""
    if not executable.exists():
        pytest.skip(f"{executable.name} is not installed; bin/thirdparty installs it and runs these tests")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    words = [str(word).replace("{port}", str(port)) for word in command]
    with log.open("wb") as out, subprocess.Popen(words, stdout=out, stderr=out, cwd=log.parent) as process:
        try:
            _await(process, port, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _await(process: subprocess.Popen, port: int, log: Path) -> None:
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"the server does not listen: {log.read_text('utf-8', 'replace')[-500:]}")


@dataclass(frozen=True)
class Peer:
    """A running server; a project of its own in ``folder``."""

    url: str
    folder: Path

    def flow(self, place: Place) -> Flow:
        """A pipeline of one call, asking the server by overrides."""
        file = self.folder / "say.yaml"
        file.write_text(PIPELINE, encoding="utf-8")
        environment = Environment(project=self.folder, cache_folder=self.folder / "cache")
        return Flow.load(file, place.words(self.url), environment=environment)

    async def deltas(self, place: Place, request: Request, into: list[Delta] | None = None) -> list[Delta]:
        """What comes of one request; ``into`` has what came before a failure."""
        backends = self.flow(place).environment.connect()
        deltas = [] if into is None else into
        try:
            async for delta in backends(request, Scope()):
                deltas.append(delta)
        finally:
            await backends.aclose()
        return deltas

    async def reply(self, place: Place, request: Request) -> Reply:
        """The whole answer."""
        return fold(await self.deltas(place, request))

    async def models(self, place: Place) -> Sequence[str]:
        """The models that the server lists."""
        environment = self.flow(place).environment
        client = HttpClient()
        try:
            card = environment.catalog.providers[place.provider]
            return (await list_models(card, environment.keys, client, SystemClock())).names
        finally:
            await client.aclose()


def chat(place: Place, ask: str, *, stream: bool, **more) -> Chat:
    """One question."""
    return Chat(place.model, (said("user", ask),), stream=stream, **more)


def said(role: str, text: str, **more) -> Message:
    """A turn of text."""
    return Message(role, (Text(text),), **more)
