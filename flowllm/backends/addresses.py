"""Where a provider is, and which servers are its own."""

from functools import lru_cache
from urllib.parse import urlsplit

from flowllm.core.card import ProviderCard
from flowllm.core.errors import ProviderFailure, SetupError


def require_place(card: ProviderCard) -> None:
    """`SetupError` where the provider has no address, or a setting that it needs has no value."""
    if not card.base_url:
        message = f"the provider `{card.name}` has no address"
        raise SetupError("missing_setting", message, hint=f"providers.{card.name}.base_url=https://...")
    for name, reason in card.unset.items():
        message = f"the provider `{card.name}` needs its setting `{name}`, and {reason}"
        path = "base_url=https://" if name == "base_url" else f"settings.{name}="
        raise SetupError("missing_setting", message, hint=f"providers.{card.name}.{path}...")


@lru_cache(256)
def origin_of(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of a URL: what a key is bound to."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default


def require_own(card: ProviderCard, url: str) -> None:
    """`ProviderFailure` ``redirect_refused`` for a URL of another server than the provider's own, key or not."""
    if all(origin_of(url) != origin_of(own) for own in (card.base_url, *card.origins)):
        message = (
            f"the request would go to {urlsplit(url).netloc.rpartition('@')[2]} and not to the provider's own server"
        )
        raise ProviderFailure("redirect_refused", message, hint="a server that is its own too: origins: [https://...]")
