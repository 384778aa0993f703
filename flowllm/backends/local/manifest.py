"""``manifest.json``: the length and sha256 of every file of a model, checked before any of them is opened.

A folder without one is taken as it is. One that was pulled has it, and a file that is shorter, changed or not
listed is an error: nothing of such a folder is loaded. Files of Python are never listed and never loaded.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from flowllm.backends.local.json_files import bad, read_object
from flowllm.backends.local.safety import require_own_file, safe_name
from flowllm.core.errors import SetupError
from flowllm.core.shell_line import shell_line

NAME = "manifest.json"
CODE = frozenset({".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".pkl", ".pickle", ".sh"})
_PIECE = 2**20


def write_manifest(folder: Path, source: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Write the manifest of a folder, with where it came from; returns what was written."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == NAME or path.suffix in CODE:
            continue
        require_own_file(path, folder)
        files[name] = {"size": path.stat().st_size, "sha256": _sha256(path)}
    made = {"files": files, **({"source": dict(source)} if source else {})}
    (folder / NAME).write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS))
    return made


def read_manifest(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Length and sha256 by file, None where there is no manifest; `SetupError` for a broken one."""
    path = folder / NAME
    if not os.path.lexists(path):
        return None
    files = read_object(require_own_file(path, folder)).get("files")
    if not isinstance(files, dict) or not all(map(_is_entry, files.values())):
        raise bad(path, "does not list files with their size and sha256")
    for name in files:
        if not safe_name(name):
            raise bad(path, f"names a file outside of its folder: {name!r}")
        if Path(name).suffix in CODE:
            raise bad(path, f"lists a program: {name}")
    return {name: (entry["size"], entry["sha256"]) for name, entry in files.items()}


def check_manifest(folder: Path, opened: tuple[Path, ...]) -> bool:
    """Compare the files of a folder with its manifest; False where it has none.

    ``opened`` are files that the model is made of: each has to be listed. `SetupError` for the first that is
    absent, shorter, longer, changed or not listed.
    """
    listed = read_manifest(folder)
    if listed is None:
        return False
    for path in opened:
        name = path.relative_to(folder).as_posix()
        if name not in listed and name != NAME:
            raise _changed(folder, name, "is not in its manifest")
    # Lengths first: a download that was cut off is told without reading everything.
    for name, (size, _) in listed.items():
        found = require_own_file(folder / name, folder).stat().st_size
        if found != size:
            raise _changed(folder, name, f"has {found} bytes and should have {size}")
    for name, (_, sha256) in listed.items():
        if _sha256(folder / name) != sha256:
            raise _changed(folder, name, "is not what its manifest says (sha256)")
    return True


def identity(folder: Path, opened: tuple[Path, ...]) -> str:
    """What tells this model from another in the same place: its manifest, else lengths and times of its files."""
    manifest = folder / NAME
    if manifest.is_file():
        return _sha256(manifest)
    known = [(path.relative_to(folder).as_posix(), path.stat()) for path in opened]
    facts = [(name, found.st_size, found.st_mtime_ns) for name, found in known]
    return hashlib.sha256(orjson.dumps(facts)).hexdigest()


def _is_entry(entry: Any) -> bool:
    fine = isinstance(entry, dict) and isinstance(entry.get("size"), int) and isinstance(entry.get("sha256"), str)
    return fine and len(entry["sha256"]) == hashlib.sha256().digest_size * 2


def _changed(folder: Path, name: str, why: str) -> SetupError:
    message = f"the file {name} of the model in {folder} {why}"
    hint = f"remove the folder {shell_line(folder)}, then get the model again"
    return SetupError("bad_model_file", message, hint=hint)


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            found.update(piece)
    return found.hexdigest()
