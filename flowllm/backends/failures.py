"""What a provider's error means: one table for all dialects of JSON errors, and the retry hints.

Order of judgement: a word that machines are meant to read (``code``, ``type``, ``status``), then a
clear message, then the HTTP status. An error inside a 200 answer is judged the same way, its own
number standing for the status.
"""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from flowllm.backends.limit_resets import reset_after
from flowllm.core.errors import ProviderFacts, ProviderFailure

SNIPPET = 200
"""Characters of an answer that is not understood which may stand in a message."""
LONGEST = 2_000
"""Characters of a provider's own words that are read and shown."""

_WORDS = {
    "quota": (
        "insufficient_quota billing_not_active billing_hard_limit_reached insufficient_balance "
        "insufficient_credits payment_required exceeded_current_quota_error servicequotaexceededexception "
        "token_quota_reached"
    ),
    "context_too_long": "context_length_exceeded context_window_exceeded model_context_window_exceeded",
    "auth": (
        "invalid_api_key authentication_error unauthorized invalid_authentication_error unauthenticated "
        "api_key_invalid incorrect_api_key expired_api_key expiredtokenexception unrecognizedclientexception "
        "invalidsignatureexception incompletesignatureexception missingauthenticationtokenexception "
        "invalidclienttokenid"
    ),
    "permission": (
        "permission_denied permission_error insufficient_permissions forbidden access_denied "
        "unsupported_country_region_territory accessdeniedexception"
    ),
    "not_found": (
        "model_not_found not_found_error deploymentnotfound not_found resource_not_found unknown_model "
        "resourcenotfoundexception unknownoperationexception"
    ),
    "rate_limited": (
        "rate_limit_exceeded rate_limit_error ratelimitreached too_many_requests resource_exhausted "
        "throttlingexception tokens_exceeded_error modelnotreadyexception consumption_limit_reached"
    ),
    "overloaded": "overloaded_error overloaded capacity_exceeded engine_overloaded_error unavailable",
    "server_error": "server_error internal_server_error internal_error",
    "conflict": "modeltimeoutexception",
    "content_filter": (
        "content_filter content_policy_violation responsibleaipolicyviolation moderation_blocked data_inspection_failed"
    ),
    "bad_request": "unsupported_parameter unsupported_value tool_use_failed",
}
_BY_WORD = {word: code for code, words in _WORDS.items() for word in words.split()}
_BROAD_WORDS = {"validationexception": "bad_request", "validationerror": "bad_request"}
"""Words that a clear message outdoes."""

_MESSAGES = (
    (
        "context_too_long",
        (
            r"(maximum|max|available|model'?s?) context|context (length|window|limit|size)"
            r"|(prompt|input|request) is too long|prompt too long|too many (input )?tokens(?!.{0,20}please wait)"
            r"|maximum prompt length|input token count.*exceeds|reduce the length of"
            r"|tokens.{0,40}must be <=|exceeds? the (maximum|limit).{0,30}tokens"
        ),
    ),
    ("auth", r"(invalid|incorrect|missing|expired) (api[ -_]?key|authentication)|api key not valid"),
    (
        "quota",
        (
            r"exceeded your current quota|insufficient (balance|credits|funds|quota)|credit balance is too low"
            r"|out of credits|billing (hard )?limit"
        ),
    ),
    ("content_filter", r"content (management|usage|filter(ing)?) policy|safety system|content_filter"),
)
"""Patterns of what a message says, in any case."""
_MESSAGE_NAMES = ("message", "detail", "title", "Message", "errorMessage")
_MESSAGE_STATUSES = frozenset({200, 400, 402, 403, 413, 422, 429})

_BY_STATUS = {
    401: "auth",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "conflict",
    409: "conflict",
    425: "conflict",
    429: "rate_limited",
    498: "overloaded",
    529: "overloaded",
}
_TOO_MANY = 429
_SERVER_ERROR = 500
_SECONDS = r"[0-9]{1,9}(\.[0-9]{1,3})?"
_DELAY = r"([0-9]{1,9}(\.[0-9]{1,9})?)s"


