"""How many recorded answers of each provider and format pass, by what they show.

``FLOWLLM_WIRE_CORPUS=FOLDER python -m tests.wire.counts`` writes `FILE`; where the recordings are, a test compares.
The digest says from which recordings it was written.
"""

import hashlib
import json
import os
import sys
from collections import Counter
from pathlib import Path

from tests.wire.replay import body_of, covered, differences

FILE = Path(__file__).with_name("recorded.json")
FEATURES = {
    "tools": "tools",
    "parallel-tools": "parallel_tools",
    "vision": "images",
    "reasoning": "reasoning",
    "cache-read": "caching",
    "cache-write": "caching",
    "citations": "citations",
}
"""Words of the recordings by those of provider files."""
TASKS = {"chat": "chat", "embeddings": "embed", "rerank": "rerank"}
SHAPES = {"schema", "json_schema", "jsonSchema", "responseSchema", "responseJsonSchema", "response_schema"}
"""Words of requests that ask for an answer of a shape."""


def cases(folder):
    """Every recorded exchange of a folder."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(Path(folder).glob("*/*.json"))]


def shown(case):
    """What a case is evidence of: a task, and what the answer, or a shape that was asked for, shows of it."""
    kind = case["expected"]["kind"]
    if kind not in TASKS:
        return {kind}
    found = {TASKS[kind]}
    if kind == "chat":
        found |= {FEATURES[tag] for tag in {case["feature"], *case["tags"]} & FEATURES.keys()}
        found |= {"tools"} if "parallel_tools" in found else set()
        found |= {"streaming"} if case["stream"] else set()
        found |= {"json_schema"} if _asks_for_a_shape(case["request"].get("json")) else set()
    return found


def _asks_for_a_shape(body):
    if isinstance(body, list):
        return any(map(_asks_for_a_shape, body))
    if not isinstance(body, dict):
        return False
    own = any(isinstance(body.get(word), dict) for word in SHAPES) or isinstance(body.get("format"), dict)
    return own or any(_asks_for_a_shape(value) for word, value in body.items() if word != "tools")


def counted(folder):
    """Provider, protocol and what is shown, to the number of cases that fold to what they must."""
    found = cases(folder)
    passed = [case for case in found if covered(case) and not differences(case, [body_of(case)])]
    counts = Counter((case["provider"], case["protocol"], word) for case in passed for word in shown(case))
    told = {}
    for (provider, protocol, word), number in sorted(counts.items()):
        told.setdefault(provider, {}).setdefault(protocol, {})[word] = number
    digest = hashlib.sha256("\n".join(sorted(case["id"] for case in found)).encode()).hexdigest()[:16]
    return {"digest": digest, "cases": len(found), "passed": len(passed), "providers": told}


if __name__ == "__main__":
    FILE.write_text(json.dumps(counted(os.environ["FLOWLLM_WIRE_CORPUS"]), indent=1) + "\n", "utf-8")
    sys.stdout.write(f"wrote {FILE.name}\n")
