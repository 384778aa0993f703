"""The peers of `tests.bench.embedding`, each as a function from texts to vectors."""

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 32
"""As sentence-transformers has it; with fastembed's own 256 it was slower."""
WINDOW = 256

os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

Ways = dict[str, Callable[[Sequence[str]], Any]]


def on_one_thread(source: Path, folder: Path, place: Path) -> Ways:
    """sentence-transformers on torch and on ONNX Runtime, and fastembed. ``folder`` is what was exported."""
    import onnxruntime
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    plain = SentenceTransformer(str(source), device="cpu")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    asked = {"provider": "CPUExecutionProvider", "file_name": "model.onnx", "session_options": options}
    onnx = SentenceTransformer(str(folder), backend="onnx", device="cpu", model_kwargs=asked)
    return {
        "sentence-transformers, torch": lambda texts: plain.encode(texts, batch_size=BATCH),
        "sentence-transformers, ONNX": lambda texts: onnx.encode(texts, batch_size=BATCH),
        "fastembed": fastembed(folder, place / "fastembed"),
    }


def fastembed(folder: Path, target: Path) -> Callable[[Sequence[str]], Any]:
    """It reads its window and its padding from the tokenizer's files, which say 128 for both."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    shutil.copytree(folder, target)
    rewrite(target / "tokenizer.json", padding=None, truncation=None)
    rewrite(target / "tokenizer_config.json", model_max_length=WINDOW, max_length=WINDOW)
    TextEmbedding.add_custom_model(
        model="local/minilm",
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf="local/minilm"),
        dim=384,
        model_file="model.onnx",
    )
    model = TextEmbedding("local/minilm", threads=1, specific_model_path=str(target))
    return lambda texts: np.stack(list(model.embed(texts, batch_size=BATCH)))


def rewrite(path: Path, **words: Any) -> None:
    """Change some words of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | words), "utf-8")


def on_cuda(source: Path) -> Ways:
    """sentence-transformers on torch's GPU, none where torch sees none."""
    import torch
    from sentence_transformers import SentenceTransformer

    if not torch.cuda.is_available():
        return {}
    model = SentenceTransformer(str(source), device="cuda")
    return {"sentence-transformers, torch": lambda texts: model.encode(texts, batch_size=256)}
