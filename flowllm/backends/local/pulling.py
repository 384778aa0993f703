"""A model from a hub onto the shelf, whole or not at all.

Files come into a hidden folder beside the model's place, which no list of models shows. There they are compared
with the sha256 that the hub told, get a manifest, and are moved to their place in one step. What broke off stays
hidden, and the next pull goes on behind its last byte. What is here is read on threads: other work goes on meanwhile.
"""

import asyncio
import errno
import hashlib
import re
import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Protocol

from flowllm.backends.local import manifest
from flowllm.backends.local.graph_file import read_graph
from flowllm.backends.local.hub import Hub, Listing, Source
from flowllm.backends.local.hub_files import HubFile, by_name, wanted
from flowllm.backends.local.json_files import read_object
from flowllm.backends.local.layout import precision_of
from flowllm.backends.local.parts import alone
from flowllm.core.errors import ProviderFailure, SetupError, UsageError
from flowllm.core.record import record
from flowllm.core.shell_line import shell_line

MAX_SIZE = 16 * 10**9
_TRIES = 5
_STEP = r"[A-Za-z0-9_][\w.-]{0,95}"
_REPOSITORY = re.compile(rf"{_STEP}(/{_STEP})?", re.ASCII)
_BROKEN_OFF = frozenset({"truncated", "connect_error", "protocol_error"})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_PIECE = 2**20


@record
class Wish:
    """What to pull: ``name`` is what stands behind ``local/``, ``shelf`` the folder of models, sizes are bytes."""

    source: Source
    name: str
    shelf: Path
    precision: str = ""
    max_size: int = MAX_SIZE

    @property
    def target(self) -> Path:
        """The model's folder."""
        return self.shelf / self.name


@record
class Pulled:
    """A model that is on the shelf. ``fetched`` are the bytes that were not here before; 0 where all of it was."""

    name: str
    folder: Path
    commit: str
    size: int
    fetched: int = 0


class Watch(Protocol):
    """Is told how a pull goes."""

    def planned(self, files: Sequence[HubFile], kept: int) -> None:
        """These files make the model; ``kept`` bytes of them are here from before. Nothing has come yet."""
        ...

    def came(self, file: HubFile, done: int) -> None:
        """``done`` bytes of a file are here."""
        ...


def parse_source(text: str) -> Source:
    """``OWNER/NAME@REVISION``, without a revision ``main``; `UsageError` for what is no such thing."""
    repository, at, revision = text.partition("@")
    if not named_well(repository) or bool(at) != bool(revision) or not revision.isprintable():
        raise UsageError("bad_usage", f"`{text}` is no repository of a hub", hint="flowllm pull OWNER/NAME@REVISION")
    return Source(repository, revision or "main")


def named_well(name: str) -> bool:
    """Whether it can be the name of a repository, and of a model here."""
    return _REPOSITORY.fullmatch(name) is not None and ".." not in name


async def pull(hub: Hub, wish: Wish, watch: Watch) -> Pulled:
    """The model, fetched where it is not there. Raises `FlowError`."""
    try:
        return await _pulled(hub, wish, watch)
    except OSError as error:
        full = error.errno in _FULL
        said = "the disk is full" if full else f"{type(error).__name__}: {error.strerror}"
        message = f"the model cannot be kept in {wish.shelf}: {said}"
        raise SetupError("missing_model_file", message, hint="FLOWLLM_MODELS=FOLDER names another place") from None


async def _pulled(hub: Hub, wish: Wish, watch: Watch) -> Pulled:
    there = _commit_there(wish)
    if there and there == wish.source.revision:
        return await asyncio.to_thread(_checked, wish, there)
    listing = await hub.listing(wish.source)
    if there == listing.commit:
        return await asyncio.to_thread(_checked, wish, there)
    if there is not None:
        raise _taken(wish, f"with the commit {there}, and {wish.source} is {listing.commit}")
    files = by_name(listing.files, str(wish.source))
    chosen = wanted(files, wish.precision, str(wish.source))
    part = wish.target.with_name(f".{wish.target.name}-{listing.commit[:12]}{wish.precision}.part")
    _require_room(wish, part, chosen)
    watch.planned(chosen, _kept(part, chosen))
    part.mkdir(parents=True, exist_ok=True)
    with alone(part):
        return await _Fetching(hub, wish, watch, listing, part).all(files, chosen)


