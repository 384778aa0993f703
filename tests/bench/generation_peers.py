"""Our loop against the peers', in turns in one process on one core: `python -m tests.bench.generation --peers`.

Run in the environment of `bin/oracle peers`. Every engine has the same random weights and must write the same tokens.
Ours and onnxruntime-genai run the same graph with shared past; optimum runs its own export of the same model in
transformers, and ours that export too. A figure is the tokens of a whole call, its prompt included.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime

from flowllm.backends.local.generation.graph import read_decoder
from tests.bench.row import Row, Size, Target, turns
from tests.unit.backends.local.generation.decoders_made import Shape, shared
from tests.unit.backends.local.generation.engine_made import engine, writing, written

Texts = list[list[int]]
Way = Callable[[Sequence[Sequence[int]], int], Texts]
"""Prompts of one length, and how many tokens to write after each."""
BATCHES = (1, 8)


def session(path: Path) -> Any:
    """One thread that does not wait busily, as all peers have it."""
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = 1
    made.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), made, providers=["CPUExecutionProvider"])


def ours(path: Path, operators: set[str]) -> Way:
    """Our loop over a graph, as the provider runs it: all requests at once."""
    running, _ = engine(read_decoder(session(path), operators))

    def write(prompts: Sequence[Sequence[int]], count: int) -> Texts:
        async def every() -> Texts:
            return await asyncio.gather(*(written(running, writing(prompt, count)) for prompt in prompts))

        return asyncio.run(every())

    return write


def genai(folder: Path, shape: Shape, unwritten: int) -> Way:
    """onnxruntime-genai, its own loop: a batch of one length. It wants to know a token that ends an answer."""
    import onnxruntime_genai

    (folder / "genai_config.json").write_text(json.dumps(_genai_config(shape, unwritten)))
    model = onnxruntime_genai.Model(str(folder))

    def write(prompts: Sequence[Sequence[int]], count: int) -> Texts:
        import numpy as np

        asked = onnxruntime_genai.GeneratorParams(model)
        length = len(prompts[0])
        asked.set_search_options(batch_size=len(prompts), max_length=length + count, do_sample=False)
        generator = onnxruntime_genai.Generator(model, asked)
        generator.append_tokens(np.array(prompts, np.int32))
        while not generator.is_done():
            generator.generate_next_token()
        return [list(map(int, generator.get_sequence(row)[length:])) for row in range(len(prompts))]

    return write


def _genai_config(shape: Shape, unwritten: int) -> dict[str, Any]:
    options = {"intra_op_num_threads": 1, "session.intra_op.allow_spinning": "0", "provider_options": []}
    past = {"past_key_names": "past_key_values.%d.key", "past_value_names": "past_key_values.%d.value"}
    present = {"present_key_names": "present.%d.key", "present_value_names": "present.%d.value"}
    decoder = {
        "session_options": options, "filename": "model.onnx", "head_size": shape.head, "hidden_size": shape.width,
        "num_attention_heads": shape.heads, "num_hidden_layers": shape.layers, "num_key_value_heads": shape.kv_heads,
        "inputs": {"input_ids": "input_ids", "attention_mask": "attention_mask", **past},
        "outputs": {"logits": "logits", **present},
    }  # fmt: skip
    tokens = {"bos_token_id": 0, "eos_token_id": unwritten, "pad_token_id": 0}
    model = {"type": "llama", "context_length": shape.window, "vocab_size": shape.vocabulary, "decoder": decoder}
    search = {"past_present_share_buffer": True, "do_sample": False, "num_beams": 1, "max_length": shape.window}
    return {"model": model | tokens, "search": search}


def transformers(model: Any) -> Way:
    """`generate` of transformers: with its own model on torch, or with optimum's on a session."""
    import torch

    def write(prompts: Sequence[Sequence[int]], count: int) -> Texts:
        given = torch.tensor(prompts)
        with torch.no_grad():
            made = model.generate(
                given, attention_mask=torch.ones_like(given), max_new_tokens=count, do_sample=False, use_cache=True
            )
        return made[:, given.shape[1] :].tolist()

    return write


def exported(folder: Path, shape: Shape) -> tuple[Any, Any]:
    """The model in transformers, and optimum's over its export in ``folder``."""
    from optimum.exporters.onnx import onnx_export_from_model
    from optimum.onnxruntime import ORTModelForCausalLM

    from tests.unit.backends.local.generation.transformers_oracle import model_of

    model = model_of(shape)
    onnx_export_from_model(model, folder, task="text-generation-with-past", do_validation=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    peer = ORTModelForCausalLM.from_pretrained(folder, session_options=options, use_io_binding=False)
    peer.generation_config.eos_token_id = None
    return model, peer


def ways(place: Path, shape: Shape, asked: Sequence[Texts], count: int) -> dict[str, Way]:
    """Every engine over the same weights; those ``asked`` are what they will be given."""
    import torch

    torch.set_num_threads(1)
    (place / "shared").mkdir()
    graph, sharing = shared(place / "shared" / "model.onnx", shape), {"GroupQueryAttention"}
    # An engine of its own: ours keeps what it has read, and would not read it again.
    probe = ours(graph, sharing)
    words = {token for prompts in asked for text in probe(prompts, count) for token in text}
    model, peer = exported(place / "exported", shape)
    return {
        "ours": ours(graph, sharing),
        "ours, export of optimum": ours(place / "exported" / "model.onnx", set()),
        "onnxruntime-genai": genai(place / "shared", shape, min(set(range(shape.vocabulary)) - words)),
        "optimum": transformers(peer),
        "transformers on torch": transformers(model),
    }


TARGETS = {"onnxruntime-genai": Target(1.0), "optimum": Target(1 / 1.5)}
"""The most that ours may take of the peer's time."""


def measure(size: Size, place: Path, shape: Shape, length: int, count: int) -> list[Row]:
    """Of each batch and peer: tokens a second of ours and of the peer, and the median of the rounds' ratios of time."""
    asked = {batch: [_prompts(shape, batch, length, turn) for turn in range(size.rounds + 2)] for batch in BATCHES}
    every, rows = ways(place, shape, [given for rounds in asked.values() for given in rounds], count), []
    for batch, prompts in asked.items():
        texts = {name: way(prompts[0], count) for name, way in every.items()}
        if differing := [name for name in texts if texts[name] != texts["ours"]]:
            raise SystemExit(f"{', '.join(differing)} write other tokens than ours")
        costs = _in_turns(every, prompts[1:], count, size.rounds)
        for name in [name for name in every if name != "ours"]:
            ratio = median(a / b for a, b in zip(costs["ours"], costs[name], strict=True))
            speeds = [batch * count / median(costs[one]) for one in ("ours", name)]
            told = f"P12 {batch} at once, against {name}"
            rows.append(Row(told, *speeds, ratio, TARGETS.get(name), "tokens/s; ratio of times", name))
    return rows


def _prompts(shape: Shape, batch: int, length: int, turn: int) -> Texts:
    """No two begin alike, so that nothing is kept from one to another."""
    first = [(turn * batch + row) * 11 + 1 for row in range(batch)]
    return [[(start + at * 3) % shape.vocabulary for at in range(length)] for start in first]


def _in_turns(every: dict[str, Way], prompts: Sequence[Texts], count: int, rounds: int) -> dict[str, list[float]]:
    names, costs = list(every), {name: [] for name in every}
    for (counts, order), given in zip(turns(rounds, len(names)), prompts, strict=False):
        for at in order:
            start = time.process_time()
            every[names[at]](given, count)
            if counts:
                costs[names[at]].append(time.process_time() - start)
    return costs
