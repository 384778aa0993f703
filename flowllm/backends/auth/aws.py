"""Signatures of AWS (version 4), with credentials found as its own tools find them.

Access keys of the environment, ``.env`` or ``flowllm keys`` come first, then botocore's chain: profiles of
the shared files, single sign-on, a process, a web identity, a container, the metadata of an instance. What
blocks runs in a thread. Nothing is logged on the way.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from flowllm.backends.auth.tokens import Minted, Tokens
from flowllm.backends.failures import amazon_word
from flowllm.core.card import Auth, ProviderCard
from flowllm.core.errors import Failure, ProviderFailure, SetupError
from flowllm.core.record import record
from flowllm.core.secrets import register

if TYPE_CHECKING:
    from flowllm.backends.http import HttpRequest

FindKey = Callable[[Auth], str | None]

RECHECK = 60.0
"""Seconds after which credentials that end are asked for again; botocore renews them in time."""

FAR = 60.0
"""Seconds that two clocks must be apart before one is corrected."""

HINT = "aws configure, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"

_ENDED = frozenset(
    {"ExpiredTokenException", "ExpiredToken", "TokenRefreshRequired", "UnrecognizedClientException", "InvalidToken"}
)
_SKEWED = frozenset({"InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired"})
"""Words for a clock that is wrong, among other things."""


@record
class Keys:
    """Credentials of AWS; ``token`` is that of a session, where there is one."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Keys({self.access_key})"


class AwsSigner:
    """Signs requests to one service in one region. ``now`` is the time of day in seconds."""

    def __init__(self, card: ProviderCard, find_key: FindKey, now: Callable[[], float] = time.time) -> None:
        self._service, self._region = card.auth.service, card.settings.get("region", "")
        self._now = now
        self._ahead = 0.0
        chain = _Chain(find_key, card.settings.get("profile", ""), self._region)
        self._tokens = Tokens(chain.mint, young=0)

    async def sign(self, request: "HttpRequest") -> "HttpRequest":
        """The request with its signature."""
        keys = await self._tokens.get()
        proof = signature(request, keys, self._service, self._region, self._now() + self._ahead)
        return replace(request, headers={**request.headers, **proof})

    async def renew(self, request: "HttpRequest", status: int, headers: Mapping[str, str]) -> bool:
        """Whether there are other credentials, or the clock was wrong and is corrected now."""
        word = amazon_word(headers.get("x-amzn-errortype"))
        if word in _SKEWED:
            return self._corrected(headers)
        sent = request.headers
        credential, token = f"Credential={sent.get('authorization', '')}", sent.get("x-amz-security-token")
        return word in _ENDED and await self._tokens.renew(
            lambda keys: f"Credential={keys.access_key}/" in credential and keys.token == token
        )

    def _corrected(self, headers: Mapping[str, str]) -> bool:
        try:
            ahead = parsedate_to_datetime(headers.get("date", "")).timestamp() - self._now()
        except ValueError:
            return False
        if abs(ahead - self._ahead) < FAR:
            return False
        self._ahead = ahead
        return True


def signature(request: "HttpRequest", keys: Keys, service: str, region: str, now: float) -> dict[str, str]:
    """The headers that sign a request at a time of day: ``x-amz-date``, ``authorization``, the session's token."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest

    stamp = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    proof = {"x-amz-date": stamp} | ({"x-amz-security-token": keys.token} if keys.token else {})
    headers = {**request.headers, **proof}
    signed = AWSRequest(method=request.method, url=request.url, data=request.body, headers=headers)
    signed.context["timestamp"] = stamp
    # Not add_auth: it writes what is signed, the session's token with it, into the log.
    signer = SigV4Auth(keys, service, region)
    names = signer.signed_headers(signer.headers_to_sign(signed))
    mark = signer.signature(signer.string_to_sign(signed, signer.canonical_request(signed)), signed)
    scope = f"AWS4-HMAC-SHA256 Credential={signer.scope(signed)}"
    return {**proof, "authorization": f"{scope}, SignedHeaders={names}, Signature={mark}"}


class _Chain:
    """Credentials from wherever the first are found."""

    def __init__(self, find_key: FindKey, profile: str, region: str) -> None:
        self._find_key = find_key
        self._profile = profile
        self._region = region
        self._found: Any = None

    async def mint(self, refused: bool) -> Minted[Keys]:  # noqa: FBT001  the shape of a mint
        """The credentials as they are now; all places are looked at again where the last were refused."""
        return await asyncio.to_thread(self._load, refused=refused)

    def _load(self, *, refused: bool) -> Minted[Keys]:
        import botocore.auth  # noqa: F401  slow to import, and the loop must not wait for it
        from botocore.credentials import RefreshableCredentials
        from botocore.exceptions import BotoCoreError, ClientError

        keys = None if self._profile else self._explicit()
        if keys is not None:
            return Minted(keys, None)
        try:
            if self._found is None or refused:
                self._found = self._look()
            if self._found is None:
                message = "no credentials of AWS were found"
                raise SetupError("missing_key", message, hint=HINT)
            frozen = self._found.get_frozen_credentials()
        except (BotoCoreError, ClientError) as error:
            raise _failure(error) from None
        keys = Keys(frozen.access_key, register(frozen.secret_key), register(frozen.token or "") or None)
        return Minted(keys, RECHECK if isinstance(self._found, RefreshableCredentials) else None)

    def _explicit(self) -> Keys | None:
        access, secret, token = (
            self._find_key(Auth("bearer", (name,)))
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
        )
        return Keys(access, register(secret), register(token or "") or None) if access and secret else None

    def _look(self) -> Any:
        import botocore.session

        session = botocore.session.Session(profile=self._profile or None)
        session.set_config_variable("region", self._region)
        return session.get_credentials()


def _failure(error: Exception) -> Failure | SetupError:
    """What an error of the chain means. The words of other programs are not repeated: they may hold secrets."""
    from botocore.exceptions import ClientError, CredentialRetrievalError, HTTPClientError

    if isinstance(error, HTTPClientError):
        return ProviderFailure("connect_error", f"the credentials of AWS were not fetched ({type(error).__name__})")
    if isinstance(error, ClientError):
        answer = error.response
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
        word = answer.get("Error", {}).get("Code", "")
        code = "server_error" if status >= 500 else "rate_limited" if status == 429 else "auth"  # noqa: PLR2004
        return ProviderFailure(code, f"{error.operation_name} of AWS gave no credentials ({word})", hint=HINT)
    known = str(error) if not isinstance(error, CredentialRetrievalError) else type(error).__name__
    return SetupError("missing_key", f"the credentials of AWS cannot be read: {known}", hint=HINT)
