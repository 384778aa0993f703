"""A folder of model files to a `Description`: what the model does, of what precision, and where its parts are.

Read are the layouts of optimum (``model.onnx`` beside ``config.json``), of onnx-community (``onnx/model*.onnx``)
and of the builder of onnxruntime-genai (``genai_config.json``). Nothing is guessed: what the files do not say is
`SetupError`, or None where only some uses of the model need it.
"""

import re
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Any, Literal

from flowllm.backends.local import manifest, words
from flowllm.backends.local.graph_file import AGAIN, GraphFile, Port, read_graph
from flowllm.backends.local.json_files import read_json, read_object
from flowllm.backends.local.safety import require_own_file
from flowllm.core.errors import SetupError
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

Layout = Literal["optimum", "onnx-community", "genai"]
Task = Literal["embed", "rerank", "classify", "chat"]

PRECISIONS = {
    "": "fp32", "fp16": "fp16", "bf16": "bf16", "int8": "int8", "quantized": "int8", "uint8": "uint8", "q8": "int8",
    "q4": "int4", "int4": "int4", "bnb4": "int4", "q4f16": "int4-fp16", "O1": "fp32", "O2": "fp32", "O3": "fp32",
    "O4": "fp16",
}  # fmt: skip
"""What stands after ``model_`` in the name of a file, and the precision that it means."""

_FLOATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}
_INTEGERS = frozenset({"MatMulInteger", "DynamicQuantizeLinear", "QLinearMatMul", "QGemm", "DynamicQuantizeMatMul"})
_POOLED = "sentence_embedding"
_TOKENS = ("token_embeddings", "last_hidden_state")
_INDEX = re.compile(r".*(safetensors|\.bin|\.h5|\.msgpack)\.index\.json")
_MODULE = re.compile(r"\d+_[^/]*/config\.json")


@record
class Special:
    """Tokens with a meaning, as text and by number; ``eos_ids`` are all that end an answer."""

    bos: str = ""
    eos: str = ""
    pad: str = ""
    unk: str = ""
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    pad_id: int | None = None


@record
class Description:
    """A model in a folder. Paths are absolute; ``window`` counts tokens, ``size`` bytes of graph and weights.

    ``tokens`` and ``pooled`` name the outputs that an embedding is made of (``last_hidden_state``; one vector a
    text). ``pooling`` and ``normalize`` are None where no file says them; ``prompt`` stands before each text,
    and is pooled with it where ``prompt_pooled``.
    ``labels`` are what a classifier chooses among, ``activation`` makes scores of its numbers (sigmoid, identity).
    ``config``, ``generation`` and ``genai`` are config.json, generation_config.json and genai_config.json.
    """

    folder: Path
    layout: Layout
    task: Task
    file: Path
    precision: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    external: tuple[Path, ...] = ()
    window: int | None = None
    size: int = 0
    tokens: str = ""
    pooled: str = ""
    pooling: str | None = None
    normalize: bool | None = None
    prompt: str = ""
    prompt_pooled: bool = True
    labels: tuple[str, ...] = ()
    activation: str = "sigmoid"
    special: Special = Special()
    chat_template: str | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    genai: Mapping[str, Any] = field(default_factory=dict)


def describe(folder: Path, precision: str = "") -> Description:
    """Read a folder. ``precision`` chooses among several files, as ``fp16``; `SetupError` where that cannot be."""
    folder = Path(folder)
    if not folder.is_dir():
        raise SetupError("missing_model_file", f"there is no folder {folder}", hint="flowllm models list --local")
    for path in _small_files(folder):
        require_own_file(path, folder)
    genai = read_object(folder / "genai_config.json")
    config = read_object(folder / "config.json")
    if not genai and not config:
        raise SetupError("missing_model_file", f"{folder} holds neither a config.json nor a genai_config.json")
    file, layout = _genai_file(folder, genai) if genai else _chosen_file(folder, precision)
    graph = read_graph(require_own_file(file, folder))
    external = tuple(require_own_file(file.parent / place, folder) for place in graph.external)
    for weights, reach in zip(external, graph.reach, strict=True):
        _require_whole(weights, reach, file)
    plain = Description(
        folder,
        layout,
        "chat" if genai else _task(file, graph, config),
        file,
        precision_of(graph),
        graph.inputs,
        graph.outputs,
        external,
        words.window(folder, config, genai),
        size=sum(one.stat().st_size for one in (file, *external)),
        config=config,
        genai=genai,
    )
    return _for_its_task(plain)


