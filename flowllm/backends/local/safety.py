"""Files that a model may be made of: plain ones, inside of its folder, with no second name elsewhere.

A graph names the files of its weights, and whoever made the graph chose the names: a path, a link or a second
name could make any file of this machine a weight, and be read back from the answers.
"""

import os
import stat
from pathlib import Path, PurePosixPath

from flowllm.core.errors import SetupError
from flowllm.core.shell_line import shell_line


def require_own_file(path: Path, folder: Path) -> Path:
    """The path itself; `SetupError` where it is no plain file inside of ``folder`` without a second name."""
    inside = _inside(path, folder)
    at = folder
    for step in inside.parts:
        at = at / step
        try:
            found = os.lstat(at)
        except (FileNotFoundError, NotADirectoryError):
            raise SetupError("missing_model_file", f"the model in {folder} lacks its file {inside}") from None
        if stat.S_ISLNK(found.st_mode):
            raise _unsafe(folder, inside, "is a symbolic link", shell_line("cp", "-rL", folder, "COPY"))
    if not stat.S_ISREG(found.st_mode):
        raise _unsafe(folder, inside, "is no plain file")
    if found.st_nlink > 1:
        raise _unsafe(
            folder, inside, "has a second name elsewhere (a hard link)", shell_line("cp", "-r", folder, "COPY")
        )
    return path


def safe_name(name: str) -> bool:
    """Whether a name that a file or a server gives stays inside of a folder on every system, and is shown as it is."""
    parts = PurePosixPath(name).parts
    if not parts or not name.isprintable() or "\\" in name or ":" in name:
        return False
    return not name.startswith("/") and ".." not in parts and str(PurePosixPath(name)) == name


def _inside(path: Path, folder: Path) -> Path:
    try:
        inside = path.relative_to(folder)
    except ValueError:
        raise _unsafe(folder, path, "is outside of it") from None
    if not safe_name(inside.as_posix()):
        raise _unsafe(folder, inside, "is outside of it")
    return inside


def _unsafe(folder: Path, name: Path, why: str, hint: str = "") -> SetupError:
    return SetupError("bad_model_file", f"the file {name} of the model in {folder} {why}", hint=hint)
