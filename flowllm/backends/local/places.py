"""Where models of this machine lie, and what a model's name means there.

``local/NAME`` is a folder of that name in one of the shelf's folders: the project's ``models``, the one that the
setting ``models`` names, and the user's own. ``local/./PATH`` is a folder of the project. Names have one or two
steps: ``tiny``, ``acme/tiny``.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from flowllm.backends.local.safety import safe_name
from flowllm.core.errors import SetupError
from flowllm.core.nearest import nearest
from flowllm.core.on_disk import is_folder
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

_STEPS = 2
_MARKS = ("config.json", "genai_config.json", "tokenizer.json", "modules.json")
"""What tells the folder of a model, also of a broken one, from that of an owner."""


def own_folder() -> Path:
    """Where the user's models are kept."""
    import platformdirs

    return Path(platformdirs.user_data_path("flowllm", appauthor=False)) / "models"


@record
class Places:
    """``project`` is the folder that paths stay under, ``folders`` are looked through in their order."""

    project: Path
    folders: Sequence[Path]

    def find(self, name: str) -> Path:
        """The folder of a model; `SetupError` where there is none."""
        if name.startswith(("./", "../", "/", "~")) or name == ".":
            return self._path(name)
        if not safe_name(name):
            raise SetupError("missing_model_file", f"`{name}` is no name of a local model", hint="local/NAME")
        found = next((place / name for place in self.folders if is_folder(place / name)), None)
        if found is None:
            raise self._absent(name)
        return found

    def listed(self) -> Iterator[tuple[str, Path]]:
        """Every model by its name; a name of an earlier folder hides one of a later."""
        seen = set()
        for place in self.folders:
            for path in sorted(_models(place, _STEPS)):
                name = path.relative_to(place).as_posix()
                if name not in seen:
                    seen.add(name)
                    yield name, path

    def _path(self, name: str) -> Path:
        whole = (self.project / name).resolve()
        if not name.startswith("./") or not whole.is_relative_to(self.project.resolve()):
            message = f"the model `local/{name}` is not under the project {self.project}"
            raise SetupError("missing_model_file", message, hint="FLOWLLM_MODELS=FOLDER, then local/NAME")
        if not is_folder(whole):
            raise SetupError("missing_model_file", f"there is no folder {whole}", hint="flowllm models list --local")
        return whole

    def _absent(self, name: str) -> SetupError:
        near = nearest(name, (one for one, _ in self.listed()))
        pull = shell_line("flowllm", "pull", name if "/" in name else f"OWNER/{name}")
        others = f"{pull} fetches one, flowllm models list --local shows those that are there"
        hint = f"did you mean `local/{near}`?" if near else others
        return SetupError("missing_model_file", f"there is no model `local/{name}` on this machine", hint=hint)


def _models(folder: Path, steps: int) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if not path.is_dir() or path.name.startswith("."):
            continue
        if any(os.path.lexists(path / mark) for mark in _MARKS) or any(path.glob("*.onnx")):
            yield path
        elif steps > 1:
            yield from _models(path, steps - 1)
