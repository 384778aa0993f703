"""Folders of data that come with flowllm: in the installed package, or beside it in a checkout."""

from importlib.resources import files
from pathlib import Path


def packaged(folder: str) -> Path:
    """A folder that is shipped with flowllm: ``conf``, ``providers``, ``pipelines``."""
    package = Path(str(files("flowllm")))
    inside = package / "_data" / folder
    return inside if inside.is_dir() else package.parent / folder
