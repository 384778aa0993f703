"""A decoder in a process of its own: requests go there, deltas come back, many at once.

All of it runs there, the tokenizer and the chat template too: they came with the model. Where the process ends, the
calls in flight fail with ``worker_died``, and the next one starts it anew. A caller that goes has its answer ended
there at once. A process that takes no message for ``patience`` seconds is ended, and so is one in which a single run
of the model takes longer; while a call waits, it is asked whether it lives.
"""

import asyncio
import itertools
import threading
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from flowllm.backends.local.devices import Device
from flowllm.backends.local.frames import TooLong, Unsendable
from flowllm.backends.local.generation.prefixes import KEPT
from flowllm.backends.local.generation.told import delta_of, failure_of
from flowllm.backends.local.isolated import NO_ANSWER, died, opened
from flowllm.backends.local.layout import Description
from flowllm.backends.local.opening import Opening
from flowllm.backends.local.process import Process
from flowllm.backends.local.refused import refused
from flowllm.core.delta import Delta
from flowllm.core.errors import FlowError
from flowllm.core.request import Chat
from flowllm.core.scope import Scope

_SHORTEN = "shorten the prompt with a node of kind `truncate`"
_TOLD = "keys that are texts, whole numbers of at most 64 bits, and no lone surrogate"

News = dict[str, Any] | FlowError
"""What the process says of a call, or how it failed."""


@dataclass(slots=True, eq=False)
class _Call:
    """One call. ``process`` is where it was sent, None as long as it was not; ``left``: nobody waits for it."""

    number: int
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    news: "asyncio.Queue[News]" = field(default_factory=asyncio.Queue)
    process: Process | None = None
    left: bool = False

    def tell(self, news: News) -> None:
        try:
            self.loop.call_soon_threadsafe(self.news.put_nowait, news)
        except RuntimeError:
            self.left = True


class IsolatedWriter:
    """The same to its users as `writer.Writer`."""

    def __init__(
        self,
        description: Description,
        device: Device,
        patience: float,
        room: int = KEPT,
        memory: int | None = None,
    ) -> None:
        self.description = description
        self._device = device
        self._patience = patience
        self._room = room
        self._memory = memory
        self._numbers = itertools.count(1)
        self._starting = threading.Lock()
        self._waking: Opening | None = None
        self._lock = threading.Lock()
        self._calls: dict[int, _Call] = {}
        self._closed = threading.Event()
        self._process, said = self._started()
        self.provider: str = said["provider"]
        self._told: tuple[Process, int] = self._process, 0
        """The process that last said how many bytes it keeps, and how many these are."""

    @property
    def pid(self) -> int | None:
        """The number of the process, None where none runs."""
        return self._process.pid if self._process.alive else None

    @property
    def kept(self) -> int:
        """Bytes that its process keeps beside the model; one that ended keeps none."""
        process, kept = self._told
        return kept if process.alive else 0

    def forget(self) -> None:
        """Have the process let go of these; they count no more from here on."""
        if self.kept:
            process, _ = self._told
            # Before it is sent: what the process says behind it is what counts.
            self._told = process, 0
            process.send({"forget": True})

    def close(self) -> None:
        """End the process; calls in flight fail."""
        self._closed.set()
        self._process.end()

    async def generate(self, request: Chat, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The deltas of an answer; closing the generator ends it in the process."""
        call = _Call(next(self._numbers))
        header = {"call": call.number, "request": request, "wall": scope.clock.wall()}
        try:
            await self._awake()
            await scope.run_in_thread(lambda: self._send(call, header))
            while True:
                news = await self._news(call)
                if isinstance(news, FlowError):
                    raise news
                if "delta" in news:
                    yield self._delta(call, news["delta"])
                elif "error" in news:
                    raise failure_of(news, request.model)
                else:
                    return
        except Unsendable as error:
            message = f"what is asked of `{request.model}` cannot be told to its process: {error}"
            said = (_SHORTEN, "context_too_long") if isinstance(error, TooLong) else (_TOLD, "bad_request")
            raise refused(request.model, message, *said) from None
        finally:
            self._leave(call)

    def _delta(self, call: _Call, told: Any) -> Delta:
        try:
            delta: Delta = delta_of(told)
        except ValueError as error:
            if call.process is not None:
                call.process.stop(NO_ANSWER)
            raise died(self.description.folder.name, NO_ANSWER) from error
        return delta

    async def _news(self, call: _Call) -> News:
        """What comes next of a call; that its process was ended is news."""
        while True:
            try:
                async with asyncio.timeout(self._patience / 2 if call.news.empty() else None):
                    return await call.news.get()
            except TimeoutError:
                assert call.process is not None
                self._look_after(call.process)

    def _look_after(self, process: Process) -> None:
        """End a process that took no message for too long; ask one that took all whether it lives."""
        silence = process.silence
        if silence >= self._patience:
            process.stop(f"said nothing for {self._patience:g} s and was ended")
        elif not silence:
            process.send({})

    async def _awake(self) -> None:
        """Have a process run, started by one thread where none does."""
        with self._starting:
            if self._process.alive or self._closed.is_set():
                return
            if self._waking is None or self._waking.ended:
                self._waking = Opening(self._wake)
            waking = self._waking
        await waking.come()

    def _wake(self) -> None:
        self._process, _ = self._started()
        if self._closed.is_set():
            self._process.end()

    def _send(self, call: _Call, header: dict[str, Any]) -> None:
        """Have a call begun; in a thread."""
        process = self._process
        with self._lock:
            call.process = process
            if not process.alive:
                call.tell(died(self.description.folder.name, process.last_words))
            elif not call.left:
                process.send(header)
                self._calls[call.number] = call

    def _leave(self, call: _Call) -> None:
        with self._lock:
            call.left = True
            if self._calls.pop(call.number, None) is not None and call.process is not None:
                call.process.send({"call": call.number})

    def _started(self) -> tuple[Process, dict[str, Any]]:
        process, found = Process(self._hear), self.description
        header: dict[str, Any] = {"task": "writer", "folder": str(found.folder)}
        header |= {"device": self._device.model_dump(), "patience": self._patience, "room": self._room}
        header |= {"memory": self._memory}
        return process, opened(process, header, found.file, self._patience)

    def _hear(self, process: Process, header: dict[str, Any] | None) -> None:
        """Take what a process says, or that it ended; on its thread."""
        with self._lock:
            if header is None:
                self._lose(process)
            elif "hangs" in header:
                process.stop(f"ran the model for {self._patience:g} s without an end and was ended")
            elif "keeps" in header:
                self._account(process, header["keeps"])
            elif isinstance(number := header.get("call"), int) and number in self._calls:
                self._calls[number].tell(header)
                if "ended" in header:
                    del self._calls[number]

    def _account(self, process: Process, keeps: Any) -> None:
        """Take what a process says that it keeps; what one that ended had to say is late."""
        if not isinstance(keeps, int) or not 0 <= keeps <= self._room:
            process.stop(NO_ANSWER)
        elif process.alive:
            self._told = process, keeps

    def _lose(self, process: Process) -> None:
        """Fail the calls that a process worked on."""
        for call in [call for call in self._calls.values() if call.process is process]:
            del self._calls[call.number]
            call.tell(died(self.description.folder.name, process.last_words))
