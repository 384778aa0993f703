"""A model of transformers on this machine to an ONNX model on the shelf, whole or not at all.

The exporter is a process of its own (``converting``): torch never enters this one. It sees links to those files of
the source that cannot run code: weights in safetensors, JSON and vocabularies. What it writes is read as any other
model is, gets the source's own small files and a manifest, and is moved to its place in one step. A half model is
hidden, and thrown away by the next export to the same place.
"""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from flowllm.backends.local import converting, manifest, words
from flowllm.backends.local.json_files import read_object
from flowllm.backends.local.layout import Description, Task, describe, is_small
from flowllm.backends.local.parts import alone
from flowllm.backends.local.surroundings import known_variables
from flowllm.core.errors import SetupError
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

PRECISIONS = ("fp32", "fp16", "int8", "int4")
_SEEN = frozenset({".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken"})
_PICKLED = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
_CLASSES = {
    "ForSequenceClassification": "classify",
    "ForCausalLM": "chat",
    "LMHeadModel": "chat",
    "ForMaskedLM": "embed",
    "ForPreTraining": "embed",
    "Model": "embed",
}
"""How the names of transformers' classes end, and what such a model is for."""
_EXPORTERS = (("optimum",), ("onnxruntime_genai", "optimum"))
"""The packages that write encoders, and those that write decoders."""
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_BUILT = "genai_config.json"
_KILLED = -9
_GRACE = 5.0
"""Seconds until an exporter that closed its output, and so cannot answer, is made to end."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


@record
class Order:
    """What to export: a folder to a folder. ``task`` empty takes what the model's class is for.

    ``python`` is an interpreter with an exporter: optimum, or the builder of onnxruntime-genai.
    """

    source: Path
    target: Path
    task: str = ""
    precision: str = "fp32"
    python: str = sys.executable


@record
class Exported:
    """A model that was made. ``size`` is bytes; ``exporter`` is who wrote it, ``optimum`` or ``builder``.

    ``doubts`` is what the exporter says of its numbers, if anything.
    """

    folder: Path
    task: Task
    precision: str
    size: int
    exporter: str
    doubts: tuple[str, ...] = ()


def export(order: Order, begin: Callable[[], None] = lambda: None) -> Exported:
    """Make the model; it takes seconds to minutes from ``begin`` on, which is called when nothing stands against it.

    `SetupError` where that cannot be, and nothing is left then.
    """
    job = _job(order)
    if order.target.exists():
        message = f"{order.target} is there already"
        raise SetupError(
            "bad_model_file", message, hint=shell_line("flowllm", "export", order.source, "--name", "OTHER")
        )
    if order.python == sys.executable and not any(map(importlib.util.find_spec, _EXPORTERS[job["task"] == "chat"])):
        raise _absent(job["task"], "none is installed")
    begin()
    try:
        with _part(order.target) as (part, held):
            return _made(order, job, part, held)
    except OSError as error:
        message = f"the model cannot be written beside {order.target}: {type(error).__name__}: {error.strerror}"
        raise SetupError("missing_model_file", message, hint="--to FOLDER names another place") from None


def _job(order: Order) -> dict[str, str]:
    """What the exporter is told of a source that it may be able to read."""
    source = order.source
    if not source.is_dir():
        hub = _HUB_NAME.fullmatch(str(source)) is not None
        hint = f"hf download {source} --local-dir {source.name}; flowllm export {source.name}" if hub else ""
        raise SetupError("missing_model_file", f"there is no folder {source}", hint=hint)
    config = read_object(source / "config.json")
    if not config:
        raise SetupError("missing_model_file", f"{source} holds no config.json, so that it is no model of transformers")
    if (source / "adapter_config.json").exists():  # it names a model elsewhere, at whose files nobody has looked
        message = f"{source} holds an adapter to another model (adapter_config.json)"
        raise SetupError("capability_mismatch", message, hint="merge both by peft's merge_and_unload, and save that")
    words.sentence_modules(source)  # a module that does not run here is told before minutes have passed
    _require_weights(source)
    task = order.task or _task(source, config)
    if order.precision == "int4" and task != "chat":
        message = f"int4 is too rough for a model that is for `{task}`: ranks and vectors do not survive it"
        raise SetupError("capability_mismatch", message, hint="--precision int8")
    return {"task": task, "type": str(config.get("model_type", "")), "precision": order.precision}


def _require_weights(source: Path) -> None:
    """`SetupError` where weights are not in safetensors: pickles can run code when they are opened."""
    suffixes = {path.suffix: path.name for path in source.iterdir()}
    if ".safetensors" in suffixes:
        return
    pickled = next((suffixes[suffix] for suffix in sorted(_PICKLED) if suffix in suffixes), None)
    if pickled is None:
        raise SetupError("missing_model_file", f"{source} holds no weights: no file ends in .safetensors")
    message = f"{source} holds its weights as a pickle alone ({pickled}), which can run code when it is opened"
    hint = "fetch the model.safetensors of the same model, or ask its owner for one"
    raise SetupError("bad_model_file", message, hint=hint)


def _task(source: Path, config: dict[str, Any]) -> str:
    """What a model is for, by the files of sentence-transformers, else by its class."""
    name = str(next(iter(config.get("architectures") or ()), ""))
    if config.get("is_encoder_decoder"):
        raise SetupError("capability_mismatch", f"{source} is an encoder with a decoder, which does not run here")
    if (source / "modules.json").is_file():
        return "embed"
    found = next((task for end, task in _CLASSES.items() if name.endswith(end)), None)
    if found is None:
        message = f"{source / 'config.json'} does not say what the model is for (architectures: {name or 'none'})"
        raise SetupError("capability_mismatch", message, hint="--task embed, rerank, classify or chat")
    return found


@contextmanager
def _part(target: Path) -> Iterator[tuple[Path, int | None]]:
    """An empty hidden folder beside the model's place, gone afterwards, and what holds it."""
    part = target.with_name(f".{target.name}.export.part")
    part.mkdir(parents=True, exist_ok=True)
    with alone(part, "exports") as held:
        _emptied(part)
        try:
            yield part, held
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _emptied(folder: Path) -> None:
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _made(order: Order, job: dict[str, str], part: Path, held: int | None) -> Exported:
    seen, made = part / "source", part / "made"
    seen.mkdir()
    for path in order.source.iterdir():
        if path.suffix in _SEEN and path.is_file():
            (seen / path.name).symlink_to(path.resolve())
    with (part / "said").open("w+b") as said:
        outcome = _converted(order.python, job | {"source": str(seen), "target": str(made)}, said, held)
    _take_over(order.source, made)
    found = _checked(order, made, job["task"])
    by = {name: str(version) for name, version in outcome.get("by", {}).items()}
    exporter = str(outcome.get("exporter", ""))
    told = {"exported": order.source.resolve().name, "precision": order.precision, "exporter": exporter}
    manifest.write_manifest(made, told | by)
    if order.target.exists():
        raise SetupError("bad_model_file", f"{order.target} came while this export went on")
    made.rename(order.target)
    return Exported(order.target, found.task, found.precision, found.size, exporter, tuple(outcome.get("doubts", ())))


