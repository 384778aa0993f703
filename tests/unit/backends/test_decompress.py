import gzip
import zlib

import pytest

from flowllm.backends.decompress import Inflate
from flowllm.core.errors import ProviderFailure

TWO = gzip.compress(b"one ", mtime=0) + gzip.compress(b"two", mtime=0)


def inflated(body, size, encoding="gzip"):
    inflate = Inflate(encoding)
    pieces = [piece for at in range(0, len(body), size) for piece in inflate.feed(body[at : at + size])]
    inflate.finish()
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 7, 10_000])
@pytest.mark.parametrize(
    ("body", "encoding", "text"),
    [
        (TWO, "gzip", b"one two"),
        (TWO + b"\0" * 9, "gzip", b"one two"),
        (gzip.compress(b"", mtime=0) * 3 + gzip.compress(b"end", mtime=0), "x-gzip", b"end"),
        (zlib.compress(b"one") + b"\x1f rest", "deflate", b"one"),
    ],
    ids=["two", "padded", "empty", "deflate"],
)
def test_every_member_of_a_body_is_read(body, encoding, text, size):
    assert inflated(body, size, encoding) == text


@pytest.mark.parametrize("size", [1, 10_000])
@pytest.mark.parametrize(("body", "code"), [(TWO[:-3], "truncated"), (TWO + b"\x1fnone", "decode_error")])
def test_a_member_that_is_broken_is_told(body, code, size):
    with pytest.raises(ProviderFailure) as caught:
        inflated(body, size)
    assert caught.value.code == code
