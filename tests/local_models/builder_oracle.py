"""Asks transformers and onnxruntime-genai what small random models of many families write.

`python -m tests.local_models.builder_oracle FOLDER` writes the models, as transformers has them, and beside each what
it writes greedily; with `written FOLDER` it prints what onnxruntime-genai's own loop writes with an exported one.
`bin/oracle builder` runs it beside these packages. The suite needs none of them.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "vocab_size": 300, "max_position_embeddings": 128,
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
HEAD, WINDOW = {"head_dim": 16}, {"sliding_window": 8}
WIDE = {"hidden_size": 128}
"""A head of which a part is turned has to be wide enough for that."""
MIXED = {"layer_types": ["sliding_attention", "full_attention", "sliding_attention"]}
LLAMA3 = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
LONG = {"original_max_position_embeddings": 96, "short_factor": [1.1] * 8, "long_factor": [2.0] * 8}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama, tied": ("Llama", {"tie_word_embeddings": True}),
    "llama 3": ("Llama", {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, **LLAMA3}}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", HEAD),
    "mistral": ("Mistral", {**HEAD, "sliding_window": None}),
    "mistral, window": ("Mistral", HEAD | WINDOW),
    "gemma": ("Gemma", HEAD),
    "gemma2": ("Gemma2", {**HEAD, **WINDOW, "query_pre_attn_scalar": 16}),
    "gemma3": ("Gemma3", {**HEAD, **WINDOW, **MIXED, "query_pre_attn_scalar": 16}),
    "phi": ("Phi", {**WIDE, "num_key_value_heads": 4}),
    "phi3": ("Phi3", {"original_max_position_embeddings": 128}),
    "phi3, window": ("Phi3", {"original_max_position_embeddings": 128, **WINDOW}),
    "phi3, long": ("Phi3", {"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, **LONG}}),
    "granite": ("Granite", {}),
    "smollm3": ("SmolLM3", {}),
    "nemotron": ("Nemotron", WIDE),
    "ernie": ("Ernie4_5", {}),
}
"""What a family is called in transformers, and what it has beside the sizes."""
PROMPTS = [[3, 5, 9, 33, 7, 7, 2], [4], [8, 8, 11, 60, 2], list(range(2, 32)), [63, 2]]
COUNT = 40


def model_of(name: str) -> Any:
    """The model with random weights, large enough that the next token depends on what came before."""
    import torch
    import transformers

    stem, more = FAMILIES[name]
    kind = getattr(transformers, f"{stem}TextConfig" if stem == "Gemma3" else f"{stem}Config")
    made = getattr(transformers, f"{stem}ForCausalLM")(kind(**SIZES | more)).eval()
    torch.manual_seed(7)
    with torch.no_grad():
        for part, weight in made.named_parameters():
            drawn = torch.randn_like(weight)
            if weight.dim() == 1:
                weight.add_(drawn * 0.1)
            elif "embed" in part:
                weight.copy_(drawn * (0.02 if made.config.tie_word_embeddings else 1.0))
            else:
                weight.copy_(drawn * 2.5 * weight.shape[-1] ** -0.5)
    return made


def greedy(model: Any, prompt: Sequence[int]) -> list[int]:
    """What transformers writes, on to its length."""
    import torch

    given = torch.tensor([prompt])
    model.generation_config.eos_token_id = None
    with torch.no_grad():
        made = model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=COUNT, do_sample=False, pad_token_id=0
        )
    return made[0, len(prompt) :].tolist()


def write(folder: Path, name: str) -> None:
    """The model's folder, and what it writes."""
    from tests.unit.backends.local.generation.tokenizers_made import byte_level

    model = model_of(name)
    texts = [{"prompt": prompt, "tokens": greedy(model, prompt)} for prompt in PROMPTS]
    model.generation_config.eos_token_id = 1
    model.save_pretrained(folder / name)
    byte_level().save(str(folder / name / "tokenizer.json"))
    (folder / name / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    (folder / f"{name}.json").write_text(json.dumps(texts))


def written(folder: Path) -> list[list[int]]:
    """What onnxruntime-genai writes greedily with an exported model. It ends with the token that ends an answer."""
    import onnxruntime_genai

    model, found = onnxruntime_genai.Model(str(folder)), []
    for prompt in PROMPTS:
        asked = onnxruntime_genai.GeneratorParams(model)
        asked.set_search_options(max_length=len(prompt) + COUNT, do_sample=False)
        generator = onnxruntime_genai.Generator(model, asked)
        generator.append_tokens(prompt)
        while not generator.is_done():
            generator.generate_next_token()
        found.append([int(token) for token in generator.get_sequence(0)[len(prompt) :]])
    return found


if __name__ == "__main__":
    if sys.argv[1] == "written":
        sys.stdout.write(json.dumps(written(Path(sys.argv[2]))))
    else:
        for one in FAMILIES:
            write(Path(sys.argv[1]), one)