def _commit_there(wish: Wish) -> str | None:
    """The commit in the model's place, None where the place is free; `SetupError` where it is another model's."""
    if not wish.target.exists():
        return None
    told = read_object(wish.target / manifest.NAME).get("source")
    facts = told if isinstance(told, dict) else {}
    own = (wish.source.repository, wish.precision)
    if (facts.get("repository"), facts.get("precision")) != own or not isinstance(facts.get("commit"), str):
        raise _taken(wish, "and was not made by this pull")
    commit: str = facts["commit"]
    return commit


def _checked(wish: Wish, commit: str) -> Pulled:
    """The model that is there, compared with its manifest."""
    manifest.check_manifest(wish.target, ())
    listed = manifest.read_manifest(wish.target) or {}
    return Pulled(wish.name, wish.target, commit, sum(size for size, _ in listed.values()))


def _taken(wish: Wish, why: str) -> SetupError:
    message = f"`local/{wish.name}` is there already in {wish.target}, {why}"
    return SetupError("bad_model_file", message, hint=f"flowllm pull {wish.source} --name OTHER")


def _require_room(wish: Wish, part: Path, files: Sequence[HubFile]) -> None:
    size = sum(file.size for file in files)
    if size > wish.max_size:
        message = f"{wish.source} has {size} bytes of files, and a pull may take {wish.max_size}"
        raise UsageError("bad_usage", message, hint=f"--max-size {size}")
    place = next(place for place in (wish.shelf, *wish.shelf.parents) if place.is_dir())
    free, missing = shutil.disk_usage(place).free, size - _kept(part, files)
    if missing > free:
        message = f"{wish.source} needs {missing} bytes, and the disk of {wish.shelf} has {free} left"
        raise SetupError("missing_model_file", message, hint="FLOWLLM_MODELS=FOLDER names another place")


def _kept(part: Path, files: Sequence[HubFile]) -> int:
    """Bytes that an earlier pull left."""
    paths = [part / file.name for file in files]
    return sum(path.stat().st_size for path in paths if path.is_file())


class _Digest:
    """The sha256 of what came, or git's sha1 of a blob; equal to all where the hub told neither."""

    def __init__(self, file: HubFile) -> None:
        self._told = file.sha256 or file.blob
        self._made = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)

    def feed(self, piece: bytes) -> None:
        self._made.update(piece)

    def fits(self) -> bool:
        return not self._told or self._made.hexdigest() == self._told


