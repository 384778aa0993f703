"""Providers and models by name: one YAML file a provider, read when it is first asked for."""

from flowllm.catalog.cards import CheckQuirks, card_of
from flowllm.catalog.load import load_catalog, packaged_providers
from flowllm.catalog.registry import Registry

__all__ = ["CheckQuirks", "Registry", "card_of", "load_catalog", "packaged_providers"]
