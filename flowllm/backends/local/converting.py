"""A folder of transformers to an ONNX graph. Run as a file by a Python that has an exporter; nothing else imports it.

Decoders are written by the builder of onnxruntime-genai where that Python has it, all else by optimum. The two want
different versions of transformers, so that what is installed decides.
It is the exporter's own process: torch stays in it, and the packages may be older than ours, so nothing of flowllm
is imported. The first line of stdin is the job, stdout gets one line with the outcome, both JSON. The process ends
when stdin does, and so with the one that started it. Weights are read from safetensors alone; code that lies beside
a model is never run.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

TASKS = {
    "embed": "feature-extraction",
    "rerank": "text-classification",
    "classify": "text-classification",
    "chat": "text-generation-with-past",
}
"""Our words for what a model does, and optimum's."""
GRAPH = "model.onnx"
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


def converted(job: dict[str, str]) -> Outcome:
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
        return _failed("missing_extra", f"the exporter does not start: {absent}{error}")
    return _exported(job, main_export, TasksManager)


def _built(job: dict[str, str], builder: Any) -> Outcome:
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
        builder.create_model(*places, **options)
    except (AttributeError, KeyError, RuntimeError) as error:
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


def _exported(job: dict[str, str], export: Callable[..., None], tasks: Any) -> Outcome:
    """Any model that optimum knows, by its own export; ``tasks`` is what it knows of types."""
    task = TASKS[job["task"]]
    try:
        known = tasks.get_supported_tasks_for_model_type(job["type"], "onnx", library_name="transformers")
    except KeyError:
        return _failed("capability_mismatch", f"optimum exports no models of the type `{job['type']}`")
    if task not in known:
        return _failed("capability_mismatch", f"optimum exports a `{job['type']}` only for {', '.join(known)}")
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


def _told(work: Callable[[], Outcome]) -> Outcome:
    """The outcome; whatever the exporter raises is one of a model that it cannot read."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  optimum, transformers and torch have no common class
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return _failed("bad_model_file", f"{type(error).__name__}: {' '.join(lines)[:400]}")


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Be the process: the outcome goes to what was stdout, which libraries may print to."""
    told = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    told.write(json.dumps(_told(lambda: converted(job))) + "\n")
    told.flush()
    os._exit(0)  # the thread still reads stdin


if __name__ == "__main__":
    main()
