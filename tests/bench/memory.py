"""P10: the largest resident set of a process that truncates, splits and maps over parts of a 10 MB text."""

from statistics import median

from tests.bench.processes import Place, place
from tests.bench.row import Row, Size, Target

BYTES = 10_000_000
_TEXT = """\
import sys
words = int(sys.argv[1]) // 9
text = "".join(f"word{i:04d}" + (". " if i % 12 == 11 else "\\n\\n" if i % 120 == 119 else " ") for i in range(words))
"""
_OURS = (
    _TEXT
    + """
from flowllm import Flow
flow = Flow.of({
    "inputs": {"text": "string"},
    "nodes": {
        "short": {"kind": "truncate", "in": {"text": "inputs.text"}, "max_tokens": 10_000_000},
        "parts": {"kind": "split", "in": {"text": "short.text"}, "by": "paragraphs", "max_tokens": 500},
        "note": {"kind": "call", "each": "parts.parts", "model": "mock/echo", "prompt": "Sum up: {{ item }}"},
    },
    "outputs": {"notes": "note.items[].text"},
})
notes = flow.run({"text": text}).outputs["notes"]
assert sum(map(len, notes)) > len(text) * 0.9, (len(notes), len(text))
"""
)
_FLOOR = _TEXT + 'parts = text.split("\\n\\n"); notes = ["Sum up: " + part for part in parts]'


def _largest(spot: Place, script: str, size: Size) -> float:
    return median(spot.megabytes(script, str(size.of(BYTES))) for _ in range(min(3, size.rounds)))


def measure(size: Size) -> list[Row]:
    """Megabytes at the peak; the floor holds the same text and its parts."""
    with place() as spot:
        ours, floor = _largest(spot, _OURS, size), _largest(spot, _FLOOR, size)
    title = "P10 truncate, split, map over 10 MB"
    return [Row(title, ours, floor, ours / floor, Target(300, "ours"), "MB", "bare split")]
