"""The decoder of embeddings that come in one body: each format only says where they stand."""

from collections.abc import Callable, Iterable
from typing import Any

from flowllm.backends.answers import BodyDecoder, invalid, object_of
from flowllm.backends.framing import Frame
from flowllm.core.delta import Delta, Meta, Usage, Vectors
from flowllm.core.errors import ProviderFailure

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


def _is_vector(value: Any) -> bool:
    """Whether a value is a list of numbers, or an array."""
    return hasattr(value, "dtype") or (isinstance(value, list) and bool(value) and {*map(type, value)} <= _NUMBERS)
