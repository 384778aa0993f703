"""Folders of data that come with flowllm: in the installed package, or beside it in a checkout; and other packages'."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path


def packaged(folder: str) -> Path:
    """A folder that is shipped with flowllm: ``conf``, ``providers``, ``pipelines``."""
    package = Path(str(files("flowllm")))
    inside = package / "_data" / folder
    return inside if inside.is_dir() else package.parent / folder


def installed(group: str) -> Iterator[Path]:
    """The folders that installed packages offer by the entry point group, in the order of their names.

    An entry point names a package, whose folder is meant: nothing of it is imported.
    """
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=group), key=lambda point: (point.name, point.value)):
        first, *rest = point.value.split(".")
        spec = find_spec(first)
        for place in (spec and spec.submodule_search_locations) or ():
            yield Path(place, *rest)
