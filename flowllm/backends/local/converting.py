"""A folder of transformers to an ONNX graph. Run as a file by a Python that has an exporter; nothing else imports it.

Decoders are written by the builder of onnxruntime-genai where that Python has it, all else by optimum. The two want
different versions of transformers, so that what is installed decides.
It is the exporter's own process: torch stays in it, and the packages may be older than ours, so nothing of flowllm
is imported. The first line of stdin is the job. stdout gets one line when the job is taken (``BEGUN``), and one with
the outcome; all are JSON. The process ends when stdin does, and so with the one that started it. Weights are read
from safetensors alone; code that lies beside a model is never run.
"""

import errno
import importlib.util
import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

TASKS = {
    "embed": "feature-extraction",
    "rerank": "text-classification",
    "classify": "text-classification",
    "chat": "text-generation-with-past",
}
"""Our words for what a model does, and optimum's."""
DOES_NOT_START = "the exporter does not start: "
BEGUN = '{"begun": true}'
GRAPH = "model.onnx"
_LOADED = {
    "embed": "AutoModel",
    "rerank": "AutoModelForSequenceClassification",
    "classify": "AutoModelForSequenceClassification",
    "chat": "AutoModelForCausalLM",
}
"""And those of transformers, which both exporters load by."""
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_BLOCK = 32
Outcome = dict[str, Any]
_OPTIONS = ("hf_token=false", "hf_remote=false", "windowed_kv_cache=false", "fuse_qk_norm_gqa=false")
"""The builder's: no token, no code that lies beside a model; every layer keeps its whole past, as it is read here.

The last keeps a graph of half precision, which has operators of CUDA, one that the processor runs as well.
"""
_PROVEN = {
    "Llama": ("default", "llama3"),
    "Phi3": ("default", "longrope"),
    **dict.fromkeys(("Qwen2", "Qwen3", "Mistral", "Gemma", "Gemma2", "Gemma3"), ("default",)),
    **dict.fromkeys(("Phi", "Granite", "SmolLM3", "Nemotron", "Ernie4_5"), ("default",)),
}
"""Families whose models write by the builder what they write in transformers, and how their positions may turn.

The builder takes more, and writes some of them wrong without a word: OLMo, and Llama with linear or YaRN scaling.
"""
_DOUBT = "The ONNX export succeeded with the warning: "


