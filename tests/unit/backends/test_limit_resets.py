"""When a limit starts anew: names, values, and the order among all hints."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.backends.failures import failure_of
from flowllm.backends.limit_resets import reset_after

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
TOKENS, REQUESTS = "x-ratelimit-reset-tokens", "x-ratelimit-reset-requests"
LEFT = "x-ratelimit-remaining-tokens"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("17ms", 0.017),
        ("6m0s", 360.0),
        ("1h2m3.5s", 3723.5),
        ("59.999s", 59.999),
        ("2m", 120.0),
        ("0s", 0.0),
        ("1s500ms", 1.5),
        ("26", 26.0),
        ("11.38", 11.38),
        ("2026-11-22T12:00:30Z", 30.0),
        ("2026-11-22T13:00:30+01:00", 30.0),
        ("2026-11-22T11:00:00Z", 0.0),
        (str(int(NOW) + 5), 5.0),
        (str(int(NOW + 5) * 1000), 5.0),
        ("2026-13-22T12:00:30Z", None),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("5 s", None),
        ("m", None),
    ],
)
def test_a_value(value, seconds):
    assert reset_after({TOKENS: value}, NOW) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({REQUESTS: "1s", TOKENS: "6s"}, 6.0),
        ({REQUESTS: "1s", TOKENS: "6s", LEFT: "12"}, 1.0),
        ({TOKENS: "6s", LEFT: "12"}, None),
        ({TOKENS: "6s", LEFT: "0"}, 6.0),
        ({"anthropic-ratelimit-input-tokens-reset": "2026-11-22T12:00:09Z",
          "anthropic-ratelimit-input-tokens-remaining": "0",
          "anthropic-ratelimit-requests-reset": "2026-11-22T12:00:50Z",
          "anthropic-ratelimit-requests-remaining": "49"}, 9.0),
        ({TOKENS: "6s", "anthropic-ratelimit-tokens-reset": "2026-11-22T12:00:09Z"}, 6.0),
        ({"x-ratelimit-reset-tokens-minute": "7"}, 7.0),
        ({"ratelimitbysize-reset": "26", "ratelimitbysize-remaining": "0"}, 26.0),
        ({"x-ratelimit-renewalperiod-tokens": "60", "x-ratelimit-remaining-tokens": "0"}, 60.0),
        ({"ratelimit-reset": "1", "ratelimit-remaining": "0"}, 1.0),
        ({"ratelimit-reset": "1", "ratelimit-remaining": "2999"}, None),
        ({"x-ratelimit-limit-tokens": "10"}, None),
    ],
)  # fmt: skip
def test_which_limit_counts(headers, seconds):
    assert reset_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (429, {"retry-after-ms": "500", "retry-after": "3", TOKENS: "6s"}, 0.5),
        (429, {"retry-after": "3", TOKENS: "6s"}, 3.0),
        (429, {"retry-after": "soon", TOKENS: "6s"}, 6.0),
        (429, {TOKENS: "6s"}, 6.0),
        (400, {TOKENS: "6s"}, None),
        (503, {TOKENS: "6s"}, None),
    ],
)
def test_the_order_of_hints(status, headers, seconds):
    assert failure_of(status, headers, b"{}").facts.retry_after == seconds


def test_the_body_comes_before_the_limits():
    body = b'{"error": {"code": 429, "details": [{"@type": "RetryInfo", "retryDelay": "48s"}]}}'
    assert failure_of(429, {TOKENS: "6s"}, body).facts.retry_after == 48.0


@given(st.text(max_size=30))
def test_any_text_is_a_span_that_is_not_negative_or_nothing(value):
    found = reset_after({TOKENS: value}, NOW)
    assert found is None or found >= 0
