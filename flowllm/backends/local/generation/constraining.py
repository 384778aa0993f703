"""Answers held to a JSON Schema or to one of some choices, by llguidance: what may not come next is not drawn.

The library comes with the extras of local models and is imported at first use; one that is absent is `SetupError`.
What it cannot read of a schema is left to the checks after the answer; a schema it refuses is `ProviderFailure`.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from flowllm.backends.local.refused import refused
from flowllm.core.errors import ProviderFacts, ProviderFailure, SetupError
from flowllm.core.request import Chat

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "lenient": True}
"""One way to write a value, so that no model writes blanks for ever."""


class Constraints:
    """Grammars for one model. ``tokenizer`` gives its tokenizer.json as text, asked for once.

    ``vocabulary`` is the length of a row of logits, ``ends`` are the tokens that end an answer.
    """

    def __init__(self, tokenizer: Callable[[], str], vocabulary: int, ends: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._vocabulary = vocabulary
        self._ends = list(ends)
        self._lock = threading.Lock()
        self._made: Any = None

    def grammar(self, request: Chat, after: int | None = None) -> "Guided | None":
        """What the request's answer is held to, from the token ``after`` on where there is one; None for anything.

        Takes up to seconds the first time: for a thread.
        """
        if request.schema is None and not request.choices:
            return None
        library = _library()
        held = "this schema" if request.schema is not None else "these choices"
        hint = f"leave `{'schema' if request.schema is not None else 'choices'}` out"
        try:
            source = _of_choices(request.choices) if request.schema is None else _of_schema(library, request.schema)
            found = library.LLMatcher(self._ready(library), source, log_level=0)
            return Guided(found, self._vocabulary, after)
        except (TypeError, ValueError) as error:
            message = f"an answer cannot be held to {held}: {_first_line(error)}"
            raise refused(request.model, message, hint) from None

    def _ready(self, library: Any) -> Any:
        with self._lock:
            if self._made is None:
                try:
                    self._made = library.LLTokenizer(self._tokenizer(), n_vocab=self._vocabulary, eos_token=self._ends)
                except ValueError as error:
                    message = f"llguidance cannot use the model's tokenizer: {str(error)[:200]}"
                    raise SetupError("capability_mismatch", message, hint="leave `schema` and `choices` out") from None
            return self._made


class Guided:
    """The place in a grammar that one answer has come to. ValueError for a grammar that is none, or fits no answer.

    What may come first is worked out when it is made: that may take long, and later ones wait for each other.
    """

    def __init__(self, matcher: Any, vocabulary: int, after: int | None) -> None:
        from llguidance import numpy as bits

        self._matcher = matcher
        self._vocabulary = vocabulary
        self._after = after
        self._bits = bits.allocate_token_bitmask(1, vocabulary)
        self._fill = bits.fill_next_token_bitmask
        self._filled = False
        if matcher.is_error():
            raise ValueError(matcher.get_error())
        self._look_ahead()
        if matcher.is_error():
            raise ValueError(f"no answer begins as it asks ({_first_line(matcher.get_error())})")

    def allowed(self) -> "NDArray[np.bool_] | None":
        """The tokens that may come; None before the grammar begins."""
        import numpy as np

        if self._after is not None:
            return None
        self._look_ahead()
        self._check()
        return np.unpackbits(self._bits[0].view(np.uint8), count=self._vocabulary, bitorder="little").view(np.bool_)

    def take(self, token: int) -> bool:
        """Go on by a token; whether the answer is whole."""
        if self._after is not None:
            self._after = None if token == self._after else self._after
            return False
        self._matcher.consume_token(token)
        self._filled = False
        self._check()
        return bool(self._matcher.is_stopped())

    def _look_ahead(self) -> None:
        if not self._filled:
            self._fill(self._matcher, self._bits, 0)
            self._filled = True

    def _check(self) -> None:
        if self._matcher.is_error():
            message = f"the answer left its grammar: {_first_line(self._matcher.get_error())}"
            raise ProviderFailure("invalid_response", message, facts=ProviderFacts("local"))


def _first_line(told: object) -> str:
    """What the library says, without the state that it prints behind."""
    return str(told).partition("\n")[0][:200]


def _of_schema(library: Any, schema: Mapping[str, Any]) -> str:
    text: str = library.LLMatcher.grammar_from_json_schema(orjson.dumps(schema).decode(), overrides=_STYLE)
    return text


def _of_choices(choices: Sequence[str]) -> str:
    """A grammar of Lark: one of some texts. JSON leaves one control character as it is that Lark does not take."""
    return "start: " + " | ".join(orjson.dumps(choice).decode().replace("\x7f", "\\u007f") for choice in choices)


def _library() -> Any:
    try:
        import llguidance
    except ImportError:
        message = "`schema` and `choices` of a local model need llguidance, and it is not installed"
        hint = "pip install 'flowllm-pipelines[local]', or in a checkout FLOWLLM_EXTRAS=local bin/flowllm ..."
        raise SetupError("missing_extra", message, hint=hint) from None
    return llguidance
