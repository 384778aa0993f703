"""Providers and models as data, after their YAML was checked."""

from collections.abc import Iterator, Mapping
from dataclasses import field, fields, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, Protocol

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.prices import Prices
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.core.request import Request


@record
class Auth:
    """How a request proves who sends it. ``scheme``: none, bearer, header, query, aws, azure, google, ibm.

    ``env`` are the names looked for, in order; ``name`` is the header or query key, ``prefix``
    stands before the secret in a header. ``required`` False lets a request go without. ``service`` is
    what a signature of AWS is for, ``scope`` what a token of Azure or Google is for, ``token_url`` where
    IBM gives a token for a key.
    """

    scheme: str = "none"
    env: tuple[str, ...] = ()
    name: str = ""
    prefix: str = ""
    required: bool = True
    service: str = ""
    scope: str = ""
    token_url: str = ""


CHAT: Final = frozenset({"chat"})
"""What a model can be asked for where nothing is said of it. This very object says that nothing is said."""


ASKED: Final = frozenset({"tools", "json_schema", "images", "reasoning"})
"""What pipelines ask of models. A list of what a model supports is whole for these words, and for no others."""


@record
class Refusal:
    """Why a model would refuse a request; ``steps`` lead to the part of the node, empty where none is to blame.

    ``is_key``: its key is wrong, not its value.
    """

    code: str
    message: str
    hint: str = ""
    steps: tuple[str | int, ...] = ()
    is_key: bool = False


class Foresight(Protocol):
    """What a model's backend says of a request before it is sent."""

    def refusals(self, request: "Request") -> Iterator[Refusal]:
        """What of a request it would refuse, whatever its texts say."""
        ...

    def tokens(self, request: "Request") -> int | None:
        """The tokens that the model reads of it, with all that is written around its texts; None is unknown."""
        ...

    def most_tokens(self, request: "Request") -> int | None:
        """What these surely do not exceed, which costs less to know than they do; None is unknown."""
        ...


@record
class ModelCard:
    """What is known of a model. Windows in tokens; None is unknown.

    ``context`` holds prompt and answer together, ``max_input`` is the most of a prompt and ``output`` of an answer.
    ``supports`` is what it is known to do, ``lacks`` what it is known not to do. ``supports`` None: nothing is known
    of either; ``lacks`` None beside a known ``supports``: what that does not name of `ASKED`, the model does not do.
    ``quirks`` are words of the wire's vocabulary that hold for this model over the provider's. ``mode`` is what it is
    made for (chat, embed, rerank, image, ...), ``modalities`` what it reads and ``output_modalities`` what it writes,
    empty where that is unknown. ``released`` and ``deprecated`` are days (YYYY-MM-DD), ``source`` a page,
    ``checked`` the day when somebody last looked. ``tokenizer`` is a file that counts its tokens, and ``foresight``
    tells more, where the model's backend can.
    """

    id: str
    context: int | None = None
    output: int | None = None
    supports: frozenset[str] | None = None
    prices: Prices | None = None
    tasks: frozenset[str] = CHAT
    checked: str = ""
    quirks: Mapping[str, Any] = field(default_factory=dict)
    lacks: frozenset[str] | None = None
    mode: str = ""
    modalities: tuple[str, ...] = ()
    output_modalities: tuple[str, ...] = ()
    family: str = ""
    released: str = ""
    deprecated: str = ""
    source: str = ""
    tokenizer: str = ""
    max_input: int | None = None
    foresight: Foresight | None = field(default=None, compare=False)

    @property
    def longest_prompt(self) -> int | None:
        """The most tokens that a prompt can have."""
        return min((one for one in (self.context, self.max_input) if one is not None), default=None)

    @property
    def window(self) -> int | None:
        """The window, or what it surely has: the longest prompt, where no more is known."""
        return self.max_input if self.context is None else self.context

    def can(self, capability: str) -> bool | None:
        """Whether the model is known to do something, or not to; None is unknown."""
        if self.supports is not None and capability in self.supports:
            return True
        return False if capability in self._lacks() else None

    def _lacks(self) -> frozenset[str]:
        if self.lacks is not None or self.supports is None:
            return self.lacks or frozenset()
        return ASKED - self.supports

    def _is_another_window(self, longest: int, known: "ModelCard") -> bool:
        """Whether the longest prompt that is known would leave more of this window than an answer can fill."""
        return longest + (self.output or known.output or 0) < (self.context or 0)

    def over(self, known: "ModelCard | None") -> "ModelCard":
        """This card with what ``known`` tells where it says nothing itself: its own facts win, one by one."""
        if known is None:
            return self
        empty = ModelCard(self.id)
        told = {name: getattr(self, name) for name in _MODEL_FACTS if getattr(self, name) != getattr(empty, name)}
        if self.tasks is not CHAT:
            told["tasks"] = self.tasks
        if self.prices and known.prices and {*self.prices.rates} <= {*known.prices.rates}:
            del told["prices"]  # They agree, and the other tells more: prices of batches, of long prompts.
        if self.context and not self.max_input and known.max_input and self._is_another_window(known.max_input, known):
            told["max_input"] = None
        if self.supports is not None:
            told["supports"] = self.supports | ((known.supports or frozenset()) - self._lacks())
            told["lacks"] = self._lacks() | ((known.lacks or frozenset()) - self.supports)
        return replace(known, **told)


