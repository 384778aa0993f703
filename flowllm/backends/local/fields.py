"""The types of what is read in a model's small files, by file and key.

What is of another type is told and never taken as if it were not there: a model would silently read less, or draw
otherwise, than its makers meant. ``null`` is as if the key were left out.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flowllm.backends.local.generation import sampling
from flowllm.core.record import record
from flowllm.text.wording import as_yaml, shortened


@record
class _Kind:
    words: str
    fits: Callable[[Any], bool]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_length(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 1


def _is_ids(value: Any) -> bool:
    found = value if isinstance(value, list) else [value]
    return all(isinstance(one, int) and not isinstance(one, bool) for one in found)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _is_labels(value: Any) -> bool:
    return isinstance(value, Mapping) and all(str(key).isdecimal() for key in value)


_TEXT = _Kind("a text", lambda value: isinstance(value, str))
_TEXTS = _Kind("a list of texts", _is_texts)
_YES = _Kind("true or false", lambda value: isinstance(value, bool))
_COUNT = _Kind("a whole number above 0", _is_count)
_LENGTH = _Kind("a number above 0", _is_length)  # tokenizers without one write 1e30
_IDS = _Kind("the number of a token, or a list of them", _is_ids)
_LABELS = _Kind("names by their numbers", _is_labels)
_TOKEN = _Kind("a text, or a mapping with its content", lambda value: isinstance(value, str | Mapping))
_TEMPLATE = _Kind("a text, or a list of named ones", lambda value: isinstance(value, str | list))
_SPECIAL = {f"{name}_token_id": _IDS for name in ("bos", "eos", "pad")}
_FIELDS: Mapping[str, Mapping[str, _Kind]] = {
    "config.json": {
        "model_type": _TEXT,
        "architectures": _TEXTS,
        "max_position_embeddings": _COUNT,
        "text_config.max_position_embeddings": _COUNT,
        "vocab_size": _COUNT,
        "id2label": _LABELS,
        "num_labels": _COUNT,
        **_SPECIAL,
    },
    "generation_config.json": {
        "do_sample": _YES,
        **{name: _Kind(sampling.range_of(name), partial(sampling.fits, name)) for name in sampling.MODELS_OWN},
        **_SPECIAL,
    },
    "genai_config.json": {
        "model.context_length": _COUNT,
        **{f"model.{name}": kind for name, kind in _SPECIAL.items()},
    },
    "tokenizer_config.json": {
        "model_max_length": _LENGTH,
        "chat_template": _TEMPLATE,
        **{f"{name}_token": _TOKEN for name in ("bos", "eos", "pad", "unk")},
    },
    "chat_template.json": {"chat_template": _TEMPLATE},
    "sentence_bert_config.json": {"max_seq_length": _COUNT},
}


def misfit(name: str, value: Mapping[str, Any]) -> str:
    """What is of no type that can be in the object of a file called ``name``; empty where nothing is."""
    for way, kind in _FIELDS.get(name, {}).items():
        found: Any = value
        for step in way.split("."):
            found = found.get(step) if isinstance(found, Mapping) else None
        if found is not None and not kind.fits(found):
            return f"`{way}` is {kind.words}, not `{shortened(as_yaml(found))}`"
    return ""
