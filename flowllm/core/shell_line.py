"""Lines for a shell in hints: what a user's path or name holds is quoted, so that the line can be pasted."""

import shlex
from pathlib import Path


def shell_line(*words: str | Path) -> str:
    """The words as a shell would read them back."""
    return shlex.join(map(str, words))
