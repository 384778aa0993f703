"""Providers and models by name: one YAML file a provider, read when it is first asked for."""

from flowllm.catalog.cards import FREE, CheckQuirks, card_of
from flowllm.catalog.load import find, load_catalog, packaged_providers

__all__ = ["FREE", "CheckQuirks", "card_of", "find", "load_catalog", "packaged_providers"]
