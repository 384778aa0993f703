"""A decoder in memory: chats in, deltas out, all requests side by side in one engine.

A request becomes a prompt by the model's own chat template, tokens by its tokenizer, an answer in the engine, text
again while it comes, and words, thoughts and calls by the marks of its family. Usage counts real tokens: all of the
prompt, and all that were drawn, the one that ends an answer among them.
"""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowllm.backends.local import words
from flowllm.backends.local.devices import Device, settled
from flowllm.backends.local.generation import genai
from flowllm.backends.local.generation.constraining import Constraints
from flowllm.backends.local.generation.detokenizing import Detokenizer, TokenTexts
from flowllm.backends.local.generation.engine import Engine, Grammar, Piece, Writing
from flowllm.backends.local.generation.families import Reader, family_of
from flowllm.backends.local.generation.fencing import Fence, tokens_of
from flowllm.backends.local.generation.graph import SHARING, read_decoder, unfit
from flowllm.backends.local.generation.kv import Cache
from flowllm.backends.local.generation.sampling import Drawing, Drawn, Sampler, drawing, refused
from flowllm.backends.local.generation.shared_kv import cache_of
from flowllm.backends.local.generation.stopping import Stopper
from flowllm.backends.local.graph_file import read_graph
from flowllm.backends.local.layout import Description
from flowllm.backends.local.sessions import open_session
from flowllm.backends.local.tokenizing import Tokenizer
from flowllm.core.delta import Delta, Finish, Logprobs, Meta, Token, Usage
from flowllm.core.errors import ProviderFacts, ProviderFailure
from flowllm.core.record import record
from flowllm.core.request import Chat
from flowllm.core.scope import Scope

if TYPE_CHECKING:
    from flowllm.backends.local.generation.chat_templates import ChatTemplate

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
    """What runs a model: the execution provider, the length of a row of logits, and what makes a cache."""

    provider: str
    vocabulary: int
    cache: Callable[[], Cache]


def open_runner(description: Description, device: Device) -> Runner:
    """A session with a cache of this house, or genai where that serves better; `SetupError` for what cannot run."""
    found = settled(device)
    if genai.serves(description, found):
        model = genai.open_genai(description, found)
        return Runner(found.execution_provider, genai.vocabulary(description), lambda: genai.GenaiCache(model))
    opened = open_session(description.file, device)
    operators = read_graph(description.file).operators
    if {"If", SHARING} <= operators.keys() and words.turned_alike(description.config) is None:
        why = "its graph chooses by the length of the text, and no file says at which"
        raise unfit(why, "original_max_position_embeddings in the rope_scaling of config.json")
    decoder = read_decoder(opened.session, operators, _DEVICES.get(opened.provider, "cpu"), opened.device.index)
    return Runner(opened.provider, decoder.vocabulary, lambda: cache_of(decoder))


