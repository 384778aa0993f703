"""What answers are held to: what the library cannot take is refused in one sentence, before the first token."""

import pytest

from flowllm.backends.local.generation.constraining import Constraints
from flowllm.core.errors import ProviderFailure
from flowllm.core.request import Chat
from tests.unit.backends.local.generation.tokenizers_made import byte_level

TOKENS = byte_level()
COUNT = TOKENS.get_vocab_size()


@pytest.fixture(scope="module")
def constraints():
    return Constraints(TOKENS.to_str, COUNT, (0,))


def deep(levels):
    made = {"type": "object"}
    for _ in range(levels):
        made = {"type": "object", "properties": {"a": made}}
    return made


REFUSED = {
    "a number beyond 64 bits": ({"type": "integer", "maximum": 10**30}, "Integer exceeds 64-bit range"),
    "a key that is no text": ({"type": "object", "properties": {1: {}}}, "Dict key must be str"),
    "half a character": ({"const": "\ud800"}, "str is not valid UTF-8: surrogates not allowed"),
    "too deep": (deep(400), "Recursion limit reached"),
    "no type": ({"type": "colour"}, "Invalid type: colour"),
    "no pattern": ({"type": "string", "pattern": "("}, "regex parse error:"),
    "no value": ({"enum": []}, "Unsatisfiable schema: anyOf is empty"),
    "itself": ({"$ref": "#"}, "no answer begins as it asks (NoExtensionBias)"),
    "itself by a name": (
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        "no answer begins as it asks (NoExtensionBias)",
    ),
}


@pytest.mark.parametrize(("schema", "why"), REFUSED.values(), ids=REFUSED)
def test_a_schema_that_holds_nothing_is_refused(constraints, schema, why):
    with pytest.raises(ProviderFailure) as caught:
        constraints.grammar(Chat("local/m", (), schema=schema))
    assert caught.value.message == f"an answer cannot be held to this schema: {why}"
    assert (caught.value.code, caught.value.hint) == ("bad_request", "leave `schema` out")


def test_choices_that_cannot_be_written_are_told_as_choices(constraints):
    with pytest.raises(ProviderFailure) as caught:
        constraints.grammar(Chat("local/m", (), choices=("a", "\ud800")))
    assert caught.value.message.startswith("an answer cannot be held to these choices: str is not valid")
    assert caught.value.hint == "leave `choices` out"


CHOICES = ["a", "\x00", "\x1f", "\x7f", "a\x7fb", "\\u007f", "\\", '"', "/a/", "a\nb", "\u2028", "\x85", "日本", "👍"]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_choice_is_written_to_the_letter(constraints, choice):
    grammar = constraints.grammar(Chat("local/m", (), choices=(choice,)))
    ids = TOKENS.encode(choice, add_special_tokens=False).ids
    for token in ids[:-1]:
        assert grammar.allowed()[token]
        assert not grammar.take(token)
    assert grammar.allowed()[ids[-1]]
    assert grammar.take(ids[-1])


def test_what_may_come_changes_with_each_token(constraints):
    grammar = constraints.grammar(Chat("local/m", (), choices=("ab", "ac")))
    (a,), (b,), (c,) = (TOKENS.encode(text, add_special_tokens=False).ids for text in "abc")
    first = grammar.allowed()
    assert (first[a], first[b]) == (True, False)
    assert (grammar.allowed() == first).all()
    grammar.take(a)
    second = grammar.allowed()
    assert (second[a], second[b], second[c]) == (False, True, True)
