"""How good are the chosen sentences? ``python -m tests.bench.summary_quality`` prints the table.

Every text of ``summaries/`` is cut and summarised as ``pipelines/summarize.yaml`` does it, with as many words
as its labelled sentences have. Three ways are compared at the same budget: `select`, the first sentences (lead),
and random ones (the mean of many seeds). A fourth line, the longest sentences first, shows how much of the
result sheer length would explain: the labels were set by one reader who keeps long sentences.

- F1: words in chosen sentences that are also in labelled ones, precision and recall by place in the text.
- ROUGE-1: the share of the labelled sentences' words, as a bag of folded words, that the summary holds.
- key: the share of texts whose one key sentence was chosen.
"""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from flowllm.core.scope import Scope
from flowllm.nodes.select import Select
from flowllm.text.lexical import vectors
from flowllm.text.sentences import split_sentences

FOLDER = Path(__file__).with_name("summaries")
SLACK, SEEDS = 0.15, 200
SELECT = Select(by="centrality", unit="words", slack=SLACK, diversity=0.3, order="input")
Way = Callable[["Labelled"], list[int]]


@dataclass(frozen=True)
class Labelled:
    """Sentences as our splitter gives them; ``kept`` and ``key`` are indexes of those that the labels touch."""

    name: str
    parts: list[str]
    kept: frozenset[int]
    key: frozenset[int]

    @property
    def sizes(self) -> list[int]:
        return [len(part.split()) for part in self.parts]

    @property
    def budget(self) -> int:
        return sum(self.sizes[index] for index in self.kept)


def labelled() -> Iterator[Labelled]:
    for path in sorted(FOLDER.glob("*.txt")):
        text, labels = path.read_text("utf-8"), json.loads(path.with_suffix(".json").read_text("utf-8"))
        parts, spans = [], []
        position = 0
        for part, gap in zip(*split_sentences(text), strict=True):
            if part:
                parts.append(part)
                spans.append((position, position + len(part)))
            position += len(part) + len(gap)
        touched = {True: set(), False: set()}
        for label in labels["keep"]:
            start = labels["starts"][label["index"]]
            end = start + len(label["text"])
            assert text[start:end] == label["text"]
            touched[label["key"]] |= {i for i, (a, b) in enumerate(spans) if a < end and b > start}
        yield Labelled(path.stem, parts, frozenset(touched[True] | touched[False]), frozenset(touched[True]))


def select(text: Labelled) -> list[int]:
    found = SELECT.run(Scope(), vectors=vectors(text.parts), items=text.parts, budget=text.budget)
    return asyncio.run(found)["indexes"]


def in_order(text: Labelled, order: Sequence[int]) -> list[int]:
    """Sentences in the given order, within the same room."""
    chosen, total = [], 0
    for index in order:
        if total + text.sizes[index] <= text.budget * (1 + SLACK):
            chosen.append(index)
            total += text.sizes[index]
        if total >= text.budget * (1 - SLACK):
            break
    return chosen


def lead(text: Labelled) -> list[int]:
    return in_order(text, range(len(text.parts)))


def longest(text: Labelled) -> list[int]:
    return in_order(text, sorted(range(len(text.parts)), key=lambda index: -text.sizes[index]))


def shuffled(seed: int) -> Way:
    return lambda text: in_order(text, random.Random(seed).sample(range(len(text.parts)), len(text.parts)))


def f1(text: Labelled, chosen: Sequence[int]) -> float:
    both = sum(text.sizes[index] for index in set(chosen) & text.kept)
    return 2 * both / (sum(text.sizes[index] for index in chosen) + text.budget)


def rouge(text: Labelled, chosen: Sequence[int]) -> float:
    said, wanted = (Counter(w for i in some for w in text.parts[i].casefold().split()) for some in (chosen, text.kept))
    return (said & wanted).total() / wanted.total()


def figures(texts: Sequence[Labelled], way: Way) -> tuple[float, float, float]:
    """F1, ROUGE-1 recall and share of key sentences, each the mean over the texts."""
    chosen = [(text, way(text)) for text in texts]
    keys = mean(bool(text.key & set(indexes)) for text, indexes in chosen)
    return mean(f1(*pair) for pair in chosen), mean(rouge(*pair) for pair in chosen), keys


def table(seeds: int = SEEDS) -> dict[str, tuple[float, float, float]]:
    texts = list(labelled())
    drawn = [figures(texts, shuffled(seed)) for seed in range(seeds)]
    return {
        "select": figures(texts, select),
        "lead": figures(texts, lead),
        "random": (mean(d[0] for d in drawn), mean(d[1] for d in drawn), mean(d[2] for d in drawn)),
        "longest first": figures(texts, longest),
    }


def lines(rows: dict[str, tuple[float, float, float]]) -> Iterator[str]:
    yield f"{'':15}{'F1':>7}{'ROUGE-1':>9}{'key':>7}   select is better in F1 by"
    for name, (score, recall, key) in rows.items():
        yield f"{name:15}{score:7.3f}{recall:9.3f}{key:7.2f}   {rows['select'][0] / score:.2f} x"


if __name__ == "__main__":
    print("\n".join(lines(table())))  # noqa: T201  the command's work
