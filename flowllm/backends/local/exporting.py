"""A model of transformers on this machine to an ONNX model on the shelf, whole or not at all.

The exporter is a process of its own (``converting``): torch never enters this one. It sees links to those files of
the source that cannot run code: weights in safetensors, JSON and vocabularies. What it writes is read as any other
model is, gets the source's own small files and a manifest, and is moved to its place in one step. A half model is
hidden, and thrown away by the next export to the same place.
"""

import errno
import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from flowllm.backends.local import converting, manifest
from flowllm.backends.local.exportable import job_of, task_of
from flowllm.backends.local.layout import Description, Task, describe, is_small
from flowllm.backends.local.parts import alone
from flowllm.backends.local.surroundings import known_variables
from flowllm.core.errors import SetupError
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

PRECISIONS = ("fp32", "fp16", "int8", "int4")
_SEEN = frozenset({".json", ".safetensors", ".txt", ".model", ".jinja", ".tiktoken"})
_EXPORTERS = (("optimum",), ("onnxruntime_genai", "optimum"))
"""The packages that write encoders, and those that write decoders."""
_BUILT = "genai_config.json"
_KILLED = -9
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_NAMED = 3
"""Weights that an error names."""
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
    job = job_of(order.source, order.task, order.precision)
    if order.target.exists():
        message = f"{order.target} is there already"
        raise SetupError(
            "bad_model_file", message, hint=shell_line("flowllm", "export", order.source, "--name", "OTHER")
        )
    if order.python == sys.executable and not any(map(importlib.util.find_spec, _EXPORTERS[job["task"] == "chat"])):
        raise _absent(job["task"], "none is installed")
    try:
        with _part(order.target) as (part, held), _in_the_users_words(order, part):
            return _made(order, _Work(order, job, part, held, begin))
    except OSError as error:
        said = "the disk is full" if error.errno in _FULL else f"{type(error).__name__}: {error.strerror}"
        message = f"the model cannot be kept in {order.target.parent}: {said}"
        raise SetupError("missing_model_file", message, hint="--to FOLDER names another place") from None


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


@contextmanager
def _in_the_users_words(order: Order, part: Path) -> Iterator[None]:
    """Name folders as the user knows them: nobody has seen the hidden one, and it is gone afterwards."""
    try:
        yield
    except SetupError as error:
        message = error.message.replace(str(part / "made"), str(order.target))
        message = message.replace(str(part / "source"), str(order.source))
        raise SetupError(error.code, message, hint=error.hint) from None


@record
class _Work:
    """One export that holds its hidden folder."""

    order: Order
    job: dict[str, Any]
    part: Path
    held: int | None
    begin: Callable[[], None]


def _made(order: Order, work: _Work) -> Exported:
    seen, made = work.part / "source", work.part / "made"
    seen.mkdir()
    for path in order.source.iterdir():
        if path.suffix in _SEEN and path.is_file():
            (seen / path.name).symlink_to(path.resolve())
    with (work.part / "said").open("w+b") as said:
        outcome = _converted(work, work.job | {"source": str(seen), "target": str(made)}, said)
    _take_over(order.source, made)
    found = _checked(order, made, work.job["task"])
    by = {name: str(version) for name, version in outcome.get("by", {}).items()}
    exporter = str(outcome.get("exporter", ""))
    told = {"exported": order.source.resolve().name, "precision": order.precision, "exporter": exporter}
    manifest.write_manifest(made, told | by)
    if order.target.exists():
        raise SetupError("bad_model_file", f"{order.target} came while this export went on")
    made.rename(order.target)
    return Exported(order.target, found.task, found.precision, found.size, exporter, tuple(outcome.get("doubts", ())))


