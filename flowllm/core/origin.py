"""Where the user wrote a thing: a file position, or the command line."""

from flowllm.core.record import record


@record
class Origin:
    """A place that an error can print.

    ``line`` and ``column`` count from 1; 0 means that the position is not known.
    ``note`` replaces the file for what was not written in one (``command line: nodes.a.k=2``).
    """

    file: str = ""
    line: int = 0
    column: int = 0
    note: str = ""

    def __str__(self) -> str:
        if self.note:
            return self.note
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"

    def moved(self, lines: int, column: int = 0) -> "Origin":
        """The place ``lines`` further down; ``column`` replaces the column when given."""
        return Origin(self.file, self.line + lines, column or self.column, self.note)


UNKNOWN = Origin()
