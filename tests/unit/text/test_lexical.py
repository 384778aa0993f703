import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.lexical import DIMENSIONS, terms, vectors

FOLDED = [
    ("bridge", "Bridges"),
    ("lorry's", "LORRY"),
    ("cancelling", "cancelled"),
    ("measured", "measures"),
    ("STRASSE", "straße"),
    ("Bäume", "bäumen"),
]


@pytest.mark.parametrize(("one", "other"), FOLDED)
def test_forms_of_a_word_meet(one, other):
    assert terms(one) == terms(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The bridge is closed.", ["bridg", "clos"]),
        ("Aber der Wald ist groß.", ["wald", "gros"]),
        ("who is it", ["who", "is", "it"]),
        ("日本語 text", ["日本", "本語", "text"]),
        ("x日y", ["x", "日", "y"]),
        ("ball balls stopping", ["ball", "ball", "stop"]),
        ("bus buses ring rings", ["bus", "buse", "ring", "ring"]),
        ("... !", []),
        ("", []),
    ],
)
def test_terms_are_the_content_words(text, expected):
    assert terms(text) == expected


def test_rows_have_length_one_and_blank_texts_none():
    rows = vectors(["a cat sat on the mat", "", "cat cat cat"])
    assert rows.shape == (3, DIMENSIONS)
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 1], abs=1e-6)


def test_counts_grow_with_the_logarithm():
    once, often = vectors(["cat dog", "cat cat cat cat dog"])
    expected = (1 + np.log(4) + 1) / (np.sqrt(2) * np.sqrt((1 + np.log(4)) ** 2 + 1))
    assert float(once @ often) == pytest.approx(expected, abs=1e-6)


def test_likeness_follows_shared_words():
    query, near, far = vectors(["repair of the bridge", "They repaired a bridge.", "A fox ate the cheese."])
    assert query @ near > 0.9
    assert abs(query @ far) < 0.1


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
def test_a_row_depends_on_its_text_alone(texts):
    together = vectors(texts)
    for text, row in zip(texts, together, strict=True):
        assert vectors([text])[0].tobytes() == row.tobytes()


def test_another_process_gives_the_same_rows():
    code = "from flowllm.text.lexical import vectors; print(vectors(['Ein Wald, a bridge']).tobytes().hex())"
    environment = {"PYTHONHASHSEED": "7", "PYTHONPATH": ":".join(sys.path)}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == vectors(["Ein Wald, a bridge"]).tobytes().hex()
