"""Fenced blocks of a page, and what is asked of them.

- ``console``: lines that begin with ``$ `` are run, the lines after one are what it prints.
- ``python``: run, names are kept for the blocks after it; a block ``output`` after it is what it prints.
- ``yaml``: checked; with ``title="name"`` written to that file for the commands after it.
- any language with ``title="name"``: written to that file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
_FENCE = re.compile(r"^(?P<fence>`{3,})(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=fence)[ ]*$", re.MULTILINE | re.DOTALL)
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block. ``line`` is where its fence stands."""

    page: str
    line: int
    language: str
    title: str
    text: str

    @property
    def first(self):
        """Its first line, by which the table of blocks that are not run names it."""
        return self.text.partition("\n")[0]

    def __str__(self):
        return f"{self.page}:{self.line}"


def pages():
    """Every page, the README among them."""
    return [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks_of(page):
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        info = found["info"].strip()
        title = _TITLE.search(info)
        line = text.count("\n", 0, found.start()) + 1
        yield Block(name_of(page), line, info.partition(" ")[0], title[1] if title else "", found["text"])


def not_run():
    """Rows of the table in docs/not-run.md: (page, first line) to the reason."""
    rows = {}
    for line in (DOCS / "not-run.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if len(cells) == 3 and cells[0].endswith(".md"):
            rows[cells[0], cells[1].strip("`").replace("\\|", "|")] = cells[2]
    return rows