def _converted(python: str, job: dict[str, str], said: IO[bytes], held: int | None) -> dict[str, Any]:
    """Let the exporter work, and wait for it; it ends with this process, however this one ends."""
    command = [python, "-P", str(Path(converting.__file__))]
    try:
        process = subprocess.Popen(  # noqa: S603  the interpreter that the user names, and a file of ours
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=tempfile.gettempdir(),
            env={**known_variables(), **_OFFLINE},
            pass_fds=() if held is None else (held,),
        )
    except OSError as error:
        raise _absent(job["task"], f"{python} does not run: {error.strerror}") from None
    with process:
        try:
            answer = _answer(process, job)
            status = None if answer else _own_end(process)
        finally:
            process.kill()
    return _outcome(answer, status, said, job["task"])


def _answer(process: "subprocess.Popen[bytes]", job: dict[str, str]) -> bytes:
    """The line that it answers the job with, empty where it ends before."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        return process.stdout.readline()
    except BrokenPipeError:
        return b""


def _own_end(process: "subprocess.Popen[bytes]") -> int | None:
    """The status of one that says nothing more; None where it goes on all the same."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_GRACE)
    return None


def _outcome(answer: bytes, status: int | None, said: IO[bytes], task: str) -> dict[str, Any]:
    try:
        outcome = json.loads(answer)
    except ValueError:
        said.seek(0)
        lines = [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]
        last = f": {lines[-1][:300]}" if lines else ""
        ended = "sent what is no answer" if status is None else f"ended without an answer ({status})"
        hint = "a system short of memory ends processes so: free some, or export on a larger machine"
        hint = hint if status == _KILLED else ""
        raise SetupError("bad_model_file", f"the exporter {ended}{last}", hint=hint) from None
    if not isinstance(outcome, dict):
        raise SetupError("bad_model_file", "the exporter answered with no JSON object")
    if outcome.get("code") == "missing_extra":
        raise _absent(task, str(outcome["error"]))
    if "error" in outcome:
        raise SetupError(str(outcome["code"]), str(outcome["error"]), hint=str(outcome.get("hint", "")))
    return outcome


def _take_over(source: Path, made: Path) -> None:
    """Put the source's own small files in the place of those that were written, and leave out what is not read."""
    for path in [path for path in source.rglob("*.*") if is_small(path.relative_to(source).as_posix())]:
        if path.name == _BUILT:  # says of a graph what the one who wrote that graph knows
            continue
        target = made / path.relative_to(source)
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(path, target)
    for path in [path for path in made.rglob("*") if path.is_file()]:
        name = path.relative_to(made).as_posix()
        if not is_small(name) and ".onnx" not in path.name:
            path.unlink()


def _checked(order: Order, made: Path, task: str) -> Description:
    """What was made, as it will be read; `SetupError` where that is not what was asked for."""
    found = describe(made)
    if not (made / "tokenizer.json").is_file():
        raise SetupError("capability_mismatch", f"the tokenizer of {order.source} has no form as tokenizer.json")
    heads = {"rerank", "classify"}
    if found.task != task and (order.task or not {found.task, task} <= heads):
        labels = f" (labels: {', '.join(found.labels)})" if found.labels else ""
        message = f"{order.source} makes a model for `{found.task}`{labels}, not for `{task}`"
        raise SetupError("capability_mismatch", message, hint=f"--task {found.task}")
    if found.precision != order.precision:
        message = f"nothing of {order.source} could be held in {order.precision}"
        raise SetupError("capability_mismatch", message, hint="--precision fp32")
    return found


def _absent(task: str, why: str) -> SetupError:
    extra = "builder" if task == "chat" else "export"
    exporter = "the builder of onnxruntime-genai or optimum" if task == "chat" else "optimum"
    place = f"pip install 'flowllm-pipelines[{extra}]', best in an environment of its own"
    hint = f"{place}: FLOWLLM_EXPORTER=ITS/bin/python"
    return SetupError("missing_extra", f"this export needs {exporter}, and {why}", hint=hint)
