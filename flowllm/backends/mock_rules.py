"""Rules that the provider ``mock`` answers by: when one matches, and what is answered.

mock:
  - {match: "(?i)translate", reply: Bonjour}
  - {match: {path: "$.messages[0].role", equals: system}, model: judge, replies: [{score: 1}, {score: 2}]}
  - {match: limit, error: {status: 429, retry_after: 2}}
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from flowllm.core.durations import Duration
from flowllm.core.errors import PipelineInvalid, Problem
from flowllm.core.origin import UNKNOWN, Origin
from flowllm.text.misfits import Part, Steps, misfits

Place = Callable[[Steps, Part], Origin]
"""Where the key or the value stands that steps lead to."""

_EXAMPLE = '- {match: "(?i)hello", reply: Hi there}'
_EXAMPLES = {
    "match": '"(?i)hello"',
    "model": "judge",
    "replies": "[first, second]",
    "error": "{status: 429, retry_after: 2}",
    "status": "429",
    "retry_after": "2",
    "latency": "200ms",
    "cut": "40",
    "path": '"$.messages[0].content"',
}
_STEP = r"(?a)\.([A-Za-z_]\w*)|\[(\d+)\]"


class MockError(BaseModel):
    """An error in place of a reply. ``code`` is the provider's word; ``message`` its sentence."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    status: int
    retry_after: float | None = None
    code: str | None = None
    message: str = "the mock was told to fail"


class PathMatch(BaseModel):
    """A place in the body sent, ``$.messages[0].content``: it must be there, and be ``equals`` or match where given."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    path: str
    equals: Any = None
    matches: str | None = None


class MockRule(BaseModel):
    """When it matches, and what is answered: one of ``reply``, ``replies`` or ``error``.

    ``match`` is a regular expression searched in the prompt, every message as ``role: text`` on
    lines of their own (``^`` and ``$`` mean lines); absent, it always matches. The last of
    ``replies`` is repeated. A reply is text, or any JSON value, or a mapping with ``text`` or
    ``tool_calls`` and ``usage``, ``finish``, ``reasoning``. ``latency`` is seconds, or a time
    such as ``200ms``, ``cut`` a number of bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    match: str | PathMatch | None = None
    model: str | None = None
    reply: Any = None
    replies: tuple[Any, ...] | None = None
    error: MockError | None = None
    latency: Duration = 0.0
    cut: int | None = None

    @model_validator(mode="after")
    def _one_answer(self) -> Self:
        given = self.model_fields_set & {"reply", "replies", "error"}
        if len(given) != 1 or self.replies == ():
            message = "a rule answers with exactly one of reply, replies or error"
            raise ValueError(message)
        for pattern in (self.match, getattr(self.match, "matches", None)):
            if isinstance(pattern, str):
                _compiled(pattern)
        return self

    def fits(self, model: str, prompt: str, body: Mapping[str, Any]) -> bool:
        """Whether the rule answers this request."""
        if self.model not in (None, model):
            return False
        if isinstance(self.match, PathMatch):
            return _path_fits(self.match, body)
        return self.match is None or re.search(self.match, prompt, re.MULTILINE) is not None


def parse_rules(rules: Sequence[Any], place: Place = lambda steps, part: UNKNOWN) -> tuple[MockRule, ...]:
    """The configuration's ``mock`` list; `PipelineInvalid` with every mistake in it.

    ``place`` finds where the rules were written, by a rule's position and the way inside it.
    """
    problems: list[Problem] = []
    parsed: list[MockRule] = []
    for position, rule in enumerate(rules):
        try:
            parsed.append(MockRule.model_validate(rule))
        except ValidationError as error:
            for found in misfits(error, rule, MockRule, "a mock rule", _EXAMPLES):
                where = ".".join(map(str, (f"mock[{position}]", *found.steps)))
                origin = place((position, *found.steps), found.part)
                problems.append(Problem(found.code, found.message, where, origin, found.hint or _EXAMPLE))
    if problems:
        raise PipelineInvalid(problems)
    return tuple(parsed)


def _compiled(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        message = f"`{pattern}` is no regular expression: {error}"
        raise ValueError(message) from None


def _path_fits(match: PathMatch, body: Any) -> bool:
    found, value = _follow(match.path, body)
    if not found:
        return False
    if match.matches is not None:
        return re.search(match.matches, value if isinstance(value, str) else orjson.dumps(value).decode()) is not None
    return "equals" not in match.model_fields_set or value == match.equals


def _follow(path: str, value: Any) -> tuple[bool, Any]:
    for key, index in re.findall(_STEP, path.removeprefix("$")):
        if key and isinstance(value, dict) and key in value:
            value = value[key]
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            return False, None
    return True, value
