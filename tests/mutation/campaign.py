"""Which mutants the suite kills: each is put into a copied tree and meets the tests that should notice."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from queue import SimpleQueue

from tests.mutation.mutants import Mutant, draw
from tests.mutation.trial import PASSED, ROOT, Outcome, Tree, copy_into

LANGUAGE = "tests/spec/test_language.py"
STAGES: dict[str, tuple[tuple[str, ...], ...]] = {
    "flowllm/compiler/": (("tests/unit/compiler",), (LANGUAGE,), ("tests/pipelines", "tests/unit/runtime")),
    "flowllm/text/": (("tests/unit/text",), ("tests/unit/nodes", LANGUAGE)),
    "flowllm/nodes/": (("tests/unit/nodes",), (LANGUAGE, "tests/pipelines")),
    "flowllm/backends/framing.py": (("tests/unit/backends/test_framing.py",), ("tests/wire",)),
}
"""The tests for code, by how its path begins: those of a later stage run where an earlier one noticed nothing."""
TIMEOUT = 300.0
REASONS = Path(__file__).with_name("survivors.md")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: ``killed_by`` is the stage's tests, "" where it survived."""

    mutant: Mutant
    killed_by: str
    seconds: float


def targets() -> list[str]:
    """The files that are mutated, by their paths in the project."""
    files = [
        file for start in STAGES for file in ([ROOT / start] if start.endswith(".py") else (ROOT / start).glob("*.py"))
    ]
    return sorted(file.relative_to(ROOT).as_posix() for file in files)


def stages_of(path: str) -> list[list[str]]:
    """The tests for a file; those named like it come first."""
    stages = next(stages for start, stages in STAGES.items() if path.startswith(start))
    stem = Path(path).stem
    own = [str(f.relative_to(ROOT)) for part in stages[0] for f in sorted((ROOT / part).glob(f"test_*{stem}*.py"))]
    return [[*(own if not number else ()), *stage] for number, stage in enumerate(stages)]


def judge(tree: Tree, mutant: Mutant) -> Verdict:
    """Let the tests at one mutant."""
    began = time.monotonic()
    with tree.holding(mutant.path, mutant.text):
        for stage in stages_of(mutant.path):
            if tree.test(stage, TIMEOUT).status != PASSED:
                return Verdict(mutant, stage[0], time.monotonic() - began)
    return Verdict(mutant, "", time.monotonic() - began)


def sound(tree: Tree) -> list[tuple[str, Outcome]]:
    """Stages that do not pass on unbroken code; it must be empty before anything is judged."""
    stages = {tuple(stage) for some in STAGES.values() for stage in some}
    outcomes = [(" ".join(stage), tree.test(stage, TIMEOUT)) for stage in sorted(stages)]
    return [(stage, outcome) for stage, outcome in outcomes if outcome.status != PASSED]


def campaign(folder: Path, seed: int, number: int, jobs: int, tell: Callable[[str], None]) -> list[Verdict]:
    """Judge ``number`` mutants, each of ``jobs`` at a time in a tree of its own."""
    trees: SimpleQueue[Tree] = SimpleQueue()
    for job in range(jobs):
        trees.put(copy_into(folder / f"tree{job}"))
    first = trees.get()
    chosen = draw({path: (first.root / path).read_text("utf-8") for path in targets()}, seed, number)
    wrong = sound(first)
    trees.put(first)
    if wrong:
        raise SystemExit(f"the tests fail before anything is broken: {wrong[0][0]}\n{wrong[0][1].output[-2000:]}")
    numbers = count(1)

    def one(mutant: Mutant) -> Verdict:
        tree = trees.get()
        try:
            verdict = judge(tree, mutant)
        finally:
            trees.put(tree)
        fate = f"killed by {verdict.killed_by}" if verdict.killed_by else "SURVIVED"
        tell(f"{next(numbers)}/{len(chosen)} {fate}, {verdict.seconds:.0f} s: {mutant.key}")
        return verdict

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, chosen))


def share(verdicts: Sequence[Verdict]) -> float:
    """The share of mutants that died."""
    return sum(bool(verdict.killed_by) for verdict in verdicts) / len(verdicts)


def without_reason(verdicts: Sequence[Verdict], page: str) -> list[str]:
    """Survivors that the page of reasons does not name."""
    return [verdict.mutant.key for verdict in verdicts if not verdict.killed_by and verdict.mutant.key not in page]
