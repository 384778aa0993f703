import json

import pytest

from flowllm.backends.failures import LONGEST, failure_inside, failure_of

LONG = "input token count " * 400_000


@pytest.mark.parametrize(
    "failure",
    [
        lambda: failure_of(400, {}, json.dumps({"error": {"message": LONG}}).encode()),
        lambda: failure_of(400, {}, json.dumps({"error": LONG}).encode()),
        lambda: failure_of(422, {}, json.dumps({"detail": [{"msg": "input token count"}] * 40_000}).encode()),
        lambda: failure_inside({"error": {"code": 400, "message": LONG}}),
    ],
)
def test_of_a_long_message_a_beginning_is_read_and_shown(failure):
    """Megabytes of these words, searched to their end from each of them, take minutes."""
    failed = failure()
    assert failed.code == "bad_request"
    assert failed.message.startswith("input token count")
    assert failed.message.endswith("…")
    assert len(failed.message) == LONGEST


def test_a_message_of_the_longest_length_is_shown_whole():
    said = "a" * LONGEST
    assert failure_of(400, {}, json.dumps({"error": {"message": said}}).encode()).message == said
