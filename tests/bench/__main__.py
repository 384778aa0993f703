"""Measure and print the table: `python -m tests.bench [--smoke] [--only P3] [--only decode] [--write PAGE]`."""

import argparse
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.bench import (
    caching,
    compiling,
    decoding,
    encoding,
    graphs,
    memory,
    registry,
    starting,
    streams,
    summary_quality,
)
from tests.bench.processes import ROOT
from tests.bench.row import FULL, SMOKE, Row, Size, lines, pin

MODULES = {
    "decode": decoding,
    "encode": encoding,
    "P3": streams,
    "P4": graphs,
    "P5": compiling,
    "P7": starting,
    "P9": caching,
    "P10": memory,
    "lookup": registry,
}
"""P8 is measured with P7."""
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def measured_commit() -> str:
    """The commit of the code measured; what was changed since is said."""

    def git(*words: str) -> str:
        found = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False)
        return found.stdout.strip()

    changed = git("status", "--porcelain", "--", "flowllm")
    return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (" with local changes" if changed else "")


def described() -> str:
    """What it was measured on."""
    cores, load = os.cpu_count(), os.getloadavg()[0]
    return (
        f"CPython {platform.python_version()}, {platform.system()} {platform.machine()}, {cores} cores, load {load:.1f}"
    )


def write(page: Path, text: str) -> None:
    """Put the text between the page's marks."""
    before, found, rest = page.read_text("utf-8").partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not (found and ended):
        raise SystemExit(f"{page} has no lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")


def collect(only: Sequence[str], size: Size) -> list[Row]:
    """The rows of the benchmarks asked for."""
    rows = []
    for name, module in MODULES.items():
        if not only or name in only:
            found = module.measure(size)
            print("\n".join(list(lines(found))[2:]), flush=True)  # noqa: T201  it takes minutes
            rows += found
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, to see that it works")
    parser.add_argument("--only", action="append", default=[], choices=list(MODULES))
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table between the marks of a page")
    words = parser.parse_args()
    pin(0)
    commit = measured_commit()
    rows = collect(words.only, SMOKE if words.smoke else FULL)
    text = "\n".join([f"Measured at commit {commit}; {described()}.", "", *lines(rows)])
    if not words.only:
        quality = list(summary_quality.lines(summary_quality.table()))
        text += "\n\nQuality of `select` on the labelled texts:\n\n```text\n" + "\n".join(quality) + "\n```"
    if words.write:
        write(words.write, text)
    print(f"\n{text}")  # noqa: T201  the command's work


if __name__ == "__main__":
    main()
