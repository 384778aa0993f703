import pytest

from flowllm.core.nearest import MANY, did_you_mean, nearest


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("temperatur", {"temperature", "top_p"}, "temperature"),
        ("zebra", {"temperature", "top_p"}, ""),
        ("a", (), ""),
        ("OpenAI", {"openai", "azure-openai"}, "openai"),
        ("Minilm", {"MiniC", "MiniLM", "Milm"}, "MiniLM"),
        ("A99", ["a99", *(f"A{n}" for n in range(98)), *(f"b{n}" for n in range(MANY))], "a99"),
        ("nope", {"openai", "ollama"}, ""),
        ("xa99", [f"a{n}" for n in range(MANY + 1)], ""),
        ("xa99", [f"a{n}" for n in range(MANY)] + ["xa98"], "xa98"),
    ],
)
def test_the_nearest_word(word, known, meant):
    assert nearest(word, known) == meant


def test_the_hint_names_it_or_says_what_else():
    assert did_you_mean("knid", ["kind"], "other") == "did you mean `kind`?"
    assert did_you_mean("zebra", ["kind"], "other") == "other"