_MODEL_FACTS = tuple(found.name for found in fields(ModelCard))


PLACES: Final = ("region", "location")
"""Settings that say where a model is asked."""


@record
class ProviderCard:
    """A place with models. ``wire`` maps a task (chat, embed, rerank) to the wire's name.

    ``quirks`` are words of the wire's own vocabulary. ``local`` providers run in this process
    (builtin, mock). ``open_models``: a model that is not listed is allowed, its facts unknown.
    ``free``: every model costs nothing but those ``elsewhere``: patterns of models that the server asks of another
    place, at prices that are not known unless the file itself says them. ``settings`` are values by name,
    already in their places in ``base_url``, ``headers`` and ``query``; quirks name them as ``{name}``. ``unset``
    are settings that these texts need and that have no value, each with the reason; while there is one, the
    provider cannot be asked. ``origins`` are further servers of the provider (``https://host``) that may see its key.
    ``status`` and ``pricing`` are pages as ``docs`` is. ``features`` tells of each task which are supported;
    what is not there is unknown. ``limits`` are numbers with the page that tells them. ``endpoints`` are places
    beside those of the wires: below ``base_url``, above it, or whole addresses. ``api_version`` is the version
    that all this holds for, empty where there is one alone. ``registry`` is the provider whose entries of the
    registry hold for it, empty where that is itself.
    """

    name: str
    base_url: str = ""
    wire: Mapping[str, str] = field(default_factory=dict)
    auth: Auth = Auth()
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    quirks: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, ModelCard] = field(default_factory=dict)
    docs: str = ""
    local: bool = False
    open_models: bool = True
    free: bool = False
    elsewhere: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    unset: Mapping[str, str] = field(default_factory=dict)
    origins: tuple[str, ...] = ()
    title: str = ""
    status: str = ""
    pricing: str = ""
    checked: str = ""
    features: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)
    limits: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    api_version: str = ""
    registry: str = ""
    origin: Origin = field(default=UNKNOWN, compare=False)

    @property
    def tasks(self) -> frozenset[str]:
        """What can be asked for here: what its wires carry and what its listed models do."""
        return frozenset(self.wire).union(*(model.tasks for model in self.models.values()))

    def is_elsewhere(self, model: str) -> bool:
        """Whether the server asks another place for a model, by its id."""
        return any(fnmatchcase(model, pattern) for pattern in self.elsewhere)

    def supports(self, task: str, feature: str) -> bool | None:
        """Whether the provider is known to support a feature, or not to; None is unknown."""
        return self.features.get(task, {}).get(feature)


class Registry(Protocol):
    """What is known of models beside what provider files say; nothing is read before it is asked for."""

    def names(self) -> list[str]:
        """Every provider of which something is known."""
        ...

    def models(self, provider: str) -> Mapping[str, ModelCard]:
        """All that is known of a provider's models, by id."""
        ...

    def find(self, provider: str, model: str, region: str = "") -> ModelCard | None:
        """What is known of one model; None is nothing."""
        ...


_MOST_KEPT = 10_000
"""How many names are kept with what they lead to: a pipeline may make names while it runs."""


@record
class Catalog:
    """Every provider that is installed, by name, and the registry of models."""

    providers: Mapping[str, ProviderCard]
    registry: Registry | None = field(default=None, compare=False)
    kept: dict[str, ModelCard | None] = field(default_factory=dict, init=False, compare=False)

    def model(self, name: str) -> ModelCard | None:
        """What is known of ``provider/model``; None where nothing is.

        The provider's file goes before the registry, fact by fact. Models of this process have no entry there.
        """
        if name in self.kept:
            return self.kept[name]
        found = self._model(name)
        if len(self.kept) >= _MOST_KEPT:
            self.kept.clear()
        self.kept[name] = found
        return found

    def _model(self, name: str) -> ModelCard | None:
        provider, _, model = name.partition("/")
        card = self.providers.get(provider)
        own = card.models.get(model) if card else None
        if self.registry is None or not model or (card and card.local):
            return own
        place = next((card.settings[word] for word in PLACES if word in card.settings), "") if card else ""
        found = self.registry.find((card and card.registry) or provider, model, place)
        if card and found and card.is_elsewhere(model):
            found = replace(found, prices=None)
        return found if own is None else own.over(found)

    def facts(self, model: str) -> dict[str, Any] | None:
        """What is known of ``provider/model`` that can change its answers, as JSON; None for a provider not here."""
        provider, _, name = model.partition("/")
        card = self.providers.get(provider)
        if card is None:
            return None
        found: dict[str, Any] = {
            "wire": dict(card.wire), "base_url": card.base_url, "headers": dict(card.headers),
            "query": dict(card.query), "quirks": card.quirks,
        }  # fmt: skip
        if card.settings and not card.local:
            found["settings"] = dict(card.settings)
        entry = card.models.get(name)
        if entry is not None:
            supports = sorted(entry.supports) if entry.supports is not None else None
            found["model"] = [entry.id, entry.context, entry.output, supports, entry.quirks]
        return found
