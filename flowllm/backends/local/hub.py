"""The HTTP interface of a Hugging Face hub: the files of a revision, and their bytes from any place in them.

The token goes to the hub's own origin alone: where a file is sent on to another server, that one gets none.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn
from urllib.parse import quote, urljoin

import orjson

from flowllm.backends.addresses import origin_of
from flowllm.backends.http import CONNECT_SECONDS, AiohttpTransport, Body, HttpRequest
from flowllm.backends.local.hub_files import HubFile
from flowllm.core.errors import ProviderFacts, ProviderFailure, SetupError, UsageError
from flowllm.core.record import record

ADDRESS = "https://huggingface.co"
SILENCE = 60.0
"""Seconds without a byte until an answer counts as broken off."""
_LISTING = 32 * 2**20
_REDIRECTS = 5
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_PARTIAL, _UNMET = 206, 416
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII | re.IGNORECASE)
"""A whole commit: what was asked for by it is asked for because nobody can put something else in its place."""


@record
class Source:
    """A repository (``acme/tiny``) at a revision: a branch, a tag or a commit."""

    repository: str
    revision: str

    def __str__(self) -> str:
        return f"{self.repository}@{self.revision}"


@record
class Listing:
    """The commit that a revision names, and its files."""

    commit: str
    files: tuple[HubFile, ...]


class Hub:
    """A hub at an address. All that goes wrong is a `FlowError`; no message holds the token."""

    def __init__(self, address: str = ADDRESS, token: str | None = None) -> None:
        self._address = _checked(address.rstrip("/"), token)
        self._token = token
        self._transport = AiohttpTransport()

    async def aclose(self) -> None:
        """End the connections."""
        await self._transport.aclose()

    async def listing(self, source: Source) -> Listing:
        """The files of a revision."""
        path = f"/api/models/{source.repository}/revision/{quote(source.revision, safe='')}?blobs=true"
        async with self._opened(self._address + path, {}) as (status, headers, body):
            if status != 200:  # noqa: PLR2004
                self._refuse(status, headers, source)
            return _parsed(await _whole(body), source)

    @asynccontextmanager
    async def file(
        self, source: Source, commit: str, name: str, start: int
    ) -> AsyncGenerator[tuple[int, AsyncGenerator[bytes, None]], None]:
        """The byte at which the answer begins, ``start`` or 0, and the bytes from there."""
        url = f"{self._address}/{source.repository}/resolve/{commit}/{quote(name)}"
        ranged = {"Range": f"bytes={start}-"} if start else {}
        async with self._opened(url, ranged) as (status, headers, body):
            if status not in (200, _PARTIAL, _UNMET):
                self._refuse(status, headers, source, name)
            if status == _UNMET or headers.get("content-encoding", "identity") != "identity":
                message = f"the hub does not send {name} as it is"
                raise ProviderFailure("invalid_response", message, facts=self._facts(status))
            going_on = status == _PARTIAL and headers.get("content-range", "").startswith(f"bytes {start}-")
            if status == _PARTIAL and not going_on:
                raise ProviderFailure("invalid_response", f"the hub sends another part of {name} than was asked for")
            yield start if going_on else 0, _pieces(body, name)

    @asynccontextmanager
    async def _opened(
        self, url: str, headers: Mapping[str, str]
    ) -> AsyncGenerator[tuple[int, Mapping[str, str], Body], None]:
        """An answer that sends the request nowhere else, its headers in lower case."""
        for _ in range(_REDIRECTS + 1):
            status, told, body = await self._sent(url, headers)
            answer = {name.lower(): value for name, value in told.items()}
            try:
                if status not in (301, 302, 303, 307, 308):
                    yield status, answer, body
                    return
                url = _next(url, answer.get("location", ""))
            finally:
                await body.aclose()
        raise ProviderFailure("redirect_refused", f"the hub sends a request on more than {_REDIRECTS} times")

    async def _sent(self, url: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], Body]:
        own = {"Authorization": f"Bearer {self._token}"} if self._token and self._is_own(url) else {}
        request = HttpRequest("GET", url, {**headers, **own}, stream=True)
        try:
            async with asyncio.timeout(SILENCE):
                return await self._transport.send(request, CONNECT_SECONDS)
        except TimeoutError:
            raise ProviderFailure("connect_error", f"{request.host} did not answer in {SILENCE:.0f} s") from None

    def _is_own(self, url: str) -> bool:
        return origin_of(url) == origin_of(self._address)

    def _refuse(self, status: int, headers: Mapping[str, str], source: Source, name: str = "") -> NoReturn:
        """The error that a status means."""
        code = headers.get("x-error-code", "")
        if code == "RevisionNotFound":
            message = f"{source.repository} has no revision `{source.revision}`"
            raise SetupError("missing_model_file", message, hint=f"flowllm pull {source.repository}@main")
        if status in (401, 403):
            self._no_access(status, code, source)
        if status == 404:  # noqa: PLR2004
            what = f"no file {name} in {source}" if name else f"no model {source}"
            raise SetupError("missing_model_file", f"the hub has {what}", hint="flowllm pull OWNER/NAME@REVISION")
        kind = "rate_limited" if status == 429 else "server_error" if status >= 500 else "bad_request"  # noqa: PLR2004
        message = f"the hub answered {status} when it was asked for {name or source}"
        raise ProviderFailure(kind, message, facts=self._facts(status))

    def _facts(self, status: int) -> ProviderFacts:
        return ProviderFacts(origin_of(self._address)[1], status=status)

    def _no_access(self, status: int, code: str, source: Source) -> NoReturn:
        if not self._token:
            message = f"the hub shows {source.repository} to nobody without a token, or has no model of that name"
            raise SetupError("missing_key", message, hint="flowllm keys set HF_TOKEN")
        gated = code == "GatedRepo"
        message = f"the token in HF_TOKEN may not read {source.repository}" + (", which is gated" if gated else "")
        hint = "ask for access on the model's page" if gated else "flowllm keys set HF_TOKEN"
        kind = "auth" if status == 401 else "permission"  # noqa: PLR2004
        raise ProviderFailure(kind, message, facts=self._facts(status), hint=hint)


def _checked(address: str, token: str | None) -> str:
    scheme, host, _ = origin_of(address)
    if scheme not in ("http", "https") or not host or "@" in address or "?" in address:
        raise UsageError("bad_value", "HF_ENDPOINT is no address of a hub", hint=f"HF_ENDPOINT={ADDRESS}")
    if token and scheme == "http" and host not in _LOCAL:
        message = f"HF_ENDPOINT would send the token to {host} without encryption"
        raise UsageError("bad_value", message, hint=f"HF_ENDPOINT=https://{host}")
    return address


def _next(url: str, location: str) -> str:
    """Where a redirect leads: another address of HTTP, never from an encrypted one to a plain one."""
    there = urljoin(url, location)
    before, after = origin_of(url)[0], origin_of(there)[0]
    if not location or after not in ("http", "https") or (before == "https" and after == "http"):
        raise ProviderFailure("redirect_refused", "the hub sends a request on to what is no encrypted address")
    return there


async def _pieces(body: Body, name: str) -> AsyncGenerator[bytes, None]:
    while True:
        try:
            async with asyncio.timeout(SILENCE):
                piece = await body.read()
        except TimeoutError:
            raise ProviderFailure("truncated", f"{name} stopped coming for {SILENCE:.0f} s") from None
        if not piece:
            return
        yield piece


async def _whole(body: Body) -> bytes:
    found = bytearray()
    async for piece in _pieces(body, "the list of files"):
        found += piece
        if len(found) > _LISTING:
            raise ProviderFailure("body_too_large", f"the hub's list of files is larger than {_LISTING} bytes")
    return bytes(found)


def _parsed(data: bytes, source: Source) -> Listing:
    try:
        told = orjson.loads(data)
        commit, files = told["sha"], tuple(map(_file, told["siblings"]))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError, ValueError):
        raise ProviderFailure("invalid_response", f"the hub's list of {source} is not what hubs answer") from None
    if not isinstance(commit, str) or not commit.isalnum() or not commit.isascii():
        raise ProviderFailure("invalid_response", f"the hub names no commit of {source}")
    if _COMMIT.fullmatch(source.revision) and commit.lower() != source.revision.lower():
        raise ProviderFailure("invalid_response", f"the hub was asked for {source} and names the commit {commit}")
    return Listing(commit, files)


def _file(told: Mapping[str, Any]) -> HubFile:
    lfs = told.get("lfs") or {}
    name, size = told["rfilename"], lfs.get("size", told.get("size"))
    sha256 = str(lfs.get("sha256") or lfs.get("oid") or "").removeprefix("sha256:").lower()
    if not isinstance(name, str) or type(size) is not int or size < 0 or (lfs and len(sha256) != 64):  # noqa: PLR2004
        raise ValueError(name)
    return HubFile(name, size, sha256, "" if lfs else str(told.get("blobId") or ""))
