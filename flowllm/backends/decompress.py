"""Decompression of bodies in bounded pieces: a small body must not become a large one unseen."""

import zlib
from collections.abc import Iterator

from flowllm.core.errors import ProviderFailure

PIECE = 1024 * 1024
_GZIP = 31
_WINDOWS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": 15}
_MAGIC = 0x1F
"""The first byte of a member of gzip."""


class Inflate:
    """One compressed body; ``encoding`` is the value of ``content-encoding``."""

    def __init__(self, encoding: str) -> None:
        window = _WINDOWS.get(encoding.strip().lower())
        if window is None:
            raise ProviderFailure("decode_error", f"the answer is compressed as `{encoding}`, which was not asked for")
        self._window = window
        self._inflate = zlib.decompressobj(window)

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """What ``chunk`` holds, in pieces of a mebibyte at most; the reader may stop between them."""
        while chunk:
            if self._inflate.eof and not self._goes_on(chunk):
                return
            try:
                piece = self._inflate.decompress(chunk, PIECE)
            except zlib.error:
                raise ProviderFailure("decode_error", "the answer cannot be decompressed") from None
            chunk = self._inflate.unconsumed_tail or self._inflate.unused_data
            if piece:
                yield piece

    def _goes_on(self, rest: bytes) -> bool:
        """Whether what comes after an end mark is a further member of gzip, which is then read next."""
        further = self._window == _GZIP and rest[0] == _MAGIC
        if further:
            self._inflate = zlib.decompressobj(self._window)
        return further

    def finish(self) -> None:
        """`truncated` when the body ended before its own end mark."""
        if not self._inflate.eof:
            raise ProviderFailure("truncated", "the compressed answer broke off before its end")