def _for_its_task(plain: Description) -> Description:
    """The description with what its task needs."""
    if plain.task == "embed":
        return _embedding(plain)
    if plain.task == "chat":
        return _chat(plain)
    return _with_special(replace(plain, labels=_labels(plain), activation=words.activation(plain.config)))


def _labels(plain: Description) -> tuple[str, ...]:
    """The labels that the files name: as many as the graph gives numbers, where it says how many it gives."""
    found = words.labels(plain.config)
    width = next((size for port in plain.outputs if port.name == "logits" for size in port.shape[-1:]), None)
    if found and width in (None, len(found)):
        return found
    message = f"the head of {plain.file} is {width or 'any number'} wide, and config.json names labels for {len(found)}"
    raise SetupError("bad_model_file", message, hint='"id2label": {"0": "no", "1": "yes"}')


def _require_whole(weights: Path, reach: int, graph: Path) -> None:
    """`SetupError` where a file of weights ends before what the graph reads from it."""
    there = weights.stat().st_size
    if there < reach:
        message = f"{weights} has {there:,} bytes, and {graph.name} reads {reach:,} of it"
        raise SetupError("bad_model_file", message, hint=AGAIN)


def _genai_file(folder: Path, genai: Mapping[str, Any]) -> tuple[Path, Layout]:
    decoder = words.at(genai, "model", "decoder", "filename")
    if not isinstance(decoder, str) or not decoder:
        raise SetupError("bad_model_file", f"{folder / 'genai_config.json'} names no file of a decoder")
    return folder / decoder, "genai"


def _chosen_file(folder: Path, precision: str) -> tuple[Path, Layout]:
    """The file of the precision asked for; without one the plain file, or the only one."""
    files = _files(folder)
    layout: Layout = "onnx-community" if any(path.parent != folder for path in files.values()) else "optimum"
    if not files:
        raise _no_file(folder)
    if precision:
        fitting = {suffix: path for suffix, path in files.items() if precision in (suffix, PRECISIONS.get(suffix))}
        # The plain file may be of any precision: what it holds is said by its weights.
        if not fitting and "" in files and precision_of(read_graph(require_own_file(files[""], folder))) == precision:
            fitting = {"": files[""]}
        if not fitting:
            raise _no_precision(folder, precision, files)
        return fitting[min(fitting)], layout
    if "" not in files and len(files) > 1:
        raise _no_precision(folder, precision, files)
    return files.get("") or next(iter(files.values())), layout


def _files(folder: Path) -> dict[str, Path]:
    """Files of the model by what stands after their stem, those of ``onnx/`` where the folder has none."""
    for stem in ("model", "decoder_model_merged"):
        for place in (folder, folder / "onnx"):
            found = sorted(place.glob(f"{stem}*.onnx"))
            known = {path.stem.removeprefix(stem).removeprefix("_"): path for path in found}
            if known:
                return known
    others = [path for place in (folder, folder / "onnx") for path in sorted(place.glob("*.onnx"))]
    return {"": others[0]} if len(others) == 1 else {}


def _no_file(folder: Path) -> SetupError:
    if any((place / "encoder_model.onnx").is_file() for place in (folder, folder / "onnx")):
        return SetupError("capability_mismatch", f"{folder} holds an encoder with a decoder, which does not run here")
    if (folder / "model.safetensors").is_file() or (folder / "pytorch_model.bin").is_file():
        message = f"{folder} holds weights for PyTorch and no ONNX file"
        return SetupError(
            "missing_model_file", message, hint=shell_line("flowllm", "export", folder, "--name", "OTHER")
        )
    return SetupError("missing_model_file", f"{folder} holds no model.onnx, nor onnx/model.onnx")


def _no_precision(folder: Path, precision: str, files: Mapping[str, Path]) -> SetupError:
    names = ", ".join(sorted({PRECISIONS.get(suffix, suffix) for suffix in files}))
    said = f"no file of precision {precision}" if precision else "several files and no plain model.onnx"
    hint = f"precision: one of {names}, in the device's file"
    return SetupError("missing_model_file", f"{folder} holds {said}", hint=hint)


