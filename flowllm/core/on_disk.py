"""Whether something lies at a path. A question that the system refuses, as for a name that is too long, is a no."""

import os
from pathlib import Path


def lies_there(path: Path) -> bool:
    """Whether there is a file or a folder."""
    return os.path.exists(path)  # noqa: PTH110  `Path.exists` raises where the system refuses the question


def is_folder(path: Path) -> bool:
    """Whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112  as above
