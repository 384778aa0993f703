"""``kind: call``: messages in, a model's answer out.

The answer's deltas are shown as they come (`DeltaReceived`). With ``schema`` the answer must hold JSON
of that shape, with ``choices`` it must be one of them; anything else is bad output, which a region
``retry`` repeats.
"""

from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Self, TypedDict

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from flowllm.core.delta import Fold, Reply, Usage
from flowllm.core.errors import BadOutput, NodeFailure
from flowllm.core.event import DeltaReceived, Warned
from flowllm.core.kinds import MODEL
from flowllm.core.node import Node, Prompted, Slotted
from flowllm.core.request import Chat, Image, Message, Sampling, Text, Tool, message_from_data, message_to_data
from flowllm.core.scope import Scope
from flowllm.core.spec import Schema

LARGE = 256 * 1024
"""Characters of an answer from which its JSON is read in a thread."""

Data = dict[str, Any]
CALLING = ("auto", "none", "required")
"""What `tool_choice` can be beside the name of a tool."""
Effort = Literal["none", "minimal", "low", "medium", "high"]
_NUMBER_OR_NULL: Data = {"type": ["number", "null"]}
_TEXT_OR_NULL: Data = {"type": ["string", "null"]}
_PORTS: Mapping[str, Data] = {
    "text": {"type": "string"},
    "messages": {"type": "array", "items": {"type": "object"}},
    "tool_calls": {"type": "array", "items": {"type": "object"}},
    "reasoning": _TEXT_OR_NULL,
    "usage": {"type": ["object", "null"]},
    "cost": _NUMBER_OR_NULL,
    "finish": _TEXT_OR_NULL,
    "model": {"type": "string"},
}
_LOGPROBS: Data = {
    "type": ["array", "null"],
    "items": {
        "type": "object",
        "properties": {"token": {"type": "string"}, "logprob": {"type": "number"}, "top": {"type": "array"}},
        "required": ["token", "logprob", "top"],
    },
}


class CallPorts(TypedDict):
    """An answer. ``cost`` (US dollars, None when not known) is filled in by the executor.

    ``logprobs`` (None where the answer tells none) are rows ``{token, logprob, top}``, ``top`` of ``{token, logprob}``.
    """

    text: str
    value: NotRequired[Any]
    choice: NotRequired[str]
    messages: list[Data]
    tool_calls: list[Data]
    reasoning: str | None
    usage: Data | None
    cost: NotRequired[Decimal | None]
    finish: str | None
    model: str
    logprobs: NotRequired[list[Data] | None]


CUT = "the answer was cut at its longest length (finish: length); {} lets it be longer"


