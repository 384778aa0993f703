"""Tokens of Microsoft Entra for Azure, from whichever identity the Azure SDK finds."""

import asyncio
import time
from collections.abc import Mapping

from flowllm.backends.auth.tokens import Minted, Tokens
from flowllm.core.card import Auth
from flowllm.core.errors import Failure, ProviderFailure, SetupError
from flowllm.core.secrets import register

SCOPE = "https://cognitiveservices.azure.com/.default"
HINT = "az login, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"


def azure_tokens(auth: Auth) -> Tokens[Mapping[str, str]]:
    """Tokens for ``auth.scope``; the SDK blocks, so it runs in a thread."""

    async def mint(refused: bool) -> Minted[Mapping[str, str]]:  # noqa: FBT001  the shape of a mint
        return await asyncio.to_thread(_token, auth.scope or SCOPE)

    return Tokens(mint)


def _token(scope: str) -> Minted[Mapping[str, str]]:
    from azure.core.exceptions import AzureError
    from azure.identity import DefaultAzureCredential

    try:
        # A credential keeps its tokens, also one that was refused: each token comes from a new one.
        with DefaultAzureCredential() as credential:
            token = credential.get_token(scope)
            life = token.expires_on - time.time()
    except (AzureError, ValueError) as error:
        raise _failure(error) from None
    return Minted({"authorization": f"Bearer {register(token.token)}"}, life)


def _failure(error: Exception) -> Failure | SetupError:
    """What an error of the SDK means; its words are long, and may hold what a program printed."""
    from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError, ServiceResponseError

    kind = type(error).__name__
    if isinstance(error, ServiceRequestError | ServiceResponseError):
        return ProviderFailure("connect_error", f"no token of Microsoft Entra was fetched ({kind})")
    if isinstance(error, ClientAuthenticationError) and kind == "ClientAuthenticationError" and error.response:
        return ProviderFailure("auth", "Microsoft Entra gave no token for this identity", hint=HINT)
    return SetupError("missing_key", f"no identity for Microsoft Entra was found ({kind})", hint=HINT)
