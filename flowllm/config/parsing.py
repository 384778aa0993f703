"""What goes along while a pipeline is parsed: the kinds, the findings, the files that it may name."""

from collections.abc import Callable
from dataclasses import field

from flowllm.config.marks import Marks
from flowllm.config.shapes import Shapes
from flowllm.core.errors import FlowError, Problem
from flowllm.core.origin import Origin
from flowllm.core.record import record

ReadFile = Callable[[str], tuple[str, str]]
"""A path as written to the text and the file's name in errors; raises `FlowError` when refused."""


_SHOWN = 60
"""The most characters of a value that a message repeats."""


@record(frozen=False)
class Parsing:
    """The findings about one pipeline, and what is needed to parse it."""

    shapes: Shapes
    read_file: ReadFile
    problems: list[Problem] = field(default_factory=list)

    def wrong(self, code: str, message: str, where: str, origin: Origin, hint: str = "") -> None:
        """Note a finding."""
        self.problems.append(Problem(code, message, where, origin, hint))

    def file(self, path: object, where: str, origin: Origin) -> tuple[str, Origin]:
        """The text of a file that the pipeline names and the place of its first character."""
        if not isinstance(path, str):
            self.wrong("bad_value", f"{shown(path)} is not a file name", where, origin, "file: ./prompt.md")
            return "", origin
        try:
            text, name = self.read_file(path)
        except FlowError as error:
            self.wrong(error.code, error.message, where, origin, error.hint)
            return "", origin
        return text, Origin(name, 1, 1)


def shown(value: object, marks: Marks | None = None) -> str:
    """A value as its writer knows it: the scalar as written, else its JSON spelling, shortened; or ``nothing``."""
    if marks is not None and marks.raw is not None:
        if not marks.raw and value is None:
            return "nothing"
        text = marks.raw
    elif isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    elif value is None or isinstance(value, bool):
        text = "null" if value is None else str(value).lower()
    else:
        text = str(value)
    return f"`{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'}`"
