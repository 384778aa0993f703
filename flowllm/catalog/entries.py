"""What a provider file may hold: the models that pydantic checks it with.

A secret is a handle, the name of the variable; prices are decimals in US dollars per million tokens,
exact as written.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import CoreSchema, core_schema

from flowllm.core.nearest import did_you_mean
from flowllm.core.prices import TIME_OF_DAY, TOKENS, UNITS
from flowllm.text.misfits import Unfit

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler

_NAME = r"^[a-z0-9][a-z0-9_.-]*$"
SETTING = r"^[a-z][a-z0-9_]*$"


def _variable(name: str) -> str:
    if not (name.isascii() and name.isidentifier()):
        message = f"`{name[:8]}` is no name of an environment variable"
        raise ValueError(message)
    return name


def _names(value: Any) -> Any:
    """``env: NAME``, ``env: [A, B]`` and ``env: {env: NAME}`` are the same."""
    if isinstance(value, Mapping):
        value = value.get("env", value)
    return [value] if isinstance(value, str) else value


def _decimal(value: Any) -> Decimal:
    """Exact as written: a float is read by its shortest text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        message = "a price is a number"
        raise ValueError(message)  # noqa: TRY004  pydantic reports ValueError alone
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        message = f"a price is a number of US dollars, not `{str(value)[:20]}`"
        raise ValueError(message) from None
    if not number.is_finite() or number < 0:
        message = "a price is not negative"
        raise ValueError(message)
    return number


def _item(word: str) -> str:
    if word not in TOKENS and word not in UNITS:
        items = (*TOKENS, *UNITS)
        message = f"`{word[:20]}` is not billed"
        raise Unfit(message, did_you_mean(word, items, f"known here: {', '.join(items)}"))
    return word


def http_url(url: str) -> str:
    """The address of a server without a slash at its end; ValueError for what is none."""
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        message = "a base_url starts with https:// or http:// and names a server"
        raise ValueError(message)
    if parts.username or parts.password or parts.query or parts.fragment:
        message = "a base_url holds neither a user nor a query; write `auth` and `query`"
        raise ValueError(message)
    return url.rstrip("/")


def _token_url(url: str) -> str:
    """A key goes there as it is, so that the way must be private."""
    parts = urlsplit(http_url(url))
    if parts.scheme == "http" and parts.hostname not in ("localhost", "127.0.0.1", "::1"):
        message = "a token_url starts with https://, but for a server on this machine"
        raise Unfit(message, f"token_url: https://{parts.netloc}{parts.path}")
    return url.rstrip("/")


def _origin(url: str) -> str:
    parts = urlsplit(http_url(url))
    if not url or parts.path:
        message = "an origin is https:// and the name of a server"
        raise ValueError(message)
    return url.rstrip("/")


def _page(url: str) -> str:
    if url and (not url.startswith(("https://", "http://")) or not urlsplit(url).hostname):
        message = "a page starts with https:// or http:// and names a server"
        raise ValueError(message)
    return url


def _place(path: str) -> str:
    if path and not path.startswith(("/", "../", "https://")):
        message = "an endpoint starts with /, with ../ or with https://"
        raise ValueError(message)
    return path


def _time(value: Any) -> str:
    """YAML reads 16:30 as the number 990."""
    if not isinstance(value, str) or not re.fullmatch(TIME_OF_DAY, value, re.ASCII):
        message = "a time of day is a quoted text of four digits, 00:00 to 24:00"
        raise ValueError(message)
    return value


