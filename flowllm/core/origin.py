"""Where the user wrote a thing: a file position, or the command line."""

from dataclasses import field

from flowllm.core.record import record


@record
class Layout:
    """How a text goes on in its file after its first character.

    Every further line stands one line lower, ``indent`` columns in. Where that does not hold, as after an
    escape or a folded line, a jump ``(line, column, down, at)`` says that from that line and column of the
    text on, both from 0, it stands ``down`` lines below its first character, from column ``at`` (from 1).
    """

    indent: int = 0
    jumps: tuple[tuple[int, int, int, int], ...] = ()


@record
class Origin:
    """A place that an error can print.

    ``line`` and ``column`` count from 1; 0 means that the position is not known.
    ``note`` replaces the file for what was not written in one (``command line: nodes.a.k=2``).
    ``layout`` is how a text that begins here goes on; None: line by line, as a file.
    """

    file: str = ""
    line: int = 0
    column: int = 0
    note: str = ""
    layout: Layout | None = field(default=None, compare=False, repr=False)

    def __str__(self) -> str:
        if self.note:
            return self.note
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}"

    @property
    def is_typed(self) -> bool:
        """Whether it is a word of the command line."""
        return self.note.startswith("command line: ")

    def moved(self, lines: int, column: int = 0) -> "Origin":
        """The place ``lines`` further down; ``column`` replaces the column when given."""
        return Origin(self.file, self.line + lines, column or self.column, self.note)


UNKNOWN = Origin()
