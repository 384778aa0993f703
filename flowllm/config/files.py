"""Files that pipelines and commands name: what may be opened, and how, so that nothing hangs or escapes.

A path written in YAML stays under the project (``under``): no absolute path, no ``..`` or symlink that
leaves it. A path typed on the command line has the user's rights. Both must be regular files of at most
`LIMIT` bytes of UTF-8; pipes and devices are refused without waiting for them.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from flowllm.core.errors import UsageError
from flowllm.text.strict_json import InvalidJson, decode

LIMIT = 10 * 1024 * 1024
"""The most bytes that a file may have."""

STDIN = "standard input"
TOO_LARGE = f"it is larger than {LIMIT // 1024 // 1024} MiB"
SMALLER = "give it in several smaller ones"


def _flag(name: str) -> int:
    """A flag of `os.open`; nothing on systems that lack it."""
    value = getattr(os, name, 0)
    return value if isinstance(value, int) else 0


_FLAGS = os.O_RDONLY | _flag("O_NONBLOCK") | _flag("O_CLOEXEC") | _flag("O_NOCTTY") | _flag("O_BINARY")
_FOLDER = os.O_RDONLY | _flag("O_DIRECTORY") | _flag("O_CLOEXEC")
_NO_LINK = _flag("O_NOFOLLOW")


def read_text_file(path: str | Path, *, under: str | Path | None = None, base: str | Path | None = None) -> str:
    """The text of a file; ``file_refused`` where it must not or cannot be read.

    With ``under`` the file must stand in that folder; a relative path starts at ``base`` (default:
    ``under``, else the working folder).
    """
    return _decoded(read_bytes(path, under=under, base=base), str(path))


def read_source_text(path: str, stdin: BinaryIO | None) -> str:
    """The text of a file that a command names, or of standard input for ``-``, under the same rules."""
    return _decoded(read_source(path, stdin), STDIN if path == "-" else path)


def _decoded(data: bytes, shown: str) -> str:
    try:
        return decode(data)
    except InvalidJson as error:
        raise UsageError("file_refused", f"{shown}: {error}", hint="save it as UTF-8") from None


def read_source(path: str, stdin: BinaryIO | None) -> bytes:
    """The bytes of a file that a command names, or of standard input for ``-``; both have the same limit."""
    if path != "-":
        return read_bytes(path)
    if stdin is None:
        raise UsageError("bad_usage", "there is no standard input to read", hint="name a file in place of -")
    data = stdin.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise _refused(STDIN, TOO_LARGE, SMALLER)
    return data


def read_bytes(path: str | Path, *, under: str | Path | None = None, base: str | Path | None = None) -> bytes:
    """The bytes of a file, under the same rules."""
    shown = str(path)
    if "\0" in shown:
        raise _refused(shown.replace("\0", "\\0"), "a file name cannot hold a NUL")
    if under is None:
        handle = _open(Path(base or ".", shown), shown, _FLAGS)
    else:
        handle = _open_inside(shown, Path(under), Path(base if base is not None else under))
    try:
        _check(handle, shown)
    except UsageError:
        os.close(handle)
        raise
    with os.fdopen(handle, "rb") as file:
        data = file.read(LIMIT + 1)
    if len(data) > LIMIT:
        raise _refused(shown, TOO_LARGE, SMALLER)
    return data


def resolve(path: str, *, under: Path, base: Path) -> Path:
    """Where a path written in YAML leads, without opening it; refused when that is outside ``under``."""
    if Path(path).is_absolute() or path.startswith("~") or "\\" in path or path[1:2] == ":":
        raise _refused(path, "a path in a pipeline is relative to it", "file: ./prompts/ask.md")
    root, real = os.path.realpath(under), os.path.realpath(base / path)
    if os.path.commonpath([root, real]) != root:
        raise _refused(path, "it is outside the project", "move it into the project's folder")
    return Path(real)


def _open_inside(shown: str, under: Path, base: Path) -> int:
    """Open every part of the way without following links, so that none can be swapped in between.

    Where the system cannot open beside an open folder (Windows), the resolved path is opened as a whole.
    """
    real = resolve(shown, under=under, base=base)
    root = Path(os.path.realpath(under))
    parts = real.relative_to(root).parts
    if not parts:
        raise _refused(shown, "it is a folder")
    if os.open not in os.supports_dir_fd:
        return _open(real, shown, _FLAGS | _NO_LINK)
    here = _open(root, shown, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = _open(part, shown, _FOLDER | _NO_LINK, here)
            os.close(here)
            here = inner
        return _open(parts[-1], shown, _FLAGS | _NO_LINK, here)
    finally:
        os.close(here)


def _open(path: str | Path, shown: str, flags: int, folder: int | None = None) -> int:
    try:
        return os.open(path, flags, dir_fd=folder)
    except OSError as error:
        why = {
            errno.ENOENT: "there is no such file",
            errno.EACCES: "reading it is not permitted",
            errno.ELOOP: "it is a link",
            errno.ENXIO: "it is no regular file",
            errno.ENAMETOOLONG: "its name is too long",
        }.get(error.errno or 0, (error.strerror or "it cannot be opened").lower())
        raise _refused(shown, why) from None


def _check(handle: int, shown: str) -> None:
    found = os.fstat(handle)
    if stat.S_ISDIR(found.st_mode):
        raise _refused(shown, "it is a folder")
    if not stat.S_ISREG(found.st_mode):
        raise _refused(shown, "it is no regular file")
    if found.st_size > LIMIT:
        raise _refused(shown, TOO_LARGE, SMALLER)


def _refused(shown: str, why: str, hint: str = "") -> UsageError:
    return UsageError("file_refused", f"`{shown}` was not read: {why}", hint=hint or "check the path")