@record
class _Fetching:
    """One pull that holds its hidden folder."""

    hub: Hub
    wish: Wish
    watch: Watch
    listing: Listing
    part: Path

    async def all(self, files: dict[str, HubFile], chosen: Sequence[HubFile]) -> Pulled:
        """Every file, the manifest, and the move to the model's place."""
        fetched = 0
        for file in chosen:
            fetched += await self._file(file)
        await asyncio.to_thread(self._require_precision, chosen)
        others = await asyncio.to_thread(self._unguessed, files, chosen)
        _require_room(self.wish, self.part, [*chosen, *others])
        for file in others:
            fetched += await self._file(file)
        self._prune({file.name for file in (*chosen, *others)})
        return await self._shelved(fetched)

    def _require_precision(self, chosen: Sequence[HubFile]) -> None:
        """`SetupError`, and nothing is kept, where a plain name stood for fp32 and its graph is something else.

        The names of other graphs tell their precision; that of the plain one is told by its weights alone.
        """
        graphs = [file.name for file in chosen if file.name.endswith(".onnx")]
        found = precision_of(read_graph(self.part / graphs[0])) if self.wish.precision == "fp32" else "fp32"
        if found != "fp32":
            shutil.rmtree(self.part)
            message = f"{graphs[0]} of {self.wish.source} is {found}, not fp32, and nothing of it was kept"
            hint = shell_line("flowllm", "pull", str(self.wish.source))
            raise SetupError("missing_model_file", message, hint=hint)

    def _unguessed(self, files: dict[str, HubFile], chosen: Sequence[HubFile]) -> list[HubFile]:
        """Weights that graphs name and whose names did not tell it."""
        here = {file.name for file in chosen}
        named: dict[str, None] = {}
        for graph in (name for name in sorted(here) if name.endswith(".onnx")):
            folder = PurePosixPath(graph).parent
            named |= {str(folder / place): None for place in read_graph(self.part / graph).external}
        missing = [name for name in named if name not in files]
        if missing:
            message = f"a graph of {self.wish.source} names the weights {missing[0]!r}, which the repository lacks"
            raise SetupError("missing_model_file", message)
        if programs := [name for name in named if PurePosixPath(name).suffix in manifest.CODE]:
            message = f"a graph of {self.wish.source} names the program {programs[0]!r} as its weights"
            raise SetupError("bad_model_file", message)
        return [files[name] for name in named if name not in here]

    def _prune(self, names: set[str]) -> None:
        """Files of an earlier try that are none of the model's."""
        for path in self.part.rglob("*"):
            if not path.is_dir() and path.relative_to(self.part).as_posix() not in names:
                path.unlink()

    async def _shelved(self, fetched: int) -> Pulled:
        wish = self.wish
        told = {"repository": wish.source.repository, "revision": wish.source.revision, "commit": self.listing.commit}
        told["precision"] = wish.precision
        made = await asyncio.to_thread(manifest.write_manifest, self.part, told)
        if wish.target.exists():
            raise _taken(wish, "and came while this pull went on")
        self.part.rename(wish.target)
        size = sum(entry["size"] for entry in made["files"].values())
        return Pulled(wish.name, wish.target, self.listing.commit, size, fetched)

    async def _file(self, file: HubFile) -> int:
        """One file; what breaks off is tried again a few times, as long as each try brings more.

        Returns how many of its bytes were not here before.
        """
        path = self.part / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        length = _length(path)
        first = before = length if length <= file.size else 0
        for left in reversed(range(_TRIES)):
            try:
                await self._rest(file, path)
            except ProviderFailure as error:
                now = _length(path)
                if error.code not in _BROKEN_OFF or now <= before or not left:
                    raise self._broken_off(error, file, now) from None
                before = now
            else:
                break
        return file.size - first

    async def _rest(self, file: HubFile, path: Path) -> None:
        """What of a file is not here yet, and whether all of it is what the hub told."""
        have, digest = await asyncio.to_thread(_fed, path, file)
        if have != file.size or not have:
            async with self.hub.file(self.wish.source, self.listing.commit, file.name, have) as (start, pieces):
                if start != have:
                    have, digest = 0, _Digest(file)
                with path.open("ab" if have else "wb") as out:
                    async for piece in pieces:
                        have += len(piece)
                        if have > file.size:
                            break
                        out.write(piece)
                        digest.feed(piece)
                        self.watch.came(file, have)
        if have < file.size:
            raise ProviderFailure("truncated", f"the hub sent {have} of {file.size} bytes of {file.name}")
        if have > file.size or not digest.fits():
            raise self._refused(file, path)

    def _refused(self, file: HubFile, path: Path) -> SetupError:
        """The error for a file that is not what was told; nothing of it is kept."""
        path.unlink()
        message = f"the file {file.name} of {self.wish.source} is not what the hub lists (size or sha256)"
        return SetupError("bad_model_file", message, hint=f"flowllm pull {self.wish.source} fetches it anew")

    def _broken_off(self, error: ProviderFailure, file: HubFile, kept: int) -> ProviderFailure:
        if error.code not in _BROKEN_OFF:
            return error
        message = f"{error.message}; {kept} of {file.size} bytes of {file.name} are kept"
        hint = f"flowllm pull {self.wish.source} goes on where it broke off"
        return ProviderFailure(error.code, message, facts=error.facts, hint=hint)


def _length(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _fed(path: Path, file: HubFile) -> tuple[int, _Digest]:
    """What is here of a file, and its digest; a file that is too long is begun anew."""
    digest = _Digest(file)
    length = _length(path)
    if not 0 < length <= file.size:
        return 0, digest
    with path.open("rb") as kept:
        while piece := kept.read(_PIECE):
            digest.feed(piece)
    return length, digest
