"""Recorded traffic, where the machine has it: whole and re-cut, every case folds to what it must."""

import json
import os
from collections import Counter
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from tests.wire.replay import body_of, covered, cuttings, differences

CORPUS = os.environ.get("FLOWLLM_WIRE_CORPUS", "")
FILES = sorted(Path(CORPUS).glob("*/*.json")) if CORPUS else []


def _load():
    return [json.loads(path.read_text(encoding="utf-8")) for path in FILES]


CASES = _load()
OURS = [case for case in CASES if covered(case)]


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_the_corpus_is_read_and_counted(capsys):
    features = Counter((case["provider"], case["protocol"], case["feature"]) for case in OURS)
    others = Counter((case["protocol"], case["expected"]["kind"]) for case in CASES if not covered(case))
    with capsys.disabled():
        print(f"\nrecorded traffic: {len(OURS)} of {len(CASES)} cases")  # noqa: T201
        for (provider, protocol), group in groupby(sorted(features), key=itemgetter(0, 1)):
            print(f"  {provider} {protocol}:", ", ".join(f"{key[2]} {features[key]}" for key in group))  # noqa: T201
        print("out of scope:", ", ".join(f"{p} {k} {n}" for (p, k), n in sorted(others.items())))  # noqa: T201
    assert OURS


@pytest.mark.parametrize("case", OURS, ids=lambda case: case["id"])
def test_a_recorded_answer_folds_to_what_it_must_however_it_is_cut(case):
    for chunks in cuttings(body_of(case), case["id"]):
        assert differences(case, chunks) == {}, f"cut {[len(c) for c in chunks][:3]}"
