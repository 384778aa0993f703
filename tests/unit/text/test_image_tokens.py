"""Sizes of images by their headers, and what they cost by the rules of makers."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.image_sizes import size_of, size_of_image
from flowllm.text.image_tokens import UNKNOWN, image_tokens


def png(width, height):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sIIB", 13, b"IHDR", width, height, 8)


def jpeg(width, height, before=b""):
    frame = struct.pack(">HBHH", 17, 8, height, width)
    return b"\xff\xd8\xff\xe0\x00\x04ab" + before + b"\xff\xff\xc2" + frame + b"\x03"


def webp(kind, body):
    return b"RIFF\x00\x00\x00\x00WEBP" + kind + b"\x00\x00\x00\x00" + body


EXIF = b"\xff\xe1\xff\xff" + b"x" * 65_533
FILES = [
    ("png", png(640, 480), (640, 480)),
    ("jpeg", jpeg(1024, 768), (1024, 768)),
    ("jpeg with a preview", jpeg(1024, 768, EXIF), (1024, 768)),
    ("jpeg with tables", jpeg(30, 20, b"\xff\xc4\x00\x03a"), (30, 20)),
    ("gif", b"GIF89a" + struct.pack("<HH", 32, 16), (32, 16)),
    ("bmp", b"BM" + bytes(16) + struct.pack("<ii", 7, -9), (7, 9)),
    ("webp lossy", webp(b"VP8 ", bytes(6) + struct.pack("<HH", 550, 368)), (550, 368)),
    ("webp lossless", webp(b"VP8L", b"\x2f" + struct.pack("<I", 99 | 49 << 14)), (100, 50)),
    ("webp extended", webp(b"VP8X", bytes(4) + b"\x0f\x00\x00" + b"\x1f\x00\x00"), (16, 32)),
]


@pytest.mark.parametrize(("data", "size"), [row[1:] for row in FILES], ids=[row[0] for row in FILES])
def test_sizes(data, size):
    assert size_of(data) == size
    assert size_of_image({"media_type": "image/x", "data": base64.b64encode(data).decode()}) == size


@pytest.mark.parametrize(
    "data",
    [
        b"", b"BM", b"GIF8", b"%PDF-1.7", b"\xff\xd8\xff",
        png(640, 480)[:20], png(0, 5), png(5_000_000, 5), jpeg(9, 9)[:12],
    ],
)
def test_no_size(data):
    assert size_of(data) is None


@given(st.sampled_from([row[1] for row in FILES]), st.binary(max_size=40), st.integers(2, 40))
def test_any_bytes_have_a_size_or_none(head, more, cut):
    found = size_of(head[:cut] + more)
    assert found is None or min(found) > 0


@pytest.mark.parametrize("image", [{}, {"url": "https://x"}, {"data": 5}, {"data": "!!!"}, {"data": "é"}])
def test_what_is_not_there_has_no_size(image):
    assert size_of_image(image) is None


@pytest.mark.parametrize(
    ("rule", "model", "size", "detail", "tokens"),
    [
        # The examples of OpenAI's page: tiles for GPT-4o, patches for GPT-4.1 mini.
        ("openai", "gpt-4o", (1024, 1024), "high", 765),
        ("openai", "gpt-4o", (2048, 4096), "high", 1105),
        ("openai", "gpt-4o", (4096, 8192), "low", 85),
        ("openai", "gpt-4o", (100, 100), "auto", 255),
        ("openai", "gpt-4o-mini", (400, 300), "auto", 8500),
        ("openai", "gpt-4o-mini", (400, 300), "low", 2833),
        ("openai", "o1", (512, 512), "auto", 225),
        ("openai", "gpt-5", (512, 512), "auto", 210),
        ("openai", "gpt-4.1-mini", (1024, 1024), "auto", 1024 * 162 // 100),
        ("openai", "gpt-4.1-mini", (1024, 1024), "low", 1024 * 162 // 100),
        ("openai", "o4-mini", (1024, 1024), "low", 1024 * 172 // 100),
        ("openai", "gpt-4.1-mini", (1800, 2400), "auto", 1452 * 162 // 100),
        ("openai", "gpt-4.1-mini", (2400, 1800), "auto", 1452 * 162 // 100),
        # The table of Anthropic's page, within what it rounds.
        ("anthropic", "claude-sonnet-4-5", (200, 200), "auto", 54),
        ("anthropic", "claude-sonnet-4-5", (1000, 1000), "auto", 1334),
        ("anthropic", "claude-sonnet-4-5", (1092, 1092), "auto", 1590),
        ("anthropic", "claude-sonnet-4-5", (4000, 4000), "auto", 1600),
        ("anthropic-large", "claude-opus-4-8", (1920, 1080), "auto", 2765),
        ("gemini", "gemini-2.5-flash", (384, 384), "auto", 258),
        ("gemini", "gemini-2.5-flash", (960, 540), "auto", 258 * 6),
        ("gemini", "gemini-3-pro", (960, 540), "auto", 1120),
        ("gemma", "gemma-3", (960, 540), "auto", 256),
        ("qwen", "qwen2.5-vl", (280, 140), "auto", 52),
        ("qwen", "qwen2.5-vl", (5000, 5000), "auto", 1282),
    ],
)
def test_rules_of_makers(rule, model, size, detail, tokens):
    image = {"media_type": "image/png", "data": base64.b64encode(png(*size)).decode()}
    assert image_tokens(image, rule, model, detail) == (tokens, True)


@pytest.mark.parametrize(
    ("rule", "image"), [("openai", {"url": "https://x"}), ("", {"data": base64.b64encode(png(9, 9)).decode()})]
)
def test_what_is_not_known_is_not_exact(rule, image):
    assert image_tokens(image, rule) == (UNKNOWN, False)


@given(st.sampled_from(["gpt-4o", "gpt-4.1-nano"]), st.integers(1, 100_000), st.integers(1, 100_000))
def test_an_image_of_any_size_has_a_bound(model, width, height):
    image = {"data": base64.b64encode(png(width, height)).decode()}
    found, exact = image_tokens(image, "openai", model)
    assert exact
    assert 0 < found <= 1536 * 246 // 100
