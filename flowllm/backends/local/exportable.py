"""Whether an exporter can read a folder: what its model is for, and weights in safetensors that are whole.

What can be told of a folder without PyTorch is told here, before anything starts and in the words of the one who
named the folder. Whether the weights fill the model is known to transformers alone (``converting``).
"""

import re
from pathlib import Path
from typing import Any

import orjson

from flowllm.backends.local import words
from flowllm.backends.local.json_files import bad, read_object
from flowllm.backends.local.safety import safe_name
from flowllm.core.errors import SetupError
from flowllm.core.shell_line import shell_line

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
HEADER = 100_000_000
"""Bytes of a header at most, as the format has it."""
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_HEAD = "ForSequenceClassification"
_HEADS = ("rerank", "classify")
_CLASSES = {
    _HEAD: "classify",
    "ForCausalLM": "chat",
    "LMHeadModel": "chat",
    "ForMaskedLM": "embed",
    "ForPreTraining": "embed",
    "Model": "embed",
}
"""How the names of transformers' classes end, and what such a model is for."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def job_of(source: Path, task: str, precision: str) -> dict[str, Any]:
    """What the exporter is told of a folder; `SetupError` where it cannot be read, or is not for ``task``.

    ``task`` empty takes what the model's class is for. ``named`` is the folder as its user calls it, ``weights``
    are the names of the files that hold them.
    """
    if not source.is_dir():
        raise _no_folder(source)
    if (source / "adapter_config.json").exists():  # it names a model elsewhere, at whose files nobody has looked
        message = f"{source} holds an adapter to another model (adapter_config.json)"
        raise SetupError("capability_mismatch", message, hint="merge both by peft's merge_and_unload, and save that")
    config = read_object(source / "config.json")
    if not config:
        raise SetupError("missing_model_file", f"{source} holds no config.json, so that it is no model of transformers")
    words.sentence_modules(source)  # a module that does not run here is told before minutes have passed
    weights = whole_weights(source)
    found = task or _task(source, config)
    if precision == "int4" and found != "chat":
        message = f"int4 is too rough for a model that is for `{found}`: ranks and vectors do not survive it"
        raise SetupError("capability_mismatch", message, hint="--precision int8")
    if task:
        _require_head(source, config, task)
    told = {"task": found, "type": str(config.get("model_type", "")), "precision": precision, "named": str(source)}
    return told | {"weights": weights}


def task_of(source: Path) -> str:
    """What the files of a model say that it is for; empty where they do not."""
    return _known_task(source, read_object(source / "config.json"))


def whole_weights(source: Path) -> list[str]:
    """The names of the files that hold a model's weights; `SetupError` where one is absent or cut off.

    Pickles can run code when they are opened, and are no such files.
    """
    names = [WEIGHTS] if (source / WEIGHTS).is_file() else _indexed(source)
    if not names:
        raise _no_weights(source)
    for name in names:
        _require_whole(source / name)
    return names


def _no_folder(source: Path) -> SetupError:
    hub = _HUB_NAME.fullmatch(str(source)) is not None
    hint = f"hf download {source} --local-dir {source.name}; flowllm export {source.name}" if hub else ""
    return SetupError("missing_model_file", f"there is no folder {source}", hint=hint)


def _indexed(source: Path) -> list[str]:
    """The files that the index names."""
    index = read_object(source / INDEX).get("weight_map")
    named = sorted({str(name) for name in index.values()}) if isinstance(index, dict) else []
    for name in named:
        if "/" in name or not safe_name(name) or not name.endswith(".safetensors"):
            raise bad(source / INDEX, f"names what is no file of safetensors beside it: {name!r}")
        if not (source / name).is_file():
            message = f"{source / INDEX} names the weights {name}, and {source} holds no such file"
            hint = shell_line("hf", "download", "OWNER/NAME", "--local-dir", source)
            raise SetupError("missing_model_file", message, hint=hint)
    return named


def _no_weights(source: Path) -> SetupError:
    suffixes = {path.suffix: path.name for path in sorted(source.iterdir(), reverse=True)}
    if other := suffixes.get(".safetensors"):
        message = f"{source} holds no {WEIGHTS}, and no {INDEX} that names other files ({other} is there)"
        return SetupError("missing_model_file", message, hint=f"call the file of the model's weights {WEIGHTS}")
    pickled = next((suffixes[suffix] for suffix in sorted(_PICKLED) if suffix in suffixes), None)
    if pickled is None:
        return SetupError("missing_model_file", f"{source} holds no weights: no file ends in .safetensors")
    message = f"{source} holds its weights as a pickle alone ({pickled}), which can run code when it is opened"
    hint = "fetch the model.safetensors of the same model, or ask its owner for one"
    return SetupError("bad_model_file", message, hint=hint)


def _require_whole(path: Path) -> None:
    """`SetupError` for a file that is shorter than its header says, or has none."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= min(HEADER, size - 8) else b""
    try:
        told = orjson.loads(header)
        needed = 8 + length + max((one["data_offsets"][1] for name, one in told.items() if name[:2] != "__"), default=0)
    except (ValueError, TypeError, KeyError, AttributeError, IndexError):
        raise _cut(path, f"has {size} bytes and no whole header of safetensors") from None
    if size < needed:
        raise _cut(path, f"has {size} bytes, and its header tells of {needed}")


def _cut(path: Path, why: str) -> SetupError:
    hint = shell_line("hf", "download", "OWNER/NAME", path.name, "--local-dir", path.parent)
    return SetupError("bad_model_file", f"{path} {why}: it was cut off, or is another file", hint=hint)


def _require_head(source: Path, config: dict[str, Any], task: str) -> None:
    """`SetupError` for scores and labels of a model whose class gives none, or gives others."""
    name = _class(config)
    if task not in _HEADS or not name:
        return
    if not name.endswith(_HEAD):
        own = _known_task(source, config)
        message = f"{source} is a {name}, which has no head for `{task}`: its weights would be invented"
        raise SetupError("capability_mismatch", message, hint=f"--task {own}" if own else "")
    labels = words.labels(config)
    own = "rerank" if len(labels) == 1 else "classify"
    if labels and own != task:
        message = f"{source} makes a model for `{own}` (labels: {', '.join(labels)}), not for `{task}`"
        raise SetupError("capability_mismatch", message, hint=f"--task {own}")


def _class(config: dict[str, Any]) -> str:
    return str(next(iter(config.get("architectures") or ()), ""))


def _known_task(source: Path, config: dict[str, Any]) -> str:
    """By the files of sentence-transformers, else by the model's class."""
    if (source / "modules.json").is_file():
        return "embed"
    return next((task for end, task in _CLASSES.items() if _class(config).endswith(end)), "")


def _task(source: Path, config: dict[str, Any]) -> str:
    if config.get("is_encoder_decoder"):
        raise SetupError("capability_mismatch", f"{source} is an encoder with a decoder, which does not run here")
    if found := _known_task(source, config):
        return found
    name = _class(config) or "none"
    message = f"{source / 'config.json'} does not say what the model is for (architectures: {name})"
    raise SetupError("capability_mismatch", message, hint="--task embed, rerank, classify or chat")
