"""Recorded traffic, where the machine has it: whole and re-cut, every case folds to what it must."""

import json
import os
from collections import Counter
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from tests.wire.counts import FILE, cases, counted
from tests.wire.replay import body_of, covered, cuttings, differences

CORPUS = os.environ.get("FLOWLLM_WIRE_CORPUS", "")
ROOT = Path(__file__).resolve().parents[2]
CASES = cases(CORPUS) if CORPUS else []
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


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_the_counts_that_the_reference_shows_are_those_of_the_recordings():
    told, found = json.loads(FILE.read_text("utf-8")), counted(CORPUS)
    if told["digest"] != found["digest"]:
        pytest.skip("the counts were written from other recordings")
    assert told == found, "FLOWLLM_WIRE_CORPUS=FOLDER python -m tests.wire.counts"


@pytest.mark.skipif(not CORPUS, reason="FLOWLLM_WIRE_CORPUS names no folder of recorded traffic")
def test_no_case_is_named_in_the_code():
    code = [*(ROOT / "flowllm").rglob("*.py"), *(ROOT / "tests/wire").rglob("*.py")]
    text = "\n".join(path.read_text("utf-8") for path in code)
    assert [case["id"] for case in CASES if case["id"] in text] == []
