"""Who signs a request. A provider's scheme chooses a `Signer`; keys and tokens go to the provider's own servers alone.

``none``, ``bearer``, ``header`` and ``query`` show a key as it is. ``aws``, ``azure``, ``google`` and ``ibm`` mint
something that ends; the first three take a key in its place where one is set.
"""

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, quote_plus, urlencode

from flowllm.backends.addresses import require_own
from flowllm.backends.auth.keys import require_key, require_plain
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import SetupError
from flowllm.core.secrets import register

if TYPE_CHECKING:
    from flowllm.backends.auth.tokens import Tokens
    from flowllm.backends.http import HttpClient, HttpRequest

FindKey = Callable[[Auth], str | None]

LIBRARIES = {"aws": ("botocore", "aws"), "azure": ("azure.identity", "azure"), "google": ("google.auth", "gcp")}
"""Schemes that mint with a library: what is imported, and the extra that brings it."""


class Signer(Protocol):
    """Proves to one provider who sends a request."""

    async def sign(self, request: "HttpRequest") -> "HttpRequest":
        """The request with its proof; `ProviderFailure` for a server that is not the provider's own."""
        ...

    async def renew(self, request: "HttpRequest", status: int, headers: Mapping[str, str]) -> bool:
        """Whether ``request``, as it was signed and refused, would be signed in another way now.

        ``headers`` are those of the answer. Only a proof that has ended is renewed; a key never is.
        """
        ...


def signer_for(card: ProviderCard, find_key: FindKey, client: "HttpClient") -> Signer:
    """The signer of a provider; `SetupError` where its key or its library is missing."""
    key = require_credentials(card, find_key)
    for shape in (str, quote, quote_plus, partial(quote, safe="")):
        register(shape(key or ""))
    return _Own(card, _choose(card, key, find_key, client))


def require_credentials(card: ProviderCard, find_key: FindKey) -> str | None:
    """The provider's key; `SetupError` where it has none and nothing else can sign, as far as can be known offline."""
    key, library = find_key(card.auth), LIBRARIES.get(card.auth.scheme)
    require_plain(key or "", card.auth, card.name)
    if library is None:
        return require_key(card, key)
    if not key:
        require_library(card, *library)
    return key


def installed(module: str) -> bool:
    """Whether a module can be imported, without importing it."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def require_library(card: ProviderCard, module: str, extra: str) -> None:
    """`SetupError` ``missing_extra`` where the library that signs is not installed."""
    if installed(module):
        return
    message = f"the provider `{card.name}` needs {module} to sign requests, and it is not installed"
    hint = f"pip install 'flowllm-pipelines[{extra}]', or in a checkout FLOWLLM_EXTRAS={extra} bin/flowllm ..."
    message += f", nor is ${card.auth.env[0]} set" if card.auth.env else ""
    raise SetupError("missing_extra", message, hint=_or_key(card.auth, hint))


def _or_key(auth: Auth, hint: str) -> str:
    """What helps, after the key that would make it needless."""
    return f"flowllm keys set {auth.env[0]}, or {hint}" if auth.env else hint


def _choose(card: ProviderCard, key: str | None, find_key: FindKey, client: "HttpClient") -> Signer:
    scheme = card.auth.scheme
    if scheme == "ibm":
        from flowllm.backends.auth.ibm import ibm_tokens

        return MintedHeaders(ibm_tokens(card.auth, key or "", client))
    if key or scheme not in LIBRARIES:
        return KeySigner(card.auth, key)
    if scheme == "aws":
        from flowllm.backends.auth.aws import AwsSigner

        return AwsSigner(card, find_key)
    if scheme == "google":
        from flowllm.backends.auth.google import google_tokens

        return MintedHeaders(google_tokens(card.auth, client))
    from flowllm.backends.auth.azure import azure_tokens

    return MintedHeaders(azure_tokens(card.auth))


class _Own:
    """Lets no proof go to another server."""

    def __init__(self, card: ProviderCard, signer: Signer) -> None:
        self._card = card
        self._signer = signer
        self._last = ""

    async def sign(self, request: "HttpRequest") -> "HttpRequest":
        if request.url != self._last:
            require_own(self._card, request.url)
            self._last = request.url
        try:
            return await self._signer.sign(request)
        except SetupError as error:
            raise SetupError(error.code, error.message, hint=_or_key(self._card.auth, error.hint)) from None

    async def renew(self, request: "HttpRequest", status: int, headers: Mapping[str, str]) -> bool:
        return await self._signer.renew(request, status, headers)


def proven(request: "HttpRequest", proof: Mapping[str, str]) -> "HttpRequest":
    """The request with the headers of a proof."""
    made = request.__class__
    return made(request.method, request.url, {**request.headers, **proof}, request.body, request.stream)


class KeySigner:
    """Shows a key as it is; without one, nothing."""

    def __init__(self, auth: Auth, key: str | None) -> None:
        self._headers, self._query = shown(auth, key)

    async def sign(self, request: "HttpRequest") -> "HttpRequest":
        """The request with the key."""
        if not self._query:
            return proven(request, self._headers) if self._headers else request
        mark = "&" if "?" in request.url else "?"
        return replace(request, url=f"{request.url}{mark}{urlencode(self._query)}")

    async def renew(self, request: "HttpRequest", status: int, headers: Mapping[str, str]) -> bool:
        """A key stays what it is."""
        return False


def shown(auth: Auth, key: str | None) -> tuple[dict[str, str], dict[str, str]]:
    """The headers and query words that show ``key``."""
    if key is None or auth.scheme == "none":
        return {}, {}
    if auth.scheme == "query":
        return {}, {auth.name or "key": key}
    # A scheme that mints shows a key in place of a token in the header that the file names.
    if auth.scheme == "header" or (auth.scheme in LIBRARIES and auth.name):
        return {auth.name.lower(): auth.prefix + key}, {}
    return {"authorization": f"{auth.prefix or 'Bearer '}{key}"}, {}


class MintedHeaders:
    """Shows a token that ends, as headers."""

    def __init__(self, tokens: "Tokens[Mapping[str, str]]") -> None:
        self._tokens = tokens

    async def sign(self, request: "HttpRequest") -> "HttpRequest":
        """The request with a token that lives."""
        return proven(request, await self._tokens.get())

    async def renew(self, request: "HttpRequest", status: int, headers: Mapping[str, str]) -> bool:
        """A new token where this one is not accepted (401)."""
        sent = request.headers
        return status == 401 and await self._tokens.renew(  # noqa: PLR2004
            lambda token: all(sent.get(name) == value for name, value in token.items())
        )


_ADVICE = {
    "aws": "aws sts get-caller-identity shows who signs",
    "azure": "az login, or another identity of the Azure SDK",
    "google": "gcloud auth application-default login",
}


def advice(auth: Auth, provider: str) -> str:
    """What helps where a proof is not accepted."""
    if auth.scheme in _ADVICE:
        return _ADVICE[auth.scheme] + (f", or flowllm keys set {auth.env[0]}" if auth.env else "")
    return f"flowllm keys set {auth.env[0] if auth.env else f'{provider.upper()}_API_KEY'}"