def _task(file: Path, graph: GraphFile, config: Mapping[str, Any]) -> Task:
    """What the graph can do, by its outputs."""
    outputs = {port.name: port for port in graph.outputs}
    if _POOLED in outputs or any(name in outputs for name in _TOKENS):
        return "embed"
    logits = outputs.get("logits")
    if logits is None:
        raise SetupError("capability_mismatch", f"{file} gives {', '.join(outputs)}, and no task is known for that")
    if any(port.name.startswith(("past_key_values", "past_")) for port in graph.inputs):
        return "chat"
    architecture = next(iter(config.get("architectures") or ()), "")
    if len(logits.shape) == 2 or str(architecture).endswith("ForSequenceClassification"):  # noqa: PLR2004
        return "rerank" if len(words.labels(config)) == 1 else "classify"
    message = f"{file} gives a number for every token and keeps no past, so that it neither writes nor classifies"
    raise SetupError("capability_mismatch", message, hint="export it with the task text-generation-with-past")


def precision_of(graph: GraphFile) -> str:
    """What most of the weights are held in."""
    floats = {name: count for name, count in graph.weights.items() if name in _FLOATS}
    most = _FLOATS[max(floats, key=lambda name: floats[name])] if floats else "fp32"
    if graph.bits:
        return f"int{graph.bits}" + ("" if most == "fp32" else f"-{most}")
    return "int8" if _INTEGERS & graph.operators.keys() else most


def _embedding(plain: Description) -> Description:
    names = {port.name for port in plain.outputs}
    known = _with_special(replace(plain, prompt=words.sentence_prompt(plain.folder)))
    if _POOLED in names:
        return replace(known, pooled=_POOLED, normalize=False)
    modules = words.sentence_modules(plain.folder)
    tokens = next(name for name in _TOKENS if name in names)
    normalize = modules.normalize if modules.known else None
    made = replace(known, tokens=tokens, pooling=modules.pooling, normalize=normalize)
    return replace(made, prompt_pooled=modules.with_prompt)


def _chat(plain: Description) -> Description:
    template = words.chat_template(plain.folder, read_object(plain.folder / "tokenizer_config.json"))
    generation = read_object(plain.folder / "generation_config.json")
    found = _with_special(replace(plain, chat_template=template, generation=generation))
    known = plain.config.get("vocab_size")
    if known is not None and (over := [token for token in found.special.eos_ids if token >= known]):
        message = f"the model in {plain.folder} ends with the token {over[0]}, and its vocabulary has {known}"
        raise SetupError("bad_model_file", message)
    return found


def _with_special(plain: Description) -> Description:
    tokenizer = read_object(plain.folder / "tokenizer_config.json")
    texts = {name: words.token_text(tokenizer.get(f"{name}_token")) for name in ("bos", "eos", "pad", "unk")}
    said = (plain.generation, words.at(plain.genai, "model") or {}, plain.config)
    bos, eos, pad = (words.first_ids(said, f"{name}_token_id") for name in ("bos", "eos", "pad"))
    ids = {"bos_id": next(iter(bos), None), "eos_ids": eos, "pad_id": next(iter(pad), None)}
    return replace(plain, special=Special(**texts, **ids))  # type: ignore[arg-type]


def is_small(name: str) -> bool:
    """Whether a file of a model is one of those that say what it is, tokenizer and chat template among them."""
    if _MODULE.fullmatch(name) or name == "chat_template.jinja":
        return True
    return "/" not in name and name.endswith(".json") and name != manifest.NAME and not _INDEX.fullmatch(name)


def files_of(description: Description) -> tuple[Path, ...]:
    """Every file that the model is made of and that is opened when it is loaded."""
    return tuple(dict.fromkeys((description.file, *description.external, *_small_files(description.folder))))


def _small_files(folder: Path) -> list[Path]:
    """What says of a folder what it is; the folder of a module may have any name."""
    return sorted((*filter(lambda path: is_small(path.name), folder.glob("*")), *folder.glob("*/config.json")))


__all__ = [
    "PRECISIONS",
    "Description",
    "Port",
    "Special",
    "describe",
    "files_of",
    "is_small",
    "precision_of",
    "read_json",
]