def failure_of(status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
    """An answer with an error status; the message is the provider's own words where it has any.

    ``headers`` have lower-case names.
    """
    data = _json(body)
    message, words = _read(data)
    code = _judge(status, message, (*_words([amazon_word(headers.get("x-amzn-errortype"))]), *words))
    wait = retry_after(headers, data)
    facts = ProviderFacts(
        status=status,
        request_id=request_id(headers),
        # Where no limit was hit, they tell of one that may never be.
        retry_after=reset_after(headers) if wait is None and status == _TOO_MANY else wait,
        should_retry={"true": True, "false": False}.get(headers.get("x-should-retry", "").lower()),
    )
    return ProviderFailure(code, message or _no_words(status, body), facts=facts)


def failure_inside(data: Any, partial_text: str = "") -> ProviderFailure:
    """An error object that came inside an answer with status 200."""
    message, words = _read(data)
    status = next((int(word) for word in words if _is_error_status(word)), 200)
    code = _judge(status, message, words, inside=True)
    facts = ProviderFacts(
        status=None if status == 200 else status,  # noqa: PLR2004
        retry_after=retry_after({}, data),
        partial_text=partial_text,
    )
    return ProviderFailure(code, message or snippet(orjson.dumps(data)), facts=facts)


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the exchange, from whichever header has it."""
    names = ("x-request-id", "request-id", "apim-request-id", "mistral-correlation-id", "x-amzn-requestid", "cf-ray")
    return next((headers[name] for name in names if headers.get(name)), None)


def snippet(body: bytes) -> str:
    """The beginning of a body, on one line, for a message."""
    text = " ".join(body[: SNIPPET * 4].decode("utf-8", "replace").split())
    return text if len(text) <= SNIPPET else text[: SNIPPET - 1] + "…"


def retry_after(headers: Mapping[str, str], data: Any = None, now: float | None = None) -> float | None:
    """Seconds that the provider asks to wait, None when it says nothing that is understood.

    Read in order: ``retry-after-ms``, ``x-ms-retry-after-ms``, ``retry-after`` (seconds or a date; a
    past one is 0), RetryInfo of the body. Milliseconds of 0 give way to what ``retry-after`` says.
    ``now`` is seconds since 1970; by default the server's own ``date``, else the clock.
    """
    for name in ("retry-after-ms", "x-ms-retry-after-ms"):
        value = headers.get(name, "").strip()
        if re.fullmatch(_SECONDS, value) and float(value) > 0:
            return float(value) / 1000
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(_SECONDS, value):
        return float(value)
    if "," in value and (date := _date(value)) is not None:
        return max(0.0, date - (now or _date(headers.get("date", "")) or time.time()))
    return 0.0 if headers.get("retry-after-ms", "").strip() == "0" else _retry_info(data)


def _date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _retry_info(data: Any) -> float | None:
    error = _error_of(data)
    details = error.get("details") if isinstance(error, dict) else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and (match := re.fullmatch(_DELAY, delay)):
            return float(match[1])
    return None


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _error_of(data: Any) -> Any:
    if isinstance(data, list):
        data = data[0] if data else None
    if isinstance(data, dict):
        for name in ("error", "errors"):
            if data.get(name):
                error = data[name]
                return error[0] if isinstance(error, list) else error
    return data


def _read(data: Any) -> tuple[str, tuple[str, ...]]:
    """The provider's words, of `LONGEST` characters at most, and those meant for machines, of any dialect."""
    error = _error_of(data)
    outer = data if isinstance(data, dict) else {}
    if isinstance(error, str):
        return _short(error), tuple(_words(outer.get(name) for name in ("code", "type", "error_type")))
    if not isinstance(error, dict):
        return "", ()
    message = next((m for name in _MESSAGE_NAMES if (m := _text(error.get(name)))), "")
    inner = error.get("innererror") or {}
    details = error.get("details")
    reasons = [d.get("reason") for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    fields = [error.get(n) for n in ("code", "type", "status", "status_code", "reason", "error_type", "errorCode")]
    fields.append(amazon_word(error.get("__type")))
    return _short(message), tuple(_words([*fields, *reasons, inner.get("code") if isinstance(inner, dict) else None]))


def _short(message: str) -> str:
    return message if len(message) <= LONGEST else message[: LONGEST - 1] + "…"


def _words(values: Iterable[Any]) -> Iterable[str]:
    return (str(value).strip().lower() for value in values if isinstance(value, str | int))


def amazon_word(said: Any) -> str:
    """The type of an error as Amazon's services name it, without the space before and the address behind it."""
    return said.partition(":")[0].rpartition("#")[2] if isinstance(said, str) else ""


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text(value.get("message"))
    if isinstance(value, list):
        return "; ".join(filter(None, (_text(v.get("msg")) for v in value if isinstance(v, dict))))
    return ""


def _judge(status: int, message: str, words: Sequence[str], *, inside: bool = False) -> str:
    for word in words:
        code = _BY_WORD.get(word, "")
        # Gateways write this word beside every status; a limit that was hit is clearer than it.
        if code and not (code == "server_error" and status == _TOO_MANY):
            return code
    if status in _MESSAGE_STATUSES:
        for code, pattern in _MESSAGES:
            if re.search(pattern, message, re.IGNORECASE):
                return code
    for word in words:
        if word in _BROAD_WORDS:
            return _BROAD_WORDS[word]
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    # A failure that a provider reports after it began to answer is its own unless it says otherwise.
    return "server_error" if (inside and status < 400) or status >= _SERVER_ERROR else "bad_request"  # noqa: PLR2004


def _is_error_status(word: str) -> bool:
    return len(word) == 3 and word.isascii() and word.isdigit() and word[0] in "45"  # noqa: PLR2004


def _no_words(status: int, body: bytes) -> str:
    text = snippet(body)
    return f"HTTP status {status}" + (f": {text}" if text else " without a word")
