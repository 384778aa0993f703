"""Whole folders of models that write: tiny decoders with a tokenizer, a chat template and the small files."""

import json
from dataclasses import replace
from pathlib import Path

from tests.unit.backends.local.generation.decoders_made import LLAMA, Shape, concat, shared
from tests.unit.backends.local.generation.tokenizers_made import byte_level

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if tools %}<tool_call> {{ tools | tojson }}{% endif %}{% if enable_thinking %}<think>\n{% endif %}"
    "{# </think> #}"
)
SHAPE = replace(LLAMA, vocabulary=byte_level().get_vocab_size(), window=96)
END = byte_level().token_to_id("<|end|>")


def folder(path: Path, shape: Shape = SHAPE, *, layout: str = "optimum", seed: int = 0, **files) -> Path:
    """``files`` replace small files by name without ``.json``; None leaves one out."""
    path.mkdir(parents=True, exist_ok=True)
    (concat if layout == "optimum" else shared)(path / "model.onnx", shape, seed)
    byte_level().save(str(path / "tokenizer.json"))
    written = {
        "config": {"model_type": "llama", "max_position_embeddings": shape.window, "eos_token_id": END},
        "tokenizer_config": {"bos_token": "<|start|>", "eos_token": "<|end|>", "chat_template": TEMPLATE},
        "generation_config": {"eos_token_id": [END]},
    }
    if layout == "genai":
        decoder = {"filename": "model.onnx"}
        model = {"decoder": decoder, "context_length": shape.window, "eos_token_id": END, "type": "llama"}
        written["genai_config"] = {"model": model, "search": {"past_present_share_buffer": True}}
    for name, value in (written | files).items():
        if value is not None:
            (path / f"{name}.json").write_text(json.dumps(value))
    return path
