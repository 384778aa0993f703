"""Tokens of Google Cloud: a service account, the application default credentials, or the metadata of a machine.

google-auth finds and renews them; it blocks, so it runs in a thread and sends its requests by this process's
own HTTP.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from flowllm.backends.auth.exchange import SECONDS, Answer, exchange
from flowllm.backends.auth.tokens import Minted, Tokens
from flowllm.core.card import Auth
from flowllm.core.errors import Failure, ProviderFailure, SetupError
from flowllm.core.secrets import register

if TYPE_CHECKING:
    from flowllm.backends.http import HttpClient

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
HINT = "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS to the file of a service account"
UNKNOWN_LIFE = 300.0
"""Seconds that a token is used which does not say when it ends."""


def google_tokens(auth: Auth, client: "HttpClient") -> Tokens[Mapping[str, str]]:
    """Tokens for ``auth.scope``."""
    return Tokens(_Minting(auth.scope or SCOPE, client).mint)


class _Minting:
    def __init__(self, scope: str, client: "HttpClient") -> None:
        self._scope = scope
        self._client = client
        self._credentials: Any = None

    async def mint(self, refused: bool) -> Minted[Mapping[str, str]]:  # noqa: FBT001  the shape of a mint
        """A new token; where the last was refused, the credentials are looked for again."""
        relay: Any = _Relay(self._client, asyncio.get_running_loop())
        return await asyncio.to_thread(self._token, relay, again=refused)

    def _token(self, relay: Any, *, again: bool) -> Minted[Mapping[str, str]]:
        import google.auth
        from google.auth.exceptions import GoogleAuthError

        try:
            if self._credentials is None or again:
                self._credentials, _ = google.auth.default(scopes=[self._scope], request=relay)
            self._credentials.refresh(relay)
        except (GoogleAuthError, OSError, ValueError) as error:
            raise _failure(error) from None
        return _minted(self._credentials)


def _minted(credentials: Any) -> Minted[Mapping[str, str]]:
    headers: dict[str, str] = {"authorization": f"Bearer {register(credentials.token)}"}
    project = getattr(credentials, "quota_project_id", None)
    if project:
        headers["x-goog-user-project"] = project
    # The library counts from its own clock, which is this one: the difference is the life that was said.
    ends = credentials.expiry
    return Minted(headers, (ends.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if ends else UNKNOWN_LIFE)


class _Relay:
    """What google-auth sends its requests with, from its thread by the HTTP of the loop."""

    def __init__(self, client: "HttpClient", loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        from google.auth.exceptions import TransportError

        from flowllm.backends.http import HttpRequest

        data = body.encode() if isinstance(body, str) else body or b""
        seconds = timeout or SECONDS
        request = HttpRequest(method, url, dict(headers or {}), data)
        sent = asyncio.run_coroutine_threadsafe(exchange(self._client, request, seconds), self._loop)
        try:
            return sent.result(seconds + 1)
        except (ProviderFailure, TimeoutError, CancelledError) as error:
            raise TransportError(str(error)) from None  # type: ignore[no-untyped-call]


def _failure(error: Exception) -> Failure | SetupError:
    """What an error of google-auth means; answers of servers are not repeated."""
    from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError

    if isinstance(error, DefaultCredentialsError):
        first = str(error).partition("\n")[0].partition(". To set up")[0]
        return SetupError("missing_key", f"no credentials of Google Cloud: {first}", hint=HINT)
    if isinstance(error, TransportError) or getattr(error, "retryable", False):
        return ProviderFailure("connect_error", f"no token of Google Cloud was fetched ({type(error).__name__})")
    if isinstance(error, RefreshError):
        answer = next((part for part in error.args if isinstance(part, Mapping)), {})
        reason = f" ({answer['error']})" if isinstance(answer.get("error"), str) else ""
        return ProviderFailure("auth", f"Google Cloud gave no token for these credentials{reason}", hint=HINT)
    return SetupError(
        "missing_key", f"the credentials of Google Cloud cannot be read ({type(error).__name__})", hint=HINT
    )
