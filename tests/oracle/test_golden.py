"""What vendors' own types said of the requests that the wires encode; the packages themselves are not needed."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.oracle.encoded import TARGETS, encoded
from tests.oracle.requests import CHATS

GOLDEN = Path(__file__).with_name("golden")
ROWS = {(name, row["target"], row["request"]): row for name in TARGETS for row in encoded(name)}


def _verdicts():
    for name in TARGETS:
        told = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
        for target, verdicts in told["verdicts"].items():
            yield from (((name, target, request), verdict) for request, verdict in verdicts.items())


VERDICTS = dict(_verdicts())


def test_every_request_has_a_verdict_and_every_verdict_a_request():
    assert VERDICTS.keys() == ROWS.keys()
    assert {path.stem for path in GOLDEN.glob("*.json")} == TARGETS.keys() | {"prices"}
    locks = Path(__file__).parents[2].glob("bin/requirements/oracle-*.txt")
    others = {"prices", "local", "peers", "builder"}
    assert {path.stem.removeprefix("oracle-") for path in locks} == TARGETS.keys() | others


def test_each_wire_is_asked_for_all_chats():
    assert len(CHATS) >= 30
    asked = Counter((name, target) for name, target, request in VERDICTS if request in CHATS)
    assert set(asked) == {(name, one.name) for name in TARGETS for one in TARGETS[name] if one.task == "chat"}
    assert set(asked.values()) == {len(CHATS)}


@pytest.mark.parametrize("key", ROWS, ids=" / ".join)
def test_what_is_sent_is_what_the_vendor_accepted(key):
    row, verdict = ROWS[key], VERDICTS[key]
    if "refused" in row:
        assert verdict == {"refused": row["refused"]}
    else:
        assert verdict["digest"] == row["digest"], f"what is sent changed: bin/oracle {key[0]}"
        assert verdict.get("accepted") or verdict["excepted"], verdict


def test_what_is_sent_against_the_types_is_known():
    excepted = Counter((key[0], key[2]) for key, verdict in VERDICTS.items() if "excepted" in verdict)
    assert excepted == {("anthropic", "sampling"): 3, ("anthropic", "temperature of zero"): 3}
