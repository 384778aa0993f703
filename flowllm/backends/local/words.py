"""What the small files of a model say, in the words of the projects that write them.

config.json and tokenizer_config.json come from transformers, modules.json and 1_Pooling/config.json from
sentence-transformers, genai_config.json from the builder of onnxruntime-genai.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flowllm.backends.local.json_files import bad, read_json, read_object, read_text
from flowllm.backends.local.safety import safe_name
from flowllm.core.errors import SetupError
from flowllm.core.record import record

_UNSET = 10**6
"""Windows from here on are what tokenizers write where they have none."""
_OFFSET = frozenset({"roberta", "xlm-roberta", "camembert", "mpnet", "xlm-roberta-xl", "longformer"})
"""Kinds of models whose first positions are not for tokens: two of them, as their padding is number 1."""
_BY_LENGTH = ("longrope", "su")
"""Kinds of rotary positions whose table depends on how long the whole text is."""
_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weighted_mean",
    "pooling_mode_lasttoken": "last",
}
POOLINGS = tuple(_POOLINGS.values())
_SPELLED = {"lasttoken": "last", "weightedmean": "weighted_mean", "mean_sqrt_len_tokens": "mean_sqrt_len"}


@record
class Modules:
    """What sentence-transformers does with the vectors of tokens; ``known`` is False where no file says it.

    ``with_prompt``: the tokens of a prompt are pooled with those of the text.
    """

    known: bool = False
    pooling: str | None = None
    normalize: bool = False
    with_prompt: bool = True


def at(value: Any, *steps: str) -> Any:
    """What stands at the end of a way of keys, None where it breaks off."""
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def sentence_modules(folder: Path) -> Modules:
    """The modules of a folder; `SetupError` for one that is not known here."""
    modules = read_json(folder / "modules.json")
    if modules is None:
        path = folder / "1_Pooling" / "config.json"
        return Modules(pooling=_pooling(path), with_prompt=_with_prompt(path), known=False)
    if not isinstance(modules, list) or not all(isinstance(one, Mapping) for one in modules):
        raise bad(folder / "modules.json", "holds no list of modules")
    pooling, normalize, with_prompt = None, False, True
    for module in modules:
        kind = str(module.get("type", "")).rpartition(".")[2]
        if kind == "Pooling":
            path = folder / _step(folder, str(module.get("path", ""))) / "config.json"
            pooling, with_prompt = _pooling(path), _with_prompt(path)
        elif kind == "Normalize":
            normalize = True
        elif kind != "Transformer":
            message = f"{folder / 'modules.json'} has a module `{kind}`, which does not run here"
            raise SetupError("capability_mismatch", message, hint="export it with its modules in the graph")
    return Modules(known=True, pooling=pooling, normalize=normalize, with_prompt=with_prompt)


def _step(folder: Path, path: str) -> str:
    if "/" in path or not safe_name(path):
        raise bad(folder / "modules.json", "names a folder that is not its own")
    return path


def _pooling(path: Path) -> str | None:
    config = read_object(path)
    named = config.get("pooling_mode")
    if isinstance(named, str):
        return _SPELLED.get(named, named) if _SPELLED.get(named, named) in POOLINGS else None
    found = [pooling for word, pooling in _POOLINGS.items() if config.get(word) is True]
    if len(found) > 1:
        raise SetupError("capability_mismatch", f"{path} asks for {' and '.join(found)}, and one of them runs here")
    return found[0] if found else None


def _with_prompt(path: Path) -> bool:
    return read_object(path).get("include_prompt") is not False


def sentence_prompt(folder: Path) -> str:
    """What sentence-transformers puts before every text, empty where no file says so."""
    config = read_object(folder / "config_sentence_transformers.json")
    name = config.get("default_prompt_name")
    prompt = at(config, "prompts", name) if isinstance(name, str) else None
    return prompt if isinstance(prompt, str) else ""


def window(folder: Path, config: Mapping[str, Any], genai: Mapping[str, Any]) -> int | None:
    """The tokens that the model reads at most: what was said for its task, else the least that its files say.

    Never more than `turned_alike`: beyond, what a text gets would depend on its neighbours and on how it is read.
    """
    sentences = read_object(folder / "sentence_bert_config.json").get("max_seq_length")
    first = _count(sentences) or _count(at(genai, "model", "context_length")) or _said(folder, config)
    alike = turned_alike(config)
    return min((count for count in (first, alike) if count is not None), default=None)


def turned_alike(config: Mapping[str, Any]) -> int | None:
    """The tokens up to which one table turns all positions, where longer texts have another one (LongRoPE)."""
    for one in (config, at(config, "text_config")):
        rope = at(one, "rope_scaling") or at(one, "rope_parameters")
        if (at(rope, "rope_type") or at(rope, "type")) in _BY_LENGTH:
            word = "original_max_position_embeddings"
            return _count(at(rope, word)) or _count(at(one, word))
    return None


def _said(folder: Path, config: Mapping[str, Any]) -> int | None:
    positions = config.get("max_position_embeddings") or at(config, "text_config", "max_position_embeddings")
    offset = 2 if config.get("model_type") in _OFFSET else 0
    said = _count(read_object(folder / "tokenizer_config.json").get("model_max_length"))
    read = _count(positions)
    known = [] if read is None else [read - offset]
    known += [] if said is None or said >= _UNSET else [said]
    return min(known, default=None)


def _count(value: Any) -> int | None:
    """A number of tokens; None for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 1 <= value < math.inf:
        return int(value)
    return None


def labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    """What a classifier tells apart, in the order of its numbers."""
    named = config.get("id2label")
    if isinstance(named, Mapping) and named:
        try:
            order = sorted(named, key=int)
        except ValueError:
            return ()
        return tuple(str(named[key]) for key in order)
    count = config.get("num_labels", 2)
    return tuple(f"LABEL_{i}" for i in range(count)) if isinstance(count, int) and 0 < count < _UNSET else ()


def activation(config: Mapping[str, Any]) -> str:
    """What makes a score of a cross-encoder's number: ``sigmoid``, unless its files say ``identity``."""
    said = at(config, "sentence_transformers", "activation_fn") or config.get("sbert_ce_default_activation_function")
    return "identity" if str(said or "").rpartition(".")[2].lower() == "identity" else "sigmoid"


def chat_template(folder: Path, tokenizer: Mapping[str, Any]) -> str | None:
    """The template of a chat, the one named ``default`` where there are several."""
    own = read_text(folder / "chat_template.jinja")
    if own is not None:
        return own
    found = read_object(folder / "chat_template.json").get("chat_template") or tokenizer.get("chat_template")
    if isinstance(found, list):
        named = {at(one, "name"): at(one, "template") for one in found}
        found = named.get("default")
    return found if isinstance(found, str) else None


def token_text(value: Any) -> str:
    """A token as tokenizer_config.json writes it: text, or an object with its content."""
    text = at(value, "content") if isinstance(value, Mapping) else value
    return text if isinstance(text, str) else ""


def first_ids(said: Sequence[Mapping[str, Any]], word: str) -> tuple[int, ...]:
    """The numbers that the first file with the word names."""
    for one in said:
        value = one.get(word) if isinstance(one, Mapping) else None
        found = value if isinstance(value, list) else [value]
        if value is not None and all(isinstance(number, int) and not isinstance(number, bool) for number in found):
            return tuple(found)
    return ()
