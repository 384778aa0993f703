"""A decoder in memory: chats in, deltas out, all requests side by side in one engine.

A request becomes a prompt by the model's own chat template, tokens by its tokenizer, an answer in the engine, text
again while it comes, and words, thoughts and calls by the marks of its family. Usage counts real tokens: all of the
prompt, and all that were drawn, the one that ends an answer among them.
"""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any

from flowllm.backends.local import words
from flowllm.backends.local.devices import Device, settled
from flowllm.backends.local.generation import genai
from flowllm.backends.local.generation.constraining import Constraints
from flowllm.backends.local.generation.detokenizing import Detokenizer, TokenTexts
from flowllm.backends.local.generation.engine import Engine, Grammar, Piece, Writing
from flowllm.backends.local.generation.families import Reader
from flowllm.backends.local.generation.fencing import Fence
from flowllm.backends.local.generation.graph import SHARING, read_decoder, unfit
from flowllm.backends.local.generation.kv import Cache
from flowllm.backends.local.generation.prefixes import KEPT, Prefixes
from flowllm.backends.local.generation.prompting import Prompting, held, offers, sampled_by, special_tokens
from flowllm.backends.local.generation.sampling import Drawing, Drawn, Sampler, drawing
from flowllm.backends.local.generation.shared_kv import cache_of
from flowllm.backends.local.generation.stopping import Stopper
from flowllm.backends.local.graph_file import read_graph
from flowllm.backends.local.layout import Description
from flowllm.backends.local.refused import refused
from flowllm.backends.local.sessions import open_session
from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.delta import Delta, Finish, Logprobs, Meta, Token, Usage
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.record import record
from flowllm.core.request import Chat
from flowllm.core.scope import Scope

_DEVICES = {"CPUExecutionProvider": "cpu", "CUDAExecutionProvider": "cuda", "TensorrtExecutionProvider": "cuda"}
"""Where the buffers of a provider live; those of the others stay in the processor's memory."""


@record
class Prepared:
    """A request in the model's own terms."""

    prompt: list[int]
    how: Drawing
    grammar: Grammar | None
    inside: bool
    """Whether the answer begins inside of a thought."""


@record
class Runner:
    """What runs a model: the execution provider, the length of a row of logits, what makes a cache, what that keeps."""

    provider: str
    vocabulary: int
    cache: Callable[[], Cache]
    prefixes: Prefixes


def open_runner(description: Description, device: Device, room: int = KEPT) -> Runner:
    """A session with a cache of this house, or genai where that serves better; `SetupError` for what cannot run.

    It keeps at most ``room`` bytes of what it read.
    """
    found = settled(device)
    if genai.serves(description, found):
        model = genai.open_genai(description, found)
        return Runner(
            found.execution_provider, genai.vocabulary(description), lambda: genai.GenaiCache(model), Prefixes(0)
        )
    opened = open_session(description.file, device)
    operators = read_graph(description.file).operators
    if {"If", SHARING} <= operators.keys() and words.turned_alike(description.config) is None:
        why = "its graph chooses by the length of the text, and no file says at which"
        raise unfit(why, "original_max_position_embeddings in the rope_scaling of config.json")
    built = words.at(description.genai, "model", "decoder") or {}
    if words.at(built, "sliding_window"):
        raise unfit("its graph keeps a window of its past alone", "the builder's windowed_kv_cache=false")
    place = _DEVICES.get(opened.provider, "cpu"), opened.device.index
    decoder = read_decoder(opened.session, operators, *place, words.at(built, "head_size"))
    prefixes = Prefixes(min(KEPT, room) if decoder.shared and decoder.device == "cpu" else 0)
    return Runner(opened.provider, decoder.vocabulary, lambda: cache_of(decoder, prefixes), prefixes)


