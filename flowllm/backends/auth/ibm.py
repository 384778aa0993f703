"""Tokens of IBM Cloud: a key is exchanged for one that lives an hour."""

from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import orjson

from flowllm.backends.auth.exchange import Answer, exchange
from flowllm.backends.auth.tokens import Minted, Tokens
from flowllm.backends.failures import failure_of
from flowllm.core.card import Auth
from flowllm.core.errors import ProviderFailure
from flowllm.core.secrets import register

if TYPE_CHECKING:
    from flowllm.backends.http import HttpClient

TOKEN_URL = "https://iam.cloud.ibm.com/identity/token"  # noqa: S105  an address
HINT = "`auth: {token_url: ...}` of the provider's file says where tokens come from"
_GRANT = "urn:ibm:params:oauth:grant-type:apikey"
_HEADERS = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


def ibm_tokens(auth: Auth, key: str, client: "HttpClient") -> Tokens[Mapping[str, str]]:
    """Tokens for ``key``, from ``auth.token_url``."""
    url = auth.token_url or TOKEN_URL

    async def mint(refused: bool) -> Minted[Mapping[str, str]]:  # noqa: FBT001  the shape of a mint
        from flowllm.backends.http import HttpRequest

        body = urlencode({"grant_type": _GRANT, "apikey": key}).encode()
        try:
            answer = await exchange(client, HttpRequest("POST", url, _HEADERS, body))
        except ProviderFailure as failure:
            message = f"no token of IBM Cloud was fetched: {failure.message}"
            raise ProviderFailure(failure.code, message, facts=failure.facts, hint=HINT) from None
        return _token(answer)

    return Tokens(mint)


def _token(answer: Answer) -> Minted[Mapping[str, str]]:
    if answer.status >= 400:  # noqa: PLR2004
        raise _refused(answer)
    try:
        data = orjson.loads(answer.data)
        token, life = register(data["access_token"]), float(data["expires_in"])
    except (ValueError, KeyError, TypeError, AttributeError):
        token, life = "", 0.0
    if not token or life <= 0:
        raise ProviderFailure("invalid_response", "the identity service of IBM Cloud sent no token")
    return Minted({"authorization": f"Bearer {token}"}, life)


def _refused(answer: Answer) -> ProviderFailure:
    """A bad key is a 400 here."""
    found = failure_of(answer.status, answer.headers, answer.data)
    code = "auth" if found.code == "bad_request" else found.code
    return ProviderFailure(code, f"the identity service of IBM Cloud: {found.message}", facts=found.facts)