class _Doubts(logging.Handler):
    """Keeps what optimum says of numbers that are not those of PyTorch."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        said = record.getMessage()
        if said.startswith(_DOUBT):
            self.said.append(" ".join(said.removeprefix(_DOUBT).rpartition("The exported model")[0].split()))


def unready(job: dict[str, Any]) -> str:
    """Why this Python has no exporter for a job, empty where it has; nothing is imported."""
    names = ("onnxruntime_genai", "optimum") if job["task"] == "chat" else ("optimum",)
    absent = [f"No module named '{name}'" for name in names if importlib.util.find_spec(name) is None]
    return "; ".join(absent) if len(absent) == len(names) else ""


def converted(job: dict[str, Any]) -> Outcome:
    """Write the graph of ``job["source"]`` into ``job["target"]``; what went wrong has a ``code`` of `SetupError`."""
    absent = ""
    if job["task"] == "chat":
        try:
            from onnxruntime_genai.models import builder
        except ImportError as error:
            absent = f"{error}; "
        else:
            return _built(job, builder)
    try:
        from optimum.exporters.onnx import main_export
        from optimum.exporters.tasks import TasksManager
    except ImportError as error:
        return _failed("missing_extra", f"{DOES_NOT_START}{absent}{error}")
    return _exported(job, main_export, TasksManager)


def _built(job: dict[str, Any], builder: Any) -> Outcome:
    """A decoder whose past is written in place, by the builder of onnxruntime-genai."""
    source, target = job["source"], Path(job["target"])
    device = "cuda" if job["precision"] == "fp16" else "cpu"  # whose operators there are in that precision
    places = "", source, str(target), job["precision"], device, str(target.with_name("cache"))
    try:
        options = builder.parse_extra_options(*places, list(_OPTIONS))
        config = options["hf_details"]["hf_config"]
        _tell_apart(config)
        if unproven := _unproven(config):
            return _unwritten(f"no builder's model of {unproven} was seen to write what it should")
        if lacking := _unfilled(job):
            return lacking
        builder.create_model(*places, **options)
    except (AttributeError, KeyError, RuntimeError) as error:
        if _is_full(error):
            raise
        why = f"{type(error).__name__}: {error}".replace(source, "this")
        return _unwritten(f"the builder does not write a model like this `{job['type']}` ({why})")
    return {"exporter": "builder", "by": _versions("onnxruntime-genai", "transformers", "torch"), "doubts": []}


def _tell_apart(config: Any) -> None:
    """Say of each layer what it sees and how it is turned, in the words that the builder reads."""
    if getattr(config, "sliding_window", None) and getattr(config, "layer_types", None) is None:
        config.layer_types = ["sliding_attention"] * config.num_hidden_layers
    turned = getattr(config, "rope_parameters", None) or {}
    if turned.get("rope_type") == "longrope":
        turned["type"] = turned["rope_type"]
    if {"full_attention", "sliding_attention"} <= turned.keys():
        config.rope_local_base_freq = turned["sliding_attention"]["rope_theta"]
        config.rope_parameters = turned["full_attention"]


def _unproven(config: Any) -> str:
    """What no oracle has compared, empty where the family and its positions were."""
    name = next(iter(config.architectures or ()), "")
    turned = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    known = _PROVEN.get(name.removesuffix("ForCausalLM"), ())
    return "" if turned in known else f"the class {name}" + (f" with {turned} positions" if known else "")


def _unfilled(job: dict[str, Any]) -> Outcome:
    """What of the model the files do not hold, empty where they fill it: transformers would draw it at random.

    It is asked to load weights of the shapes that the files tell, each a view of one zero: none is read or kept.
    """
    torch, transformers = import_module("torch"), import_module("transformers")
    config = transformers.AutoConfig.from_pretrained(job["source"], local_files_only=True, trust_remote_code=False)
    if getattr(config, "quantization_config", None):  # packed weights have names and shapes of their own
        return {}
    with torch.device("meta"):
        kind = type(getattr(transformers, _LOADED[job["task"]]).from_config(config))
    model, found = kind.from_pretrained(
        None,
        config=config,
        state_dict=_held(job, torch),
        torch_dtype=torch.float32,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    trained = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    lacking = [name for name in sorted(found["missing_keys"]) if name in trained and not _unread(name, job["task"])]
    lacking += [f"{one[0]} (of another shape)" for one in sorted(found["mismatched_keys"])]
    return {"class": kind.__name__, "lacking": lacking} if lacking else {}


def _held(job: dict[str, Any], torch: Any) -> dict[str, Any]:
    """Every weight that the files name, as a view of one zero."""
    safe_open = import_module("safetensors").safe_open
    held: dict[str, Any] = {}
    for name in job["weights"]:
        with safe_open(Path(job["source"]) / name, "pt") as file:
            shapes = {key: file.get_slice(key).get_shape() for key in list(file.keys())}
        held |= {key: torch.zeros(()).expand(shape) for key, shape in shapes.items()}
    return held


def _unread(name: str, task: str) -> bool:
    """Whether a weight is of a pooler that a graph of token vectors ends before."""
    return task == "embed" and "pooler" in name.split(".")


def _exported(job: dict[str, Any], export: Callable[..., None], tasks: Any) -> Outcome:
    """Any model that optimum knows, by its own export; ``tasks`` is what it knows of types."""
    task = TASKS[job["task"]]
    try:
        known = tasks.get_supported_tasks_for_model_type(job["type"], "onnx", library_name="transformers")
    except KeyError:
        return _failed("capability_mismatch", f"optimum exports no models of the type `{job['type']}`")
    if task not in known:
        return _failed("capability_mismatch", f"optimum exports a `{job['type']}` only for {', '.join(known)}")
    if lacking := _unfilled(job):
        return lacking
    doubts = _Doubts()
    logging.getLogger("optimum.exporters.onnx").addHandler(doubts)
    export(
        job["source"],
        job["target"],
        task=task,
        dtype="fp32",
        library_name="transformers",
        local_files_only=True,
        trust_remote_code=False,
    )
    narrowed(Path(job["target"]), job["precision"])
    by = _versions("optimum-onnx", "transformers", "torch")
    return {"exporter": "optimum", "by": by, "doubts": doubts.said}


def narrowed(folder: Path, precision: str) -> Path:
    """Put the graph of a precision in the place of ``model.onnx``: fp32, fp16, int8 and int4 (weights alone)."""
    if precision == "fp32":
        return folder / GRAPH
    whole, made = folder / GRAPH, folder / f"model_{precision}.onnx"
    # What does not fit into one file of protobuf lies beside the graph.
    beside = [path for path in folder.iterdir() if path.name.startswith(f"{GRAPH}_data")]
    write = {"int8": _in_eight_bits, "int4": _in_four_bits, "fp16": _in_halves}[precision]
    write(whole, made, bool(beside))
    for path in (whole, *beside):
        path.unlink()
    return made


def _in_eight_bits(whole: Path, made: Path, apart: bool) -> None:  # noqa: FBT001
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kind = QuantType.QInt8
    quantize_dynamic(whole, made, per_channel=True, weight_type=kind, use_external_data_format=apart)


def _in_four_bits(whole: Path, made: Path, apart: bool) -> None:  # noqa: FBT001
    """Matrices that something is multiplied by, in blocks of 32 weights with one scale, as the builder's int4."""
    import onnx

    model = onnx.load(whole)
    graph = model.graph
    matrices = {one.name: one for one in graph.initializer if len(one.dims) == 2 and one.data_type == 1}  # noqa: PLR2004
    nodes = [node for node in graph.node if node.op_type == "MatMul" and node.input[1] in matrices]
    for name in dict.fromkeys(node.input[1] for node in nodes):
        graph.initializer.extend(_blocks(name, onnx.numpy_helper.to_array(matrices[name])))
    for node in nodes:
        name = node.input[1]
        sizes = dict(zip(("K", "N"), matrices[name].dims, strict=True))
        words = {"bits": 4, "block_size": _BLOCK, "accuracy_level": 4, **sizes}
        given = [node.input[0], f"{name}_Q4", f"{name}_scales"]
        put = onnx.helper.make_node("MatMulNBits", given, node.output, node.name, domain="com.microsoft", **words)
        node.CopyFrom(put)
    used = _used(graph)
    for one in [one for name, one in matrices.items() if name not in used]:
        graph.initializer.remove(one)
    if all(one.domain != "com.microsoft" for one in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, made, save_as_external_data=apart, location=f"{made.name}_data")


