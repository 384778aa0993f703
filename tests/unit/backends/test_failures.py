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


@pytest.mark.parametrize(
    ("status", "code"), [(429, "rate_limited"), (400, "server_error"), (500, "server_error"), (503, "server_error")]
)
def test_a_limit_that_was_hit_outdoes_the_word_that_gateways_write_beside_everything(status, code):
    body = {"error": {"message": "no", "type": "server_error", "code": None}}
    assert failure_of(status, {}, json.dumps(body).encode()).code == code


@pytest.mark.parametrize("form", ["{}", "com.amazonaws.bedrock#{}", "{}:http://internal.example/", "a.b#{}:http://x/"])
@pytest.mark.parametrize("place", ["header", "body"])
def test_amazon_s_word_is_read_in_every_form_it_has(form, place):
    said = form.format("ThrottlingException")
    headers, body = ({"x-amzn-errortype": said}, {}) if place == "header" else ({}, {"__type": said})
    assert failure_of(400, headers, json.dumps(body | {"message": "slow down"}).encode()).code == "rate_limited"


def test_the_words_of_ibm_are_read():
    found = failure_of(400, {}, b'{"errorCode":"BXNIM0415E","errorMessage":"Provided API key could not be found."}')
    assert (found.code, found.message) == ("bad_request", "Provided API key could not be found.")
    assert failure_of(500, {}, b'{"errorCode":"too_many_requests","errorMessage":"no"}').code == "rate_limited"
