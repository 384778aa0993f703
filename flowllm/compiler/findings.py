"""Where the compiler's stages leave what they find, and the words that hints are made of."""

from collections.abc import Iterable, Iterator

from flowllm.core.errors import CODES, Problem
from flowllm.core.nearest import nearest
from flowllm.core.origin import UNKNOWN, Origin


class Findings:
    """Problems, warnings and notes in the order found; the same finding is kept once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, Origin], Problem] = {}

    def report(self, code: str, message: str, where: str, origin: Origin = UNKNOWN, hint: str = "") -> None:
        """Keep one finding; its severity is the code's."""
        self.add(Problem(code, message, where, origin, hint, CODES[code].severity))

    def add(self, problem: Problem) -> None:
        """Keep a finding made elsewhere."""
        self._found.setdefault(
            (problem.code, f"{problem.source}:{problem.where}:{problem.message}", "", problem.origin), problem
        )

    def all(self) -> Iterator[Problem]:
        """Every finding, in the order found."""
        return iter(self._found.values())

    def of(self, severity: str) -> tuple[Problem, ...]:
        """The findings of one severity, by their place in the file, then in the pipeline's words."""
        return tuple(sorted((p for p in self._found.values() if p.severity == severity), key=_place))

    def told(self, code: str, where: str) -> bool:
        """Whether this was found there, so that what follows from it need not be said."""
        return any(problem.code == code and problem.where == where for problem in self._found.values())

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(problem.severity == "error" for problem in self._found.values())


def _place(problem: Problem) -> tuple[str, str, int, int, str, str]:
    origin = problem.origin
    return (problem.source, origin.file, origin.line, origin.column, origin.note, problem.where)


def did_you_mean(word: str, known: Iterable[str], before: str = "", after: str = "") -> str:
    """A hint with the nearest known word, else all of them where they are few."""
    names = sorted(known)
    near = nearest(word, names)
    if near:
        return f"did you mean `{before}{near}{after}`?"
    return f"known here: {', '.join(names)}" if 0 < len(names) <= 20 else ""  # noqa: PLR2004  what fits a line
