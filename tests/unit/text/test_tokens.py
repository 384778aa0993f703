"""The estimate is additive to within a bound, and bounded in pieces; counters, messages and tools."""

import base64
import json
import struct
import subprocess
import sys
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowllm.core.request import Chat, Embed, Image, Message, Rerank, Text, Thought, Tool, ToolUse
from flowllm.text import token_estimate
from flowllm.text.token_estimate import BOUND, PIECE, UNIT, Estimate
from flowllm.text.token_families import FAMILIES, family_of
from flowllm.text.token_tables import COSTS, FREQUENT
from flowllm.text.token_words import frequent_words
from flowllm.text.tokens import ESTIMATE, count, count_message, count_request, count_tokens, counter_for, most_tokens

WORDS = [word.decode() for word in sorted(frequent_words(), key=len)[-3000::10]]
PROSE = st.lists(st.sampled_from([*WORDS, "a", " ", "  ", "\n", ".", "(", "1", "é", "水"]), max_size=20).map("".join)
ANY_TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("", 0, 0),
        ("a", 1, 1),
        ("The quick brown fox jumps over the lazy dog near the river bank today.", 15, 20),
        ('{"number": "A-17", "total": 120.50, "lines": []}', 14, 26),
        ("Съешь же ещё этих мягких французских булок", 15, 24),
        ("一个句子有十个字左右", 6, 12),
        ("🎉🎉", 4, 8),
        ("\ud800", 1, 2),
    ],
)
def test_estimate_is_near(text, low, high):
    assert low <= count(text) <= high


@given(PROSE | ANY_TEXT, PROSE | ANY_TEXT)
@example("straigh", "tforward")
def test_estimate_is_additive_to_within_a_bound(first, second):
    together, apart = count(first + second), count(first) + count(second)
    assert abs(together - apart) <= BOUND
    assert count(f"{first} {second}") <= apart + 3


def test_every_text_costs_something():
    assert all(count(chr(i)) >= 1 for i in range(1, 0x3000))


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"role": "user", "content": ""}, 4),
        ({"role": "user", "content": "abcd"}, 6),
        ({"role": "user", "content": [{"text": "abcd"}, {"image": {"url": "https://x"}}]}, 806),
        ({"role": "assistant", "content": None, "tool_calls": [{"name": "abc", "arguments": "abcd"}]}, 7),
    ],
)
def test_messages_cost_more_than_their_text(message, expected):
    assert count_message(message) == expected


class Words:
    exact = True

    def count(self, text):
        return len(text.split())


def test_the_counter_of_a_model_is_that_of_its_family():
    assert counter_for("other/large") is ESTIMATE
    assert counter_for(None) is ESTIMATE
    assert counter_for("openai/gpt-4o") is counter_for("azure-openai/gpt-4.1-2025")
    assert counter_for("openai/gpt-4o") is not counter_for("gemini/gemini-2.5-pro")


@given(st.sampled_from(sorted(COSTS)), PROSE | ANY_TEXT, PROSE | ANY_TEXT)
def test_every_family_is_additive_to_within_a_bound(family, first, second):
    weight = Estimate(family, 135).weight
    together, apart = weight(first + second), weight(first) + weight(second)
    assert abs(together - apart) <= BOUND * UNIT
    assert (together == 0) == (first + second == "")


@given(st.lists(st.sampled_from(["straightforward", "ab", " ", "\n", "é", "水", "1"]), min_size=1), st.integers(1, 9))
def test_a_large_text_is_counted_in_pieces(parts, piece):
    text = "".join(parts) * 3
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(token_estimate, "PIECE", piece)
        pieces = list(token_estimate._pieces(text))
        in_pieces = Estimate().weight(text)
    assert "".join(pieces) == text
    assert all(piece <= len(each) <= 2 * piece for each in pieces[:-1])
    assert abs(in_pieces - Estimate().weight(text)) <= BOUND * UNIT * (len(pieces) - 1)


