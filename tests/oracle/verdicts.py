"""What every oracle does with the rows it reads: judge each, and print all verdicts as the golden file.

The standard library alone: the environments of oracles hold a vendor's package and nothing of the project.
"""

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Judge = Callable[[Mapping[str, Any]], str]
"""A row with ``method``, ``path`` and ``body`` to what is wrong with it, empty where the vendor accepts it."""


def main(
    oracle: str, judge: Judge, planted: Iterable[Mapping[str, Any]], exceptions: Mapping[str, str] | None = None
) -> None:
    """Read rows from stdin and print the verdicts; ``oracle`` names the package and its version.

    ``planted`` are rows with a mistake each: an oracle that lets one pass is none. ``exceptions`` are complaints
    that are known, with the reason why such a request is sent all the same: it is kept with the verdict.
    """
    known = exceptions or {}
    for row in planted:
        if _verdict(row, judge, known).get("accepted", True):
            sys.exit(f"{oracle} accepts what it must not: {json.dumps(row)[:300]}")
    verdicts: dict[str, dict[str, Any]] = {}
    for line in sys.stdin:
        row = json.loads(line)
        verdicts.setdefault(row["target"], {})[row["request"]] = _verdict(row, judge, known)
    json.dump({"oracle": oracle, "verdicts": verdicts}, sys.stdout, indent=1, ensure_ascii=False, sort_keys=True)
    sys.stdout.write("\n")


def _verdict(row: Mapping[str, Any], judge: Judge, known: Mapping[str, str]) -> dict[str, Any]:
    if "refused" in row:
        return {"refused": row["refused"]}
    try:
        why = judge(row)
    except Exception as error:  # noqa: BLE001  whatever a vendor's package raises is its verdict
        why = f"{type(error).__name__}: {error}"
    complaints = why.split("; ")
    if why and known.keys() >= set(complaints):
        return {"digest": row.get("digest", ""), "excepted": known[complaints[0]], "why": why}
    return {"digest": row.get("digest", ""), "accepted": not why, **({"why": why} if why else {})}
