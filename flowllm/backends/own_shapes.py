"""What a provider tells in shapes of its own, by paths that its file names: counts of tokens, and errors."""

from collections.abc import Mapping
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict

from flowllm.backends.answer_paths import AnswerPath, found_at
from flowllm.backends.answers import count_of
from flowllm.backends.failures import failure_inside, failure_of
from flowllm.core.delta import Usage
from flowllm.core.errors import ProviderFailure

ErrorCode = Literal[
    "auth",
    "permission",
    "quota",
    "rate_limited",
    "overloaded",
    "server_error",
    "not_found",
    "bad_request",
    "content_filter",
    "context_too_long",
    "conflict",
]


class _Data(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True, defer_build=True
    )


class UsagePaths(_Data):
    """Where an answer, or an event of it, has its counts of tokens; as a stream goes on, the last count holds."""

    input: AnswerPath | None = None
    output: AnswerPath | None = None
    cached_input: AnswerPath | None = None
    cache_write: AnswerPath | None = None
    reasoning: AnswerPath | None = None

    def read(self, answer: Any) -> Usage | None:
        """The counts, None where there is none of them."""
        paths = (self.input, self.output, self.cached_input, self.cache_write, self.reasoning)
        read, written, cached, kept, thought = (count_of(found_at(path, answer)) for path in paths)
        usage = Usage(read, written, cached, kept, thought)
        return None if usage == Usage() else usage


class ErrorShape(_Data):
    """Where an error has its words and its code. ``codes`` say what a code means, ``statuses`` what a status does.

    A code that ``codes`` do not name is read as those of other providers are, and so are the words.
    """

    message: AnswerPath | None = None
    code: AnswerPath | None = None
    codes: Mapping[str, ErrorCode] = {}
    statuses: Mapping[int, ErrorCode] = {}

    def is_in(self, answer: Any) -> bool:
        """Whether an answer is an error of this shape."""
        return bool(found_at(self.message, answer) or found_at(self.code, answer))

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> ProviderFailure:
        """An answer with an error status."""
        answer = _json(body)
        if self.is_in(answer):
            body = orjson.dumps(self._usual(answer))
        return self._meant(failure_of(status, headers, body), answer, status)

    def inside(self, answer: Any) -> ProviderFailure:
        """An error inside of an answer that began well."""
        return self._meant(failure_inside(self._usual(answer)), answer)

    def _usual(self, answer: Any) -> dict[str, Any]:
        message, code = found_at(self.message, answer), found_at(self.code, answer)
        return {"error": {"message": str(message or code), "code": code}}

    def _meant(self, failure: ProviderFailure, answer: Any, status: int = 0) -> ProviderFailure:
        code = self.codes.get(str(found_at(self.code, answer))) or self.statuses.get(status)
        if code is None:
            return failure
        return ProviderFailure(code, failure.message, facts=failure.facts, hint=failure.hint)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
