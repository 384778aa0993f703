"""Which file is meant by the name of a pipeline: one as typed, else one that came with flowllm."""

from pathlib import Path

from flowllm.config import packaged
from flowllm.core.errors import UsageError
from flowllm.core.nearest import nearest
from flowllm.core.on_disk import is_folder, lies_there


def find_pipeline(name: str | Path) -> Path:
    """The file that ``name`` means; `UsageError` where there is none."""
    path = Path(name).expanduser()
    if lies_there(path):
        return path
    inside = packaged("pipelines")
    word = str(name).removeprefix("pipelines/").removesuffix(".yaml")
    shipped = inside / f"{word}.yaml"
    if word.isidentifier() and shipped.is_file():
        return shipped
    raise UsageError("file_refused", f"`{name}` was not read: there is no such file", hint=_near(path, inside))


def _near(path: Path, shipped: Path) -> str:
    here = path.parent.glob("*.yaml") if is_folder(path.parent) else ()
    candidates = {file.stem: str(file) for file in here if not file.name.endswith(".test.yaml")}
    names = sorted(file.stem for file in shipped.glob("*.yaml") if not file.name.endswith(".test.yaml"))
    shipped_ones = f"with flowllm come {', '.join(names)}" if names else "flowllm init DIRECTORY writes one"
    candidates = dict(zip(names, names, strict=True)) | candidates
    near = nearest(path.name.removesuffix(".yaml"), candidates)
    return f"did you mean `{candidates[near]}`?" if near else shipped_ones