class ToolDefinition(BaseModel):
    """A function that the model may ask for."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", description="What the model calls it.")
    description: str = Field(default="", description="What it is for, for the model to read.")
    parameters: Data = Field(default_factory=dict, description="A JSON Schema of its arguments, an object.")
    prompt_cache: Literal["5m", "1h"] | None = Field(
        default=None, description="Marks the end of what the provider is to keep for later requests."
    )


class Call(Node):
    """Asks a model and gives its answer."""

    calls: ClassVar[Literal["", "chat", "embed", "rerank"]] = "chat"
    must: ClassVar[tuple[str, ...]] = ("prompt|messages",)
    summary: ClassVar[str] = "Ask a model."

    prompt: Prompted = Field(default=None, description="One user message, or messages with roles.")
    shape: Any = Field(
        default=None, alias="schema", description="`schemas.NAME` or a JSON Schema that the answer must meet."
    )
    choices: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), max_length=1000, description="The answers that are allowed; `choice` is the one given."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="How freely the answer is drawn.")
    top_p: float | None = Field(default=None, gt=0, le=1, description="Draw from the likeliest tokens of this share.")
    max_output_tokens: int | None = Field(default=None, ge=1, description="The longest answer, reasoning included.")
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), max_length=16, description="Texts at which the answer ends."
    )
    seed: int | None = Field(default=None, description="Asks for the same draw each time, where a provider can.")
    logprobs: int | None = Field(
        default=None, ge=0, le=20, description="Give each token's log probability, and so many of the likeliest ones."
    )
    reasoning: Effort | None = Field(default=None, description="How much the model thinks before it answers.")
    tools: tuple[ToolDefinition, ...] = Field(
        default=(), max_length=128, description="Functions the model may ask for."
    )
    tool_choice: str | None = Field(
        default=None, description="`auto`, `none`, `required`, or the name of the one tool to call."
    )
    parallel_tool_calls: bool | None = Field(default=None, description="`false`: one call of a tool at a time.")
    images: Slotted = Field(
        default=None, description="Images for the last user message: a data or https URL, or a list."
    )
    extra: Data = Field(default_factory=dict, description="Goes into the provider's request as it is.")

    @field_validator("choices")
    @classmethod
    def _apart(cls, choices: tuple[str, ...]) -> tuple[str, ...]:
        plain = [_plain(choice) for choice in choices]
        if "" in plain or len(set(plain)) < len(plain):
            raise ValueError("choices must differ by more than case and punctuation")
        return choices

    @model_validator(mode="after")
    def _callable(self) -> Self:
        names = [tool.name for tool in self.tools]
        if self.tool_choice is not None and self.tool_choice not in (*CALLING, *names):
            raise ValueError(f"tool_choice is one of {', '.join((*CALLING, *names))}")
        return self

    @field_validator("shape")
    @classmethod
    def _schema(cls, shape: Any) -> Any:
        if isinstance(shape, Mapping):
            return {name: value for name, value in shape.items() if name != MODEL}
        if shape is None or isinstance(shape, bool) or str(shape).startswith("schemas."):
            return shape
        raise ValueError("`schema` is schemas.NAME or a JSON Schema")

    @field_validator("stop", mode="before")
    @classmethod
    def _several(cls, stop: Any) -> Any:
        return (stop,) if isinstance(stop, str) else stop

    def output_ports(self, inputs: Mapping[str, Schema], schemas: Mapping[str, Schema]) -> dict[str, Schema]:
        """``value`` only with a schema, ``choice`` only with choices, ``logprobs`` where they are asked for."""
        ports: dict[str, Schema] = dict(_PORTS)
        if self.shape is not None:
            ports["value"] = _named(self.shape, schemas)
        if self.choices:
            ports["choice"] = {"type": "string", "enum": list(self.choices)}
        if self.logprobs is not None:
            ports["logprobs"] = _LOGPROBS
        return ports

    def foreseen(self, model: str, known: Mapping[str, Any]) -> tuple[Chat]:
        """One request, with what is known of its messages, and with no image."""
        return (self._request(model, _conversation(known.get("prompt"), known.get("messages")), ()),)

    async def run(
        self,
        scope: Scope,
        model: str = "",
        prompt: list[Data] | None = None,
        messages: list[Data] | None = None,
        images: Any = None,
    ) -> CallPorts:
        """Ask and wait for the whole answer; raises `BadOutput` where it is not what was asked for."""
        conversation = _conversation(prompt, messages)
        if not conversation:
            raise NodeFailure("node_failed", "there is no message to send: every message is blank", hint="prompt: ...")
        request = self._request(model, conversation, _images(images))
        reply = await _answer(request, scope)
        ports = _ports(request, reply)
        if self.shape is not None and not (self.tools and reply.tool_calls):
            ports["value"] = await self._value(reply, scope)
        if self.choices and not (self.tools and reply.tool_calls):
            ports["choice"] = self._choice(reply)
        if self.logprobs is not None:
            ports["logprobs"] = _likelihoods(reply)
        if reply.finish == "length":
            remedy = _cut(reply, self.max_output_tokens)[1]
            scope.emit(Warned(scope.address, scope.clock.now(), "answer_cut", CUT.format(remedy)))
        return ports

    def _request(self, model: str, messages: Sequence[Message], images: tuple[Image, ...]) -> Chat:
        if self.choices:
            messages = _instructed(messages, f"Answer with exactly one of: {', '.join(self.choices)}")
        return Chat(
            model=model,
            messages=tuple(_with_images(messages, images)),
            sampling=self._sampling(),
            schema=self.shape,
            choices=self.choices,
            tools=tuple(_tool(tool) for tool in self.tools),
            reasoning=self.reasoning,
            extra=self.extra,
            stream=True,
            tool_choice=self.tool_choice,
            parallel_tool_calls=self.parallel_tool_calls,
        )

    def _sampling(self) -> Sampling:
        return Sampling(self.temperature, self.top_p, self.max_output_tokens, self.stop, self.seed, self.logprobs)

    async def _value(self, reply: Reply, scope: Scope) -> Any:
        if reply.finish == "length":
            place, hint = _cut(reply, self.max_output_tokens)
            raise BadOutput(f"the answer was cut at {place} before its JSON ended", value=reply.text, hint=hint)
        work = partial(_checked_value, reply.text, self.shape)
        return await scope.run_in_thread(work) if len(reply.text) > LARGE else work()

    def _choice(self, reply: Reply) -> str:
        said = _plain(reply.text)
        for choice in self.choices:
            if _plain(choice) == said:
                return choice
        if reply.finish == "length":
            place, hint = _cut(reply, self.max_output_tokens)
            raise BadOutput(f"the answer was cut at {place} before a choice ended", value=reply.text, hint=hint)
        message = f"the answer is none of the choices {', '.join(self.choices)}"
        raise BadOutput(message, value=reply.text)


def _tool(tool: ToolDefinition) -> Tool:
    return Tool(tool.name, tool.description, tool.parameters, tool.prompt_cache or "")


async def _answer(request: Chat, scope: Scope) -> Reply:
    folded = Fold()
    add, streamed, emit, now, address = folded.add, scope.streamed, scope.emit, scope.clock.now, scope.address
    async with aclosing(scope.call(request, scope)) as deltas:
        async for delta in deltas:
            add(delta)
            if streamed:
                emit(DeltaReceived(address, now(), delta))
    return folded.reply()


def _ports(request: Chat, reply: Reply) -> CallPorts:
    said = message_to_data(Message("assistant", (Text(reply.text),), reply.tool_calls, thoughts=reply.thoughts))
    return {
        "text": reply.text,
        "messages": [*map(message_to_data, request.messages), said],
        "tool_calls": said.get("tool_calls", []),
        "reasoning": reply.reasoning,
        "usage": asdict(reply.usage) if reply.usage else None,
        "finish": reply.finish,
        "model": reply.answered_by or request.model,
    }


def _cut(reply: Reply, longest: int | None) -> tuple[str, str]:
    """Where an answer was cut that ended by its length, ``longest`` if the node says so; what lets it be longer."""
    if "window" not in (reply.finish_raw or ""):
        return "max_output_tokens", f"max_output_tokens: {2 * longest if longest else 8192}"
    used = reply.usage or Usage()
    size = f" of {used.input + used.output:,} tokens" if used.input is not None and used.output is not None else ""
    return f"the end of the model's window{size}", "a shorter prompt or a model with a larger window"


def _likelihoods(reply: Reply) -> list[Data] | None:
    if reply.logprobs is None:
        return None
    return [
        {
            "token": token.text,
            "logprob": token.logprob,
            "top": [{"token": text, "logprob": number} for text, number in token.top],
        }
        for token in reply.logprobs
    ]


def _conversation(prompt: list[Data] | None, messages: list[Data] | None) -> list[Message]:
    """The system messages of the prompt, then ``messages``, then the rest of the prompt."""
    written = [message_from_data(data) for data in prompt or ()]
    start = next((i for i, message in enumerate(written) if message.role != "system"), len(written))
    return [*written[:start], *map(message_from_data, messages or ()), *written[start:]]


def _instructed(messages: Sequence[Message], words: str) -> list[Message]:
    start = next((i for i, message in enumerate(messages) if message.role != "system"), len(messages))
    return [*messages[:start], Message("system", (Text(words),)), *messages[start:]]


def _with_images(messages: Sequence[Message], images: tuple[Image, ...]) -> list[Message]:
    changed = list(messages)
    if images:
        last = next((i for i in reversed(range(len(changed))) if changed[i].role == "user"), None)
        if last is None:
            changed.append(Message("user", images))
        else:
            changed[last] = Message("user", (*changed[last].parts, *images))
    return changed


def _images(value: Any) -> tuple[Image, ...]:
    if value is None:
        return ()
    return tuple(_image(item) for item in (value if isinstance(value, list) else [value]))


def _image(value: Any) -> Image:
    """A data URL, an https URL or {media_type, data} (base64) as an `Image`."""
    if isinstance(value, Mapping) and value.get("data"):
        return Image(media_type=str(value.get("media_type", "")), data=str(value["data"]))
    if isinstance(value, Mapping):
        value = value.get("url")
    if isinstance(value, str) and value.startswith("https://"):
        return Image(url=value)
    head, comma, data = value.partition(",") if isinstance(value, str) else ("", "", "")
    if comma and head.startswith("data:image/") and head.endswith(";base64"):
        return Image(media_type=head.removeprefix("data:").removesuffix(";base64"), data=data)
    raise NodeFailure("node_failed", "an image is an https URL, a data URL in base64, or {media_type, data}")


def _checked_value(text: str, shape: Schema) -> Any:
    from flowllm.text.json_scan import read_json
    from flowllm.text.json_schema import validator

    errors_of = validator(shape)
    try:
        value = read_json(text, lambda candidate: not errors_of(candidate))
    except ValueError as error:
        raise BadOutput(f"the answer is not JSON: {error}", code="invalid_json", value=text) from None
    errors = errors_of(value)
    if errors:
        raise BadOutput("; ".join(errors), value=value, errors=errors)
    return value


def _named(shape: Any, schemas: Mapping[str, Schema]) -> Schema:
    """``schemas.NAME`` looked up, an inline schema as it is."""
    if isinstance(shape, str):
        return schemas.get(shape.removeprefix("schemas."), {})
    return shape if isinstance(shape, Mapping) else {}


_EDGES = " .,;:!?\"'`*_()[]{}<>\u201c\u201d\u201e\u2018\u2019\u00ab\u00bb"


def _plain(text: str) -> str:
    """A choice without case, and without blanks and punctuation around it."""
    words = " ".join(text.split())
    return (words.strip(_EDGES) or words).casefold()
