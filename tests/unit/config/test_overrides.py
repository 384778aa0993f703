import shlex
import subprocess
import sys

import pytest

from flowllm.config import expand_sweep, provider_settings, split_overrides
from flowllm.config.overrides import parse_overrides
from flowllm.core.errors import UsageError


@pytest.mark.parametrize(
    ("word", "kind", "text"),
    [
        ("model=x", 0, "model=x"),
        ("+vars.x=1", 0, "+vars.x=1"),
        ("~nodes.a", 0, "~nodes.a"),
        ("inputs.q=x", 0, "inputs.q=x"),
        ("input.q=hello", 1, "q=hello"),
        ("input.q=hello, you: (two) [x]", 1, "q=hello, you: (two) [x]"),
        ("input.q='a b'", 1, "q=a b"),
        ('input.q="a, b"', 1, "q=a, b"),
        ("input.q='broken", 1, "q='broken"),
        ("input.xs=[a,b,1]", 1, 'xs=["a", "b", 1]'),
        ("input.o={a: 1}", 1, 'o={"a": 1}'),
        ("input.n=1.50", 1, "n=1.50"),
        ("input.q=", 1, "q="),
        ("input.q=a=b", 1, "q=a=b"),
        ("input.q=@file.txt", 1, "q=@file.txt"),
        ("providers.x.base_url=http://h", 2, "x.base_url=http://h"),
        ("+providers.x.quirks.drop=[seed]", 2, "x.quirks.drop=[seed]"),
    ],
)
def test_words_by_what_they_set(word, kind, text):
    found = split_overrides([word])
    assert found[kind] == [text]
    assert sum(map(len, found)) == 1


def test_provider_settings():
    words = ["x.base_url='http://h:1/v1'", "x.quirks.drop=[seed]", "y.local=true"]
    assert provider_settings(words) == {
        "x": {"base_url": "http://h:1/v1", "quirks": {"drop": ["seed"]}},
        "y": {"local": True},
    }


def test_a_provider_setting_inside_of_a_value_is_no_override():
    with pytest.raises(UsageError, match="`a` has a value of its own already") as caught:
        provider_settings(["x.a=1", "x.a.b=2"])
    assert (caught.value.code, str(caught.value.origin)) == ("bad_override", "command line: providers.x.a.b=2")
    assert provider_settings(["x.a.b=2", "x.a.c=3", "x.a={d: 1}"]) == {"x": {"a": {"d": 1}}}


@pytest.mark.parametrize(
    ("words", "runs"),
    [
        (["a=1"], [["a=1"]]),
        ([], [[]]),
        (["a=1,2"], [["a=1"], ["a=2"]]),
        (["a=1,2", "b=x", "c=p,q"], [[f"a={a}", "b=x", f"c={c}"] for a in "12" for c in "pq"]),
        (["a=range(0,3)"], [["a=0"], ["a=1"], ["a=2"]]),
        (["+a=choice(x,y)"], [["+a=x"], ["+a=y"]]),
        (["vars.m=[a,b],[c]"], [["vars.m=[a,b]"], ["vars.m=[c]"]]),
        (["vars.m=[a,b]"], [["vars.m=[a,b]"]]),
        (["input.words=40,80"], [["input.words=40"], ["input.words=80"]]),
        (['input.q="a,b"'], [['input.q="a,b"']]),
        (["input.q='a b','c, d'"], [["input.q='a b'"], ["input.q='c, d'"]]),
    ],
)
def test_sweeps(words, runs):
    assert expand_sweep(words) == runs


@pytest.mark.parametrize("words", [["a=range(0,1000000000)"], ["a=range(0,200)", "b=range(0,200)"]])
def test_sweeps_have_an_end(words):
    with pytest.raises(UsageError, match="more than 10000"):
        expand_sweep(words)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("nodes.a.in.x=docs.items[0].id", "'nodes.a.in.x=\"docs.items[0].id\"'"),
        ("nodes.a.prompt={{ a.b }}", "'nodes.a.prompt=\"{{ a.b }}\"'"),
        ('nodes.a.prompt={{ a["b"] }}', '\'nodes.a.prompt="{{ a[\\"b\\"] }}"\''),
        ("nodes.a.prompt=it's", None),
        ("a.b=[1", None),
    ],
)
def test_a_broken_word_gets_its_correction(word, hint):
    found = []
    assert parse_overrides([word], (), found.append) == []
    assert found[0].code == "bad_override"
    assert str(found[0].origin) == f"command line: {word}"
    if hint:
        assert found[0].hint == hint
    (fixed,) = shlex.split(found[0].hint)
    again = parse_overrides([fixed], (), found.append)
    assert len(found) == 1
    assert again[0].value == word.partition("=")[2]


@pytest.mark.parametrize(
    ("read", "word"), [(split_overrides, "input.q"), (provider_settings, "x=1"), (expand_sweep, "a=(1,")]
)
def test_words_that_are_no_overrides(read, word):
    with pytest.raises(UsageError) as caught:
        read([word])
    assert caught.value.code == "bad_override"
    assert caught.value.hint


def test_sorting_words_needs_no_hydra():
    code = (
        "import sys; from flowllm.config import split_overrides, expand_sweep; "
        "split_overrides(['model=x', 'input.q=hi']); expand_sweep(['model=x']); print('hydra' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "False", done.stderr