def _converted(work: _Work, job: dict[str, Any], said: IO[bytes]) -> dict[str, Any]:
    """Let the exporter work, and wait for it; it ends with this process, however this one ends."""
    python = work.order.python
    try:
        process = subprocess.Popen(  # noqa: S603  the interpreter that the user names, and a file of ours
            [python, "-P", str(Path(converting.__file__))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            cwd=tempfile.gettempdir(),
            env={**known_variables(), **_OFFLINE},
            pass_fds=() if work.held is None else (work.held,),
        )
    except OSError as error:
        raise _absent(job["task"], f"{python} does not run: {error.strerror}") from None
    with process:
        try:
            if (first := _asked(process, job)) != converting.BEGUN.encode() + b"\n":
                _own_end(process)
                raise _unbegun(work, first, said)
            work.begin()
            answer = _line(process)
            status = None if answer else _own_end(process)
        finally:
            process.kill()
    return _outcome(answer, status, said, work)


def _asked(process: "subprocess.Popen[bytes]", job: dict[str, Any]) -> bytes:
    """The first line that it answers the job with, empty where it ends before."""
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
    except BrokenPipeError:
        with suppress(BrokenPipeError):  # what was not taken would be sent again
            process.stdin.close()
    return _line(process)


def _line(process: "subprocess.Popen[bytes]") -> bytes:
    assert process.stdout is not None
    return process.stdout.readline()


def _own_end(process: "subprocess.Popen[bytes]") -> int | None:
    """The status of one that says nothing more; None where it goes on all the same."""
    with suppress(subprocess.TimeoutExpired):
        return process.wait(_GRACE)
    return None


def _lines(said: IO[bytes]) -> list[str]:
    """What the process wrote for people."""
    said.seek(0)
    return [line.strip() for line in said.read().decode(errors="replace").splitlines() if line.strip()]


def _unbegun(work: _Work, answer: bytes, said: IO[bytes]) -> SetupError:
    """The error for an exporter that has no package, or is no Python: it never took the job."""
    with suppress(ValueError, KeyError, TypeError):
        return _absent(work.job["task"], str(json.loads(answer)["error"]))
    lines = _lines(said) or [""]
    line = lines[-1] if lines[0].startswith(("Traceback", "File")) else lines[0]
    why = f"{work.order.python} does not run as a Python of 3.11 or later" + (f" ({line[:300]})" if line else "")
    return _absent(work.job["task"], why)


def _outcome(answer: bytes, status: int | None, said: IO[bytes], work: _Work) -> dict[str, Any]:
    try:
        outcome = json.loads(answer)
    except ValueError:
        lines = _lines(said)
        last = f": {lines[-1][:300]}" if lines else ""
        ended = "sent what is no answer" if status is None else f"ended without an answer ({status})"
        hint = "a system short of memory ends processes so: free some, or export on a larger machine"
        hint = hint if status == _KILLED else ""
        raise SetupError("bad_model_file", f"the exporter {ended}{last}", hint=hint) from None
    if not isinstance(outcome, dict):
        raise SetupError("bad_model_file", "the exporter answered with no JSON object")
    if outcome.get("full"):
        raise OSError(errno.ENOSPC, "the disk is full")
    if "lacking" in outcome:
        raise _lacking(work, str(outcome["class"]), [str(name) for name in outcome["lacking"]])
    if outcome.get("code") == "missing_extra":
        raise _absent(work.job["task"], str(outcome["error"]))
    if "error" in outcome:
        raise SetupError(str(outcome["code"]), str(outcome["error"]), hint=str(outcome.get("hint", "")))
    return outcome


def _lacking(work: _Work, kind: str, names: list[str]) -> SetupError:
    """The error for files that do not fill the model that was asked for."""
    source, task = work.order.source, work.job["task"]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    message = f"the weights of {source} do not fill a {kind} for `{task}`: {', '.join(names[:_NAMED])}{more} would be"
    own = task_of(source)
    hint = shell_line("hf", "download", "OWNER/NAME", "--local-dir", source)
    return SetupError("bad_model_file", f"{message} invented", hint=hint if own in ("", task) else f"--task {own}")


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