def test_a_large_text_is_cut_between_words():
    text = "a straightforward word " * 40_000
    whole = Estimate().weight(text)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(token_estimate, "PIECE", len(text))
        assert abs(Estimate().weight(text) - whole) <= UNIT * (1 + len(text) // PIECE)
    assert all(piece.startswith(" ") for piece in list(token_estimate._pieces(text))[1:])


@pytest.mark.parametrize("size", [545, 546, 547, 5000, 45_000])
@pytest.mark.parametrize("sign", ["$", "\u0100", "\U0001f389", "a ", "\n", "\u6c34 "])
def test_the_sum_does_not_overflow(size, sign):
    one = Estimate().weight(sign * 101) - Estimate().weight(sign * 100)
    assert Estimate().weight(sign * size) == Estimate().weight(sign * 100) + (size - 100) * one
    assert one > 0


def test_words_are_read_when_a_text_is_counted():
    code = "import sys, flowllm.text.tokens as t; print('flowllm.text.token_tables' in sys.modules, t.count('a'))"
    code += "; print('flowllm.text.token_tables' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "1", "True"]


def test_frequent_words_cost_less_than_others():
    words = frequent_words()
    assert set(words.values()) == set(range(FREQUENT))
    assert len(words) > 15_000
    for family in COSTS:
        weight = Estimate(family).weight
        assert weight("x straightforward") < weight("x straightforwird") / 1.2


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("openai/gpt-4o-mini", "o200k"), ("openai/o3-mini", "o200k"), ("openai/gpt-5.2", "o200k"),
        ("azure-openai/gpt-4.1", "o200k"), ("ft:gpt-4o-mini:acme::1", "o200k"), ("openai/gpt-4-turbo", "cl100k"),
        ("openai/gpt-3.5-turbo", "cl100k"), ("openai/text-embedding-3-small", "cl100k"),
        ("groq/openai/gpt-oss-120b", "gpt-oss"), ("anthropic/claude-sonnet-4-5-20250929", "claude"),
        ("anthropic/claude-opus-4-20250514", "claude"), ("openrouter/anthropic/claude-opus-4.7", "claude-4.7"),
        ("bedrock/us.anthropic.claude-opus-4-8", "claude-4.7"), ("anthropic/claude-3-5-sonnet-20240620", "claude-3"),
        ("databricks/databricks-claude-3-7-sonnet", "claude-3"), ("vertex/gemini-2.5-flash", "gemini"),
        ("ollama/gemma3:4b", "gemma"), ("bedrock/meta.llama2-13b-chat-v1", "llama-2"),
        ("together/meta-llama/Llama-3.3-70B-Instruct-Turbo", "llama-3"), ("groq/meta-llama/llama-4-scout", "llama-4"),
        ("groq/llama3-8b-8192", "llama-3.0"), ("ollama/llama3.1", "llama-3"),
        ("huggingface/Qwen/Qwen2.5-VL-7B-Instruct", "qwen"), ("deepseek/deepseek-chat", "deepseek"),
        ("mistral/mistral-small-latest", "mistral"), ("together/mistralai/Mixtral-8x7B", "mistral-v3"),
        ("cohere/command-a-03-2025", "cohere"), ("xai/grok-4.3", "grok"), ("bedrock/amazon.nova-lite-v1:0", "nova"),
        ("mock/host", "general"), ("acme/large", "general"), ("ollama/qwen3", "qwen"), ("ollama/mistral", "mistral"),
        ("ollama/deepseek-r1", "deepseek"), ("ollama-native/phi4", "general"), ("llamacpp/qwen3-8b", "qwen"),
        ("llamacpp/phi4", "general"), ("gemini/gemma-3-27b-it", "gemma"), ("vertex/gemma-3-27b-it", "gemma"),
        ("deepseek/deepseek-r1-distill-llama-70b", "llama-3"), ("mistral/qwen-3", "qwen"), ("gpt-4o", "o200k"),
        ("cohere/rerank-v3.5", "cohere"), ("huggingface/TinyLlama/TinyLlama-1.1B", "llama-2"),
    ],
)  # fmt: skip
def test_families_by_the_names_of_models(model, family):
    assert family_of(model).name == family


def test_families_have_a_vocabulary():
    assert {family.vocabulary for family in FAMILIES.values()} <= COSTS.keys()


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
HELLO = [{"role": "user", "content": "Hello"}]


def test_counts_for_a_model_say_whether_they_are_exact():
    assert count_tokens("one two three") == (count("one two three"), False)
    assert count_tokens("one two three", "acme/large", counter=Words()) == (3, True)
    assert count_tokens(HELLO, "acme/large", counter=Words()) == (1 + 4 + 3, False)


