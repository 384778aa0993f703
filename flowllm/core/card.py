"""Providers and models as data, after their YAML was checked."""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.prices import Prices
from flowllm.core.record import record


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


@record
class ModelCard:
    """What is known of a model. Windows in tokens; None is unknown.

    ``supports`` None: nothing is known.
    ``quirks`` are words of the wire's vocabulary that hold for this model over the provider's.
    """

    id: str
    context: int | None = None
    output: int | None = None
    supports: frozenset[str] | None = None
    prices: Prices | None = None
    tasks: frozenset[str] = frozenset({"chat"})
    checked: str = ""
    quirks: Mapping[str, Any] = field(default_factory=dict)


@record
class ProviderCard:
    """A place with models. ``wire`` maps a task (chat, embed, rerank) to the wire's name.

    ``quirks`` are words of the wire's own vocabulary. ``local`` providers run in this process
    (builtin, mock). ``open_models``: a model that is not listed is allowed, its facts unknown.
    ``free``: every model costs nothing. ``settings`` are values by name, already in their places in
    ``base_url``, ``headers`` and ``query``; quirks name them as ``{name}``. ``unset`` are settings that
    these texts need and that have no value, each with the reason; while there is one, the provider
    cannot be asked. ``origins`` are further servers of the provider (``https://host``) that may see its key.
    ``status`` and ``pricing`` are pages as ``docs`` is. ``features`` tells of each task which are supported;
    what is not there is unknown. ``limits`` are numbers with the page that tells them. ``endpoints`` are places
    beside those of the wires: below ``base_url``, above it, or whole addresses. ``api_version`` is the version
    that all this holds for, empty where there is one alone.
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
    origin: Origin = field(default=UNKNOWN, compare=False)

    @property
    def tasks(self) -> frozenset[str]:
        """What can be asked for here: what its wires carry and what its listed models do."""
        return frozenset(self.wire).union(*(model.tasks for model in self.models.values()))

    def supports(self, task: str, feature: str) -> bool | None:
        """Whether the provider is known to support a feature, or not to; None is unknown."""
        return self.features.get(task, {}).get(feature)


@record
class Catalog:
    """Every provider that is installed, by name."""

    providers: Mapping[str, ProviderCard]

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
        if card.settings:
            found["settings"] = dict(card.settings)
        entry = card.models.get(name)
        if entry is not None:
            supports = sorted(entry.supports) if entry.supports is not None else None
            found["model"] = [entry.id, entry.context, entry.output, supports, entry.quirks]
        return found
