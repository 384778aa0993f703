"""`python -m tests.mutation --seed 1 --count 100 [--jobs 1]`: break the code, see who notices."""

# ruff: noqa: T201  the command prints

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.mutation.campaign import REASONS, campaign, share, without_reason

WANTED = 0.8


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--jobs", type=int, default=1)
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        verdicts = campaign(Path(folder), words.seed, words.count, words.jobs, lambda line: print(line, flush=True))
    killed = share(verdicts)
    print(f"\n{killed:.0%} of {len(verdicts)} mutants died (seed {words.seed})")
    for part, total in sorted(Counter(v.mutant.path.rpartition("/")[0] for v in verdicts).items()):
        died = sum(bool(v.killed_by) for v in verdicts if v.mutant.path.rpartition("/")[0] == part)
        print(f"  {part}: {died} of {total}")
    page = REASONS.read_text("utf-8") if REASONS.exists() else ""
    for verdict in verdicts:
        if not verdict.killed_by:
            print(f"survived: {verdict.mutant.key}")
    for key in without_reason(verdicts, page):
        print(f"no reason in {REASONS.name}: {key}")
    return 0 if killed >= WANTED else 1


if __name__ == "__main__":
    sys.exit(main())
