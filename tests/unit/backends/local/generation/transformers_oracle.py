"""Asks transformers what the tiny decoders write: the golden file that the numpy reference has to meet.

``bin/oracle local`` runs it beside torch and transformers when shapes or weights change. The suite needs neither.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.backends.local.generation.decoders_made import SHAPES, Shape, weights

GOLDEN = Path(__file__).parent / "transformers_golden.json"
PROMPTS = [[1, 5, 9, 3, 7, 7, 2], [4], [8, 8, 1, 60, 2], list(range(30)), [63, 0]]
COUNT = 24
PARTS = {
    "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip


def sizes(shape: Shape) -> dict[str, Any]:
    """What config.json says of a shape."""
    return {
        "hidden_size": shape.width, "intermediate_size": shape.inner, "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads, "vocab_size": shape.vocabulary,
        "max_position_embeddings": shape.window, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
        "rope_theta": shape.theta, "rope_parameters": {"rope_type": "default", "rope_theta": shape.theta},
    }  # fmt: skip


def state(shape: Shape) -> dict[str, np.ndarray]:
    """The weights as transformers names and turns them."""
    known = weights(shape)
    made = {"model.embed_tokens.weight": known["embedding"], "model.norm.weight": known["last_norm"]}
    made["lm_head.weight"] = known["head"].T
    for layer in range(shape.layers):
        place = f"model.layers.{layer}"
        made[f"{place}.input_layernorm.weight"] = known[f"norm{layer}"]
        made[f"{place}.post_attention_layernorm.weight"] = known[f"mlp_norm{layer}"]
        for name, part in PARTS.items():
            made[f"{place}.{part}.weight"] = known[f"{name}{layer}"].T
            if f"{name}_bias{layer}" in known:
                made[f"{place}.{part}.bias"] = known[f"{name}_bias{layer}"]
    return made


def model_of(shape: Shape) -> Any:
    """The same weights in the classes of transformers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    told = sizes(shape)
    if int(version("transformers").partition(".")[0]) < 5:
        del told["rope_parameters"]  # older ones take `rope_theta` alone
    made = Qwen2ForCausalLM(Qwen2Config(**told)) if shape.bias else LlamaForCausalLM(LlamaConfig(**told))
    known = {name: torch.from_numpy(value.copy()) for name, value in state(shape).items()}
    made.load_state_dict(known, strict=True)
    made.generation_config.eos_token_id = None  # every answer goes on to its length
    return made.eval()


def answers(shape: Shape) -> list[dict[str, Any]]:
    """For each prompt, what is written greedily, and the logits after the prompt."""
    import torch

    model, found = model_of(shape), []
    for prompt in PROMPTS:
        given = torch.tensor([prompt])
        options = {"attention_mask": torch.ones_like(given), "max_new_tokens": COUNT, "do_sample": False}
        with torch.no_grad():
            written = model.generate(given, **options)
            logits = model(given).logits[0, -1, :8].tolist()
        tokens = written[0, len(prompt) :].tolist()
        found.append({"prompt": prompt, "tokens": tokens, "logits": [round(value, 4) for value in logits]})
    return found


if __name__ == "__main__":
    import transformers

    golden = {"transformers": transformers.__version__} | {name: answers(shape) for name, shape in SHAPES.items()}
    lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in golden.items()]
    GOLDEN.write_text("{\n" + ",\n".join(lines) + "\n}\n")