class Writer:
    """One model that writes. Safe from many event loops; ``close`` ends its worker."""

    def __init__(self, description: Description, runner: Runner, tokenizer: Tokenizer) -> None:
        self.description = description
        self.provider = runner.provider
        if description.window is None:
            raise unfit("its files do not say how many tokens it reads", "max_position_embeddings in config.json")
        self._window = description.window
        self._tokenizer = tokenizer
        self._family = family_of(description.chat_template or "")
        self._ends = _ends(description, tokenizer)
        special = _special(tokenizer)
        self._fence = Fence(special)
        self._left_out = frozenset(token for text, token in special.items() if text not in self._family.marks)
        self._texts = TokenTexts(self._decoded, tokenizer.word)
        self._template: ChatTemplate | None = None
        self._constraints = Constraints(tokenizer.raw.to_str, runner.vocabulary, sorted(self._ends))
        self._engine = Engine(runner.cache, model=description.folder.name)

    def close(self) -> None:
        """End its worker; what is in work fails."""
        self._engine.close()

    async def generate(self, request: Chat, scope: Scope) -> AsyncGenerator[Delta, None]:
        """The deltas of an answer; closing the generator gives its place in the batch back."""
        wall = scope.clock.wall()
        prepared = await scope.run_in_thread(lambda: self._prepared(request, wall))
        assert isinstance(prepared, Prepared)
        writing, asked = self._writing(request, prepared), prepared.how.logprobs is not None
        calls = self._family.calls if _offered(request) else None
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
        own = self.description.generation or _searched(self.description.genai)
        how = drawing(request, own)
        held = request.schema is not None or bool(request.choices)
        self._check(request, held=held)
        cut, seam = self._fence.cut(request)
        text = self._rendered(cut, wall, held=held)
        prompt = tokens_of(text, seam, self._tokenizer.ids)
        self._fit(request, len(prompt))
        inside = self._family.thinks_after(text)
        after = self._closing(request) if inside and held else None
        return Prepared(prompt, how, self._constraints.grammar(request, after), inside)

    def _closing(self, request: Chat) -> int:
        """The token that ends a thought, from which on an answer is held."""
        close = self._family.thinking.close if self._family.thinking else ""
        token = self._tokenizer.id_of(close)
        if token is None:
            message = f"this local model thinks first, and `{close}` is no token, so that what follows cannot be held"
            raise refused(request.model, message, "leave `schema` and `choices` out")
        return token

    def _check(self, request: Chat, *, held: bool) -> None:
        """`ProviderFailure` for what this model cannot be asked."""
        if _offered(request) and self._family.calls is None:
            message = "the chat template of this local model has no place for tools that is known here"
            raise refused(request.model, message, "leave `tools` out")
        if request.tool_choice not in (None, "auto", "none"):
            message = f"a local model cannot be held to `tool_choice: {request.tool_choice}`"
            raise refused(request.model, message, "tool_choice: auto")
        if held and _offered(request):
            message = "an answer of a local model is held to a schema or choices, or may call tools"
            raise refused(request.model, message, "ask for tools and for JSON in two nodes")

    def _rendered(self, request: Chat, wall: float, *, held: bool) -> str:
        from flowllm.backends.local.generation.chat_templates import ChatTemplate

        if self._template is None:
            source, special = self.description.chat_template, self.description.special
            if not source:
                raise unfit("it has no chat template", "a file chat_template.jinja beside the model")
            names = {"bos_token": special.bos, "eos_token": special.eos, "pad_token": special.pad}
            self._template = ChatTemplate(source, {**names, "unk_token": special.unk})
        offered = request if _offered(request) else replace(request, tools=())
        thinks = None if request.reasoning is None else request.reasoning != "none"
        more: dict[str, Any] = {} if thinks is None and not held else {"enable_thinking": bool(thinks)}
        if thinks:
            more["reasoning_effort"] = request.reasoning
        return self._template.render(offered, wall, more)

    def _fit(self, request: Chat, tokens: int) -> None:
        if not tokens:
            raise refused(request.model, "the prompt is empty")
        if tokens >= self._window:
            message = f"the prompt has {tokens} tokens, and `{request.model}` reads and writes {self._window}"
            hint = "shorten the prompt with a node of kind `truncate`"
            raise ProviderFailure("context_too_long", message, facts=ProviderFacts("local", request.model), hint=hint)


def _offered(request: Chat) -> bool:
    """Whether the model may call tools."""
    return bool(request.tools) and request.tool_choice != "none"


def _ends(description: Description, tokenizer: Tokenizer) -> frozenset[int]:
    """The tokens that end an answer; `SetupError` where no file names one."""
    special = description.special
    named = tokenizer.id_of(special.eos) if special.eos else None
    found = frozenset(special.eos_ids) | ({named} if named is not None else frozenset())
    if not found:
        raise unfit("its files name no token that ends an answer", "eos_token_id in generation_config.json")
    return found


def _special(tokenizer: Tokenizer) -> dict[str, int]:
    """Special tokens: their text and number."""
    added = tokenizer.raw.get_added_tokens_decoder()
    return {str(one.content): int(token) for token, one in added.items() if one.special}


def _searched(genai: Mapping[str, Any]) -> Mapping[str, Any]:
    """What genai_config.json says of drawing."""
    found = genai.get("search")
    return found if isinstance(found, Mapping) else {}


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