def _text(value: Any) -> Any:
    """A setting is a text, also where it looks like a number."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _day(value: Any) -> Any:
    """A number is no day, though it could count seconds."""
    if isinstance(value, str | date) or value is None:
        return value
    message = f"a day is written 2026-11-22, not `{str(value)[:20]}`"
    raise ValueError(message)


Task = Literal["chat", "embed", "rerank"]
Feature = Literal[
    "streaming", "tools", "parallel_tools", "json_schema", "images", "reasoning", "caching", "citations", "dimensions"
]
Capability = Literal[
    "tools", "json_schema", "images", "reasoning", "caching", "citations", "dimensions", "pdf", "audio_input",
    "audio_output", "video_input", "web_search", "computer_use", "tool_choice", "forced_tools", "parallel_tools",
    "tool_search", "system_messages", "prefill", "sampling", "streaming", "url_context", "image_size",
]  # fmt: skip
Limit = Literal["body_bytes", "image_bytes", "images", "texts", "documents"]
Endpoint = Literal[
    "models", "count_tokens", "responses", "completions", "images", "speech", "transcriptions", "moderations", "files",
    "batches", "fine_tuning", "caches", "ocr", "tokenize",
]  # fmt: skip
Day = Annotated[date | None, BeforeValidator(_day)]
Price = Annotated[Decimal, BeforeValidator(_decimal)]
Item = Annotated[str, AfterValidator(_item)]
Variables = Annotated[tuple[Annotated[str, AfterValidator(_variable)], ...], BeforeValidator(_names)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class _Apart:
    """Marks a part of which a file may have none: what checks it is built when one is there, for that takes long."""

    def __get_pydantic_core_schema__(self, part: type[BaseModel], handler: object) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(part.model_validate)

    def __get_pydantic_json_schema__(self, schema: Any, handler: "GetJsonSchemaHandler") -> dict[str, Any]:
        part: type[BaseModel] = schema["function"]["function"].__self__
        part.model_rebuild()
        return handler(part.__pydantic_core_schema__)


APART = _Apart()


class PriceEntry(_Strict):
    """US dollars per million tokens; what is not written is unknown."""

    input: Price | None = None
    output: Price | None = None
    cached_input: Price | None = None
    cache_write: Price | None = None
    reasoning: Price | None = None
    input_audio: Price | None = None
    output_audio: Price | None = None
    input_image: Price | None = None
    output_image: Price | None = None


class RateEntry(_Strict):
    """US dollars for one unit of an item, where all the conditions beside it hold."""

    item: Item
    amount: Price
    above: int = Field(0, ge=0)
    service: str = ""
    lifetime: str = ""
    variant: str = ""


class MultiplierEntry(_Strict):
    """A factor on all tokens of a request served in a region or at a speed."""

    factor: Price
    region: str = ""
    speed: str = ""

    @model_validator(mode="after")
    def _of_something(self) -> Self:
        if not (self.region or self.speed):
            message = "a multiplier is for a `region` or a `speed`"
            raise ValueError(message)
        return self


class HoursEntry(_Strict):
    """Prices of a time of day in UTC; weekdays count from Monday, 0."""

    start: Annotated[str, BeforeValidator(_time)]
    end: Annotated[str, BeforeValidator(_time)]
    rates: tuple[RateEntry, ...]
    weekdays: tuple[Annotated[int, Field(ge=0, le=6)], ...] = (0, 1, 2, 3, 4, 5, 6)


class PricesEntry(_Strict):
    """Prices with conditions, each in dollars for one unit. ``reached``: steps begin at their number of tokens."""

    rates: tuple[RateEntry, ...] = ()
    multipliers: tuple[MultiplierEntry, ...] = ()
    hours: tuple[HoursEntry, ...] = ()
    reached: bool = False


class ModelEntry(_Strict):
    """One model of a provider file. ``context`` holds prompt and answer, ``max_input`` is the most of a prompt alone.

    ``tokenizer`` is a file that counts its tokens, beside the provider file.
    """

    context: int | None = Field(None, gt=0)
    max_input: int | None = Field(None, gt=0)
    output: int | None = Field(None, gt=0)
    supports: frozenset[Capability] | None = None
    price: Annotated[PriceEntry, APART] | None = None
    prices: Annotated[PricesEntry, APART] | None = None
    tasks: frozenset[Task] = frozenset({"chat"})
    checked: Day = None
    source: str = ""
    tokenizer: str = ""
    quirks: Mapping[str, Any] = {}


class AuthEntry(_Strict):
    """How a request proves who sends it.

    ``aws`` signs for ``service`` in the setting ``region``, by the setting ``profile`` if there is one;
    ``azure`` and ``google`` get tokens for ``scope``; a key that is found goes before them, in the header
    ``name`` where one is given. ``ibm`` gets a token for its key from ``token_url``.
    """

    scheme: Literal["none", "bearer", "header", "query", "aws", "azure", "google", "ibm"] = "none"
    env: Variables = ()
    name: str = ""
    prefix: str = ""
    required: bool = True
    service: str = ""
    scope: str = ""
    token_url: Annotated[str, AfterValidator(_token_url)] = ""

    @model_validator(mode="after")
    def _service_of_aws(self) -> Self:
        if (self.scheme == "aws") != bool(self.service):
            message = "the scheme aws, and no other, needs a `service`"
            raise Unfit(message, "remove `service`" if self.service else "service: bedrock")
        return self


class SettingEntry(_Strict):
    """A setting of a provider, such as its region. ``env`` names variables, ``default`` stands for them.

    One with ``switch`` follows the setting of that name: its value is that of ``cases`` for the other's value,
    else ``default``, in which other settings may stand: the server of a region by ``{region}.acme.example``.
    """

    env: Variables = ()
    default: Annotated[str, BeforeValidator(_text)] | None = None
    switch: str = ""
    cases: Mapping[str, str] = {}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.switch and (self.env or self.default is None):
            message = "a setting with a `switch` needs a `default` and takes no `env`"
            raise Unfit(message, "remove `env`" if self.env else "default: eu-west-1")
        if self.cases and not self.switch:
            message = "`cases` of a setting need a `switch`"
            raise Unfit(message, "switch: region")
        return self

    @model_validator(mode="before")
    @classmethod
    def _value_alone(cls, data: Any) -> Any:
        """A value alone is the setting, and no variable is asked."""
        return data if isinstance(data, Mapping) or data is None else {"default": data}


class LimitEntry(_Strict):
    """A limit of a provider and the page that says so."""

    value: int = Field(gt=0)
    source: Annotated[str, AfterValidator(_page)]

    @model_validator(mode="before")
    @classmethod
    def _told_by_a_page(cls, data: Any) -> Any:
        if type(data) is int:
            message = "a limit is told with the page that says so"
            raise Unfit(message, f"{{value: {data}, source: https://docs.acme.example/limits}}")
        return data


class VersionEntry(_Strict):
    """What is otherwise where a provider is asked in one version of its API."""

    wire: Mapping[Task, str] = {}
    quirks: Mapping[str, Any] = {}
    features: Mapping[Task, Mapping[Feature, bool]] = {}
    limits: Mapping[Limit, Annotated[LimitEntry, APART]] = {}
    endpoints: Mapping[Endpoint, Annotated[str, AfterValidator(_place)]] = {}


class ProviderEntry(_Strict):
    """One provider file. ``base_url_env`` names a variable whose value replaces the server.

    ``{name}`` in ``base_url``, ``headers``, ``query``, ``origins`` and ``endpoints`` is the setting ``name``;
    ``origins`` are further servers of the provider that its key may go to, but not where a project or a variable
    names another server: then only those given with it. ``features`` tells of each task
    what is supported (true) and what is not (false); what is not written is unknown. ``endpoints`` are paths
    below the address, ``../`` for one above, or whole addresses: ``models`` and ``count_tokens`` are asked,
    others are told; an empty one says that there is none. ``versions`` holds what is otherwise where the
    setting ``api_version`` has that value; what stands outside of it holds for all. ``checked`` is the day
    when somebody last looked. ``registry`` names the provider whose models this one has too, at the same prices.
    ``elsewhere`` are patterns of models that a server of one's own asks of another place: they are not ``free``.
    """

    name: str = Field("", pattern=_NAME)
    title: str = ""
    registry: str = Field("", pattern=r"^([a-z0-9][a-z0-9_.-]*)?$")
    docs: Annotated[str, AfterValidator(_page)] = ""
    status: Annotated[str, AfterValidator(_page)] = ""
    pricing: Annotated[str, AfterValidator(_page)] = ""
    checked: Day = None
    features: Mapping[Task, Mapping[Feature, bool]] = {}
    limits: Mapping[Limit, Annotated[LimitEntry, APART]] = {}
    endpoints: Mapping[Endpoint, Annotated[str, AfterValidator(_place)]] = {}
    versions: Mapping[str, Annotated[VersionEntry, APART]] = {}
    base_url: Annotated[str, AfterValidator(http_url)] = ""
    base_url_env: Annotated[str, AfterValidator(_variable)] | None = None
    wire: Mapping[Task, str] = {}
    settings: Mapping[Annotated[str, Field(pattern=SETTING)], Annotated[SettingEntry, APART]] = {}
    origins: tuple[Annotated[str, AfterValidator(_origin)], ...] = ()
    auth: Annotated[AuthEntry, APART] = AuthEntry.model_construct()
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    quirks: Mapping[str, Any] = {}
    models: Mapping[str, Annotated[ModelEntry, APART] | None] = {}
    local: bool = False
    free: bool = False
    elsewhere: tuple[str, ...] = ()
    open_models: bool = True