def _used(graph: Any) -> set[str]:
    inner = [one.g for node in graph.node for one in node.attribute if one.HasField("g")]
    return {name for node in graph.node for name in node.input}.union(*map(_used, inner))


def _blocks(name: str, matrix: Any) -> list[Any]:
    """Columns of a matrix in blocks: two weights a byte, and of each block the scale that its largest weight needs."""
    import numpy as np
    from onnx import numpy_helper

    rows, columns = matrix.shape
    padded = np.zeros((columns, -(-rows // _BLOCK) * _BLOCK), np.float32)
    padded[:, :rows] = matrix.T
    blocks = padded.reshape(columns, -1, _BLOCK)
    most = np.take_along_axis(blocks, abs(blocks).argmax(-1, keepdims=True), -1)
    scales = most / -8  # the largest becomes the lowest of -8 to 7
    known = np.divide(blocks, scales, out=np.zeros_like(blocks), where=scales != 0)
    whole = np.clip(np.rint(known) + 8, 0, 15).astype(np.uint8)
    pairs = whole[..., ::2] | whole[..., 1::2] << 4
    return [numpy_helper.from_array(pairs, f"{name}_Q4"), numpy_helper.from_array(scales[..., 0], f"{name}_scales")]


def _in_halves(whole: Path, made: Path, apart: bool) -> None:  # noqa: FBT001
    """What goes in and comes out stays of single precision."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    halved = convert_float_to_float16(onnx.load(whole), keep_io_types=True, disable_shape_infer=apart)
    onnx.save(halved, made, save_as_external_data=apart, location=f"{made.name}_data")


def _versions(*names: str) -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in names}


def _unwritten(error: str) -> Outcome:
    return _failed("capability_mismatch", error) | {"hint": "FLOWLLM_EXPORTER=~/exporter/bin/python, one with optimum"}


def _failed(code: str, error: str) -> Outcome:
    return {"code": code, "error": error}


def _told(job: dict[str, Any], work: Callable[[], Outcome]) -> Outcome:
    """The outcome; whatever the exporter raises is one of a model that it cannot read, or of a disk that is full."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  optimum, transformers and torch have no common class
        if _is_full(error):
            return {"full": True}
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        text = " ".join(lines).replace(job["source"], job["named"])[:400]
        return _failed("bad_model_file", f"the exporter cannot read {job['named']}: {type(error).__name__}: {text}")


def _is_full(error: Exception) -> bool:
    """Libraries write in C++ too, and tell by the system's words alone."""
    return getattr(error, "errno", None) in _FULL or os.strerror(errno.ENOSPC) in str(error)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Be the process: the outcome goes to what was stdout, which libraries may print to."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    absent = unready(job)
    if not absent:
        told.write(BEGUN + "\n")
        told.flush()
    outcome = _failed("missing_extra", f"{DOES_NOT_START}{absent}") if absent else _told(job, lambda: converted(job))
    told.write(json.dumps(outcome) + "\n")
    told.flush()
    os._exit(0)  # the thread still reads stdin


if __name__ == "__main__":
    main()