@pytest.mark.parametrize("model", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
def test_messages_cost_what_the_family_adds(model):
    family, text = family_of(model), count_tokens("Hello", model).n
    assert count_tokens(HELLO, model).n == family.request + family.message + text
    assert count_tokens(HELLO * 3, model).n == family.request + 3 * (family.message + text)
    one, two = count_tokens(HELLO, model, tools=[TOOL]).n, count_tokens(HELLO, model, tools=[TOOL, TOOL]).n
    assert one > count_tokens(HELLO, model).n + family.tools
    assert two - one < one - count_tokens(HELLO, model).n or not family.tools


@pytest.mark.parametrize(
    ("family", "hundredths"), [("gemini/gemini-2.5-flash", 55), ("openai/gpt-4o", 60), ("x/y", 100)]
)
def test_a_tool_costs_its_family_s_share_of_its_json(family, hundredths):
    class Letters:
        exact = True

        def count(self, text):
            return len(text)

    letters = len(json.dumps(TOOL, separators=(",", ":")))
    with_tools, without = (count_tokens(HELLO, family, tools=tools, counter=Letters()).n for tools in ([TOOL], []))
    assert with_tools - without == family_of(family).tools + letters * hundredths // 100


PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 2000, 2000)).decode()
MODEL = "anthropic/claude-opus-4-8"


def turn(**more):
    return Message("user", **{"parts": (Text("Hello"),), **more})


@pytest.mark.parametrize(
    ("more", "in_ports", "tools"),
    [
        ({}, {}, []),
        (
            {"parts": (Text("Hello"), Image(media_type="image/png", data=PICTURE))},
            {"content": [{"text": "Hello"}, {"image": {"media_type": "image/png", "data": PICTURE}}]},
            [],
        ),
        ({"parts": (Image(url="https://x.example"),)}, {"content": [{"image": {"url": "https://x.example"}}]}, []),
        (
            {"tool_calls": (ToolUse("weather", '{"city": "Oslo"}'),)},
            {"tool_calls": [{"name": "weather", "arguments": '{"city": "Oslo"}'}]},
            [],
        ),
        ({"thoughts": (Thought("Who is there?"),)}, {"content": [{"text": "Who is there?"}, {"text": "Hello"}]}, []),
        ({}, {}, [Tool("weather", "The weather of a city.", MappingProxyType({"type": "object"}))]),
    ],
)
@pytest.mark.parametrize("model", [MODEL, "openai/gpt-4o", "acme/large"])
def test_a_request_is_counted_as_the_messages_that_it_sends(model, more, in_ports, tools):
    offered = [{"name": one.name, "description": one.description, "parameters": dict(one.parameters)} for one in tools]
    expected = count_tokens([{"content": "Hello", **in_ports}] * 2, model, tools=offered).n
    assert count_request(Chat(model, (turn(**more),) * 2, tools=tuple(tools))) == expected > 2


def test_other_requests_are_counted_by_the_model_s_family():
    texts = ("Съешь же ещё этих мягких французских булок", "一个句子有十个字左右")
    of_model, general = (counter_for(model).count for model in ("gemini/gemini-embedding-001", None))
    assert count_request(Embed("gemini/gemini-embedding-001", texts)) == sum(map(of_model, texts))
    assert count_request(Rerank("gemini/gemini-x", texts[0], texts)) == sum(map(of_model, (texts[0], *texts)))
    assert sum(map(of_model, texts)) != sum(map(general, texts))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert count_request(Chat(MODEL, (turn(),), schema=schema)) > count_request(Chat(MODEL, (turn(),))) + 10


LARGEST = "\U0010ffff\ufdfa\u0130\uac01 a\u0301\u1e69\n"


@pytest.mark.parametrize("form", [None, "NFC", "NFD", "NFKC", "NFKD", "Lowercase"])
@given(text=ANY_TEXT)
@example(text=LARGEST)
def test_no_tokenizer_of_bytes_exceeds_the_most_tokens(form, text):
    from tokenizers import normalizers

    spelled = "".join(character for character in text if not "\ud800" <= character <= "\udfff")
    told = spelled if form is None else getattr(normalizers, form)().normalize_str(spelled)
    assert len(told.encode()) <= most_tokens(spelled)
