"""P5: from YAML to a plan, against OmegaConf reading the same text; large graphs by the Python API."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from omegaconf import OmegaConf

from flowllm.api import Flow
from tests.bench.graphs import ENVIRONMENT, Needs, chain, mapping
from tests.bench.row import Row, Size, Target, cpu, in_turns, row

_TEMPLATES = """\
  n{i}:
    kind: prompt
    text: |
      Part {i} of {salt}: {{{{ n{j}.text }}}}
      {{% for word in inputs.words %}}- {{{{ word | upper }}}}
      {{% endfor %}}
"""
_PATHS = """\
  n{i}:
    kind: truncate
    in: {{text: n{j}.text}}
    max_tokens: {tokens}
"""


def text(count: int, node: str, salt: int) -> str:
    """A file of ``count`` nodes in a chain; no template of it was ever compiled before."""
    head = "inputs: {words: {type: array, items: {type: string}}}\nnodes:\n  n0: {kind: prompt, text: hello}\n"
    nodes = (node.format(i=i, j=i - 1, salt=salt, tokens=1000 + salt) for i in range(1, count))
    return head + "".join(nodes) + f"outputs: {{o: n{count - 1}.text}}\n"


def _from_yaml(name: str, node: str, size: Size, folder: Path) -> Row:
    count, salts, file = size.of(1000, 10), iter(range(10**6)), folder / "large.yaml"

    def load() -> float:
        file.write_text(text(count, node, next(salts)), "utf-8")
        return cpu(lambda: Flow.load(file, environment=ENVIRONMENT).plan) * 1e3

    def floor() -> float:
        written = text(count, node, next(salts))
        return cpu(lambda: OmegaConf.create(written)) * 1e3

    return row(f"P5 1,000 nodes, {name}", *in_turns(size.rounds, load, floor), Target(3), "ms", "OmegaConf.create")


def wide(count: int) -> Needs:
    """Each node needs two earlier ones."""
    return [[], *([i - 1, i // 2] if i // 2 != i - 1 else [i - 1] for i in range(1, count))]


def _from_python(shape: Callable[[int], Needs], count: int, size: Size) -> Row:
    graph = mapping(shape(size.of(count, 10)), "quick")
    rounds = max(1, size.rounds // 2)
    (seconds,) = in_turns(rounds, lambda: cpu(lambda: Flow.of(graph, environment=ENVIRONMENT).plan))
    return Row(f"P5 {shape.__name__} graph of {count:,}", median(seconds), None, None, Target(2, "ours"), "s")


def measure(size: Size) -> list[Row]:
    """1,000 nodes from a file, with templates and by paths; 10,000 and a chain of 5,000 from a mapping."""
    with TemporaryDirectory() as folder:
        rows = [
            _from_yaml(name, node, size, Path(folder)) for name, node in (("templates", _TEMPLATES), ("paths", _PATHS))
        ]
    return [*rows, _from_python(wide, 10_000, size), _from_python(chain, 5000, size)]
