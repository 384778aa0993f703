"""A folder of transformers to an ONNX graph. Run as a file by a Python that has optimum; nothing else imports that.

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
Outcome = dict[str, Any]
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
    try:
        from optimum.exporters.onnx import main_export
        from optimum.exporters.tasks import TasksManager
    except ImportError as error:
        return _failed("missing_extra", f"the exporter does not start: {error}")
    task = TASKS[job["task"]]
    try:
        known = TasksManager.get_supported_tasks_for_model_type(job["type"], "onnx", library_name="transformers")
    except KeyError:
        return _failed("capability_mismatch", f"optimum exports no models of the type `{job['type']}`")
    if task not in known:
        return _failed("capability_mismatch", f"optimum exports a `{job['type']}` only for {', '.join(known)}")
    doubts = _Doubts()
    logging.getLogger("optimum.exporters.onnx").addHandler(doubts)
    main_export(
        job["source"],
        job["target"],
        task=task,
        dtype="fp32",
        library_name="transformers",
        local_files_only=True,
        trust_remote_code=False,
    )
    narrowed(Path(job["target"]), job["precision"])
    return {"by": _versions(), "doubts": doubts.said}


def narrowed(folder: Path, precision: str) -> Path:
    """Put the graph of a precision in the place of ``model.onnx``: fp32, fp16, int8 (whole channels, weights alone)."""
    if precision == "fp32":
        return folder / GRAPH
    whole, made = folder / GRAPH, folder / f"model_{precision}.onnx"
    # What does not fit into one file of protobuf lies beside the graph.
    beside = [path for path in folder.iterdir() if path.name.startswith(f"{GRAPH}_data")]
    write = {"int8": _in_eight_bits, "fp16": _in_halves}[precision]
    write(whole, made, bool(beside))
    for path in (whole, *beside):
        path.unlink()
    return made


def _in_eight_bits(whole: Path, made: Path, apart: bool) -> None:  # noqa: FBT001
    from onnxruntime.quantization import QuantType, quantize_dynamic

    kind = QuantType.QInt8
    quantize_dynamic(whole, made, per_channel=True, weight_type=kind, use_external_data_format=apart)


def _in_halves(whole: Path, made: Path, apart: bool) -> None:  # noqa: FBT001
    """What goes in and comes out stays of single precision."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    halved = convert_float_to_float16(onnx.load(whole), keep_io_types=True, disable_shape_infer=apart)
    onnx.save(halved, made, save_as_external_data=apart, location=f"{made.name}_data")


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("optimum-onnx", "transformers", "torch")}


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
