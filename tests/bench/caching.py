"""P9: the key of a request, a hit in memory, a hit on disk. The entry is an answer of 1.4 kB."""

import hashlib
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import diskcache
import orjson

from flowllm.backends.store import DiskStore
from flowllm.core.request import Chat, Message, Sampling, Text, digest
from tests.bench.row import Row, Size, Target, cpu, in_turns, row

KEYS = 500
VALUE = {"version": 1, "kind": "call", "model": "a/b", "text": "x" * 1200, "usage": {"input": 5, "output": 7}}
REQUEST = Chat("openai/gpt-5-mini", (Message("user", (Text("why " * 400),)),), Sampling(temperature=0.0), stream=True)
PLAIN = {
    "model": REQUEST.model,
    "messages": [{"role": "user", "parts": [{"text": REQUEST.messages[0].text}]}],
    "sampling": {"temperature": 0.0},
}


def _plain_key() -> str:
    return hashlib.sha256(orjson.dumps(PLAIN, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _each(work: Callable[[], object], times: int) -> Callable[[], float]:
    def repeat() -> None:
        for _ in range(times):
            work()

    return lambda: cpu(repeat) / times * 1e6


def _reading(get: Callable[[str], Any], keys: list[str]) -> Callable[[], object]:
    turn = cycle(keys)
    return lambda: get(next(turn))


def measure(size: Size) -> list[Row]:
    """Microseconds of CPU for each; the floors are orjson and sha256, a dict of bytes, diskcache with bytes."""
    times = size.of(20_000, 100)
    with TemporaryDirectory() as name:
        folder, keys = Path(name), [hashlib.sha256(str(i).encode()).hexdigest() for i in range(KEYS)]
        store, bare = DiskStore(folder / "ours"), diskcache.Cache(str(folder / "bare"), eviction_policy="none")
        data = {key: orjson.dumps(VALUE) for key in keys}
        for key in keys:
            store.put(key, VALUE)
            bare.set(key, data[key])
        store.flush()
        cold = DiskStore(folder / "ours", memory_limit=0)
        assert cold.get(keys[0]) == store.get(keys[0]) == VALUE
        pairs = [
            ("P9 key", lambda: digest(REQUEST), _plain_key, Target(1.4), "orjson + sha256"),
            (
                "P9 memory hit",
                _reading(store.get, keys),
                _reading(lambda k: orjson.loads(data[k]), keys),
                Target(2.0),
                "dict of bytes",
            ),
            (
                "P9 disk hit",
                _reading(cold.get, keys),
                _reading(lambda k: orjson.loads(bare[k]), keys),
                Target(1.4),
                "diskcache of bytes",
            ),
        ]
        rows = [
            row(title, *in_turns(size.rounds, _each(ours, times), _each(floor, times)), target, "us", against)
            for title, ours, floor, target, against in pairs
        ]
        bare.close()
        cold.close()
        store.close()
    return rows