class Writer:
    """One model that writes. Safe from many event loops; ``close`` ends its worker."""

    def __init__(self, description: Description, runner: Runner, tokenizer: Tokenizer) -> None:
        self.description = description
        self.provider = runner.provider
        if description.window is None:
            raise unfit("its files do not say how many tokens it reads", "max_position_embeddings in config.json")
        self._window = description.window
        self._tokenizer = tokenizer
        self._prompting = Prompting(description)
        self._family = self._prompting.family
        self._ends = _ends(description, tokenizer)
        special = special_tokens(tokenizer)
        self._fence = Fence(special)
        self._left_out = frozenset(token for text, token in special.items() if text not in self._family.marks)
        self._texts = TokenTexts(self._decoded, tokenizer.word)
        self._constraints = Constraints(tokenizer.raw.to_str, runner.vocabulary, sorted(self._ends))
        self._engine = Engine(runner.cache, model=description.folder.name)
        self.prefixes = runner.prefixes

    @property
    def kept(self) -> int:
        """Bytes of what was read before."""
        return self.prefixes.size

    def forget(self) -> None:
        """Have the next prompts read from their beginning."""
        self.prefixes.forget()

    def close(self) -> None:
        """End its worker; what is in work fails."""
        self._engine.close()
        self.forget()

    async def generate(self, request: Chat, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The deltas of an answer; closing the generator gives its place in the batch back."""
        wall = scope.clock.wall()
        prepared = await scope.run_in_thread(lambda: self._prepared(request, wall))
        assert isinstance(prepared, Prepared)
        writing, asked = self._writing(request, prepared), prepared.how.logprobs is not None
        calls = self._family.calls if offers(request) else None
        reader = Reader(self._family, calls, prepared.inside)
        yield Meta(model=request.model.partition("/")[2])
        self._engine.submit(writing)
        try:
            while True:
                piece = await writing.pieces.get()
                for delta in self._read(reader, piece):
                    yield delta
                if asked:
                    for delta in self._likelihoods(piece.drawn):
                        yield delta
                if piece.ended is not None:
                    break
        finally:
            writing.cancelled = True
        yield Usage(input=len(prepared.prompt), output=writing.count, cached_input=writing.reused or None)
        called = reader.called and piece.ended == "stop"
        filled = piece.ended == "length" and len(prepared.prompt) + writing.count >= self._window
        yield Finish("tool_calls" if called else piece.ended, "window" if filled else piece.ended)

    def _read(self, reader: Reader, piece: Piece) -> list[Delta]:
        if piece.failure is not None:
            raise piece.failure
        deltas = reader.feed(piece.text)
        return deltas + reader.finish() if piece.ended is not None else deltas

    def _likelihoods(self, drawn: Drawn | None) -> list[Delta]:
        """The log probability of a token of the answer; the one that ends it is none of its tokens."""
        if drawn is None or drawn.logprob is None or drawn.token in self._ends:
            return []
        top = tuple((self._texts[token], number) for token, number in drawn.best)
        return [Logprobs((Token(self._texts[drawn.token], drawn.logprob, top),))]

    def _writing(self, request: Chat, prepared: Prepared) -> Writing:
        rest = self._window - len(prepared.prompt)
        asked = request.sampling.max_output_tokens or _whole(self.description.generation.get("max_new_tokens")) or rest
        return Writing(
            prepared.prompt,
            Sampler(prepared.how, prepared.prompt),
            Detokenizer(self._decoded, self._left_out),
            Stopper(request.sampling.stop),
            min(asked, rest),
            self._ends,
            prepared.grammar,
        )

    def _decoded(self, tokens: Sequence[int]) -> str:
        return self._tokenizer.decode(tokens, skip_special=False)

    def _prepared(self, request: Chat, wall: float) -> Prepared:
        """Everything that takes time before the first run; in a thread."""
        how = drawing(request, sampled_by(self.description))
        for one in self._prompting.refusals(request):
            raise refused(request.model, one.message, one.hint, one.code)
        made = self._prompting.prompt(request, wall, self._fence, self._tokenizer)
        self._fit(request, len(made.tokens))
        inside = self._family.thinks_after(made.text)
        after = self._closing(request) if inside and held(request) else None
        return Prepared(made.tokens, how, self._constraints.grammar(request, after), inside)

    def _closing(self, request: Chat) -> int:
        """The token that ends a thought, from which on an answer is held."""
        close = self._family.thinking.close if self._family.thinking else ""
        token = self._tokenizer.id_of(close)
        if token is None:
            message = f"`{request.model}` thinks first, and `{close}` is no token, so that what follows cannot be held"
            raise refused(request.model, message, "leave `schema` and `choices` out")
        return token

    def _fit(self, request: Chat, tokens: int) -> None:
        if not tokens:
            raise refused(request.model, "the prompt is empty")
        if tokens >= self._window:
            message = f"the prompt has {tokens} tokens, and `{request.model}` reads and writes {self._window}"
            hint = "shorten the prompt with a node of kind `truncate`"
            raise ProviderFailure("context_too_long", message, facts=ProviderFacts("local", request.model), hint=hint)


def _ends(description: Description, tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end an answer; `SetupError` where no file names one."""
    special = description.special
    named = tokenizer.id_of(special.eos) if special.eos else None
    found = frozenset(special.eos_ids) | ({named} if named is not None else frozenset())
    if not found:
        raise unfit("its files name no token that ends an answer", "eos_token_id in generation_config.json")
    return found


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
