"""The decoder of embeddings that come in one body: each format only says where they stand.

Where a model takes one text a request, the requests follow each other, and their answers are one. Vectors that
came are not asked for again: the policy `retry` sends what is left.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from flowllm.backends.answers import BodyDecoder, invalid, object_of
from flowllm.backends.framing import Frame
from flowllm.backends.wire import HttpParts
from flowllm.core.delta import Delta, Meta, Usage, Vectors, summed
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Embed

Read = Callable[[Any], tuple[list[Any], Usage | None]]
"""A body to its vectors, in the order of the texts, and its usage; KeyError and the like when it is no such body."""

_NUMBERS = {int, float}


class VectorsDecoder(BodyDecoder):
    """The one frame of an answer to deltas. ``expected`` None takes any number of vectors."""

    def __init__(self, read: Read, expected: int | None = None) -> None:
        super().__init__()
        self._read = read
        self._expected = expected

    def _deltas(self, frame: Frame) -> Iterable[Delta]:
        """The vectors, in the order of the texts."""
        body = self._load(frame)
        try:
            vectors, usage = self._read(body)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise invalid(frame, "holds no embeddings") from None
        if not all(map(_is_vector, vectors)):
            raise invalid(frame, "holds something that is no embedding")
        if self._expected not in (None, len(vectors)):
            message = f"the answer holds {len(vectors)} embeddings for {self._expected} texts"
            raise ProviderFailure("invalid_response", message)
        model = body.get("model") if isinstance(body, dict) else None
        told: tuple[Delta, ...] = (Meta(model=str(model)),) if model else ()
        return (Vectors(vectors), *told, *((usage,) if usage else ()))

    def _load(self, frame: Frame) -> Any:
        return object_of(frame)


class OneByOne(BodyDecoder):
    """The vectors of texts that are embedded one a request, in their order, each when it came.

    ``each`` reads one answer, ``rest`` are the requests after the first. The counts are the sum so far, and
    unknown where one of them counts nothing.
    """

    def __init__(self, each: VectorsDecoder, rest: Iterator[HttpParts]) -> None:
        super().__init__()
        self._each = each
        self._rest = rest
        self._named = False
        self._usages: list[Usage] = []

    def _deltas(self, frame: Frame) -> Iterable[Delta]:
        told, usage = [], Usage()
        for delta in self._each.feed(frame):
            if isinstance(delta, Usage):
                usage = delta
            elif not isinstance(delta, Meta) or not self._named:
                told.append(delta)
                self._named = self._named or isinstance(delta, Meta)
        self._usages.append(usage)
        self.follow = next(self._rest, None)
        return told if all(one == Usage() for one in self._usages) else (*told, summed(self._usages))


def first_alone(request: Embed) -> Embed:
    """The request for the first of its texts."""
    return replace(request, texts=request.texts[:1])


def after_first(encode: Callable[[Embed], HttpParts], request: Embed) -> Iterator[HttpParts]:
    """A request for every text but the first."""
    return (encode(replace(request, texts=(text,))) for text in request.texts[1:])


def _is_vector(value: Any) -> bool:
    """Whether a value is a list of numbers, or an array."""
    return hasattr(value, "dtype") or (isinstance(value, list) and bool(value) and {*map(type, value)} <= _NUMBERS)
