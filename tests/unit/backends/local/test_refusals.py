"""What a classifier makes of the choices that it is asked for: each is one of its labels, or it is refused."""

import numpy as np
import pytest

from flowllm.api import Environment
from flowllm.backends.local.layout import describe
from flowllm.backends.local.refusals import meant_label, refusals
from flowllm.core.request import Chat, Message, Text
from flowllm.core.scope import Scope
from tests.local_models.encoders import Encoder, ids_of, write_classifier

SIGNS = ["C", "C++", "C#", "-1", "1"]
WORDS = ["Very good", "not_entailment", "so-so", "1-2", "12"]
TEXT = "the quick red fox"

MEANT = [
    *((choice, SIGNS, choice) for choice in SIGNS),
    ("c#", SIGNS, "C#"),
    ("c", SIGNS, "C"),
    ("C+", SIGNS, None),
    ("+1", SIGNS, None),
    ("C", ["C++", "Java"], None),
    ("1", ["-1", "0"], None),
    ("very_good", WORDS, "Very good"),
    ("NOT ENTAILMENT", WORDS, "not_entailment"),
    ("So so", WORDS, "so-so"),
    ("soso", WORDS, None),
    ("12", WORDS, "12"),
    ("1 2", WORDS, "1-2"),
    ("US", ["us", "US"], "US"),
    ("Us", ["us", "US"], None),
    ("so so", ["so-so", "so_so"], None),
    ("so_so", ["so-so", "so_so"], "so_so"),
    ("SO-SO", ["so-so", "so_so"], "so-so"),
    ("yes", ["yes", "yes"], None),
    ("***", ["*", "**"], None),
    ("", ["", "a"], ""),
]


@pytest.mark.parametrize(("choice", "labels", "label"), MEANT)
def test_a_choice_is_the_label_that_it_spells(choice, labels, label):
    assert meant_label(choice, labels) == label


@pytest.mark.parametrize(
    ("choices", "messages"),
    [
        (("C", "C++", "C#", "-1", "1"), []),
        (("C", "D", "E"), ["`local/m` knows no label D, E"]),
        (("C", "c"), ["`local/m` is asked twice for the label C"]),
        (("1", "1 "), ["`local/m` knows no label 1 "]),
    ],
)
def test_choices_that_are_no_labels_are_told(tmp_path, choices, messages):
    found = describe(write_classifier(tmp_path / "m", Encoder(labels=len(SIGNS)), SIGNS))
    told = list(refusals(Chat("local/m", (), choices=choices), found))
    assert [(one.message, one.code, one.steps) for one in told] == [
        (message, "capability_mismatch", ("choices",)) for message in messages
    ]
    assert all(one.hint == "choices: [C, C++, C#, -1, 1]" for one in told)


def test_labels_that_differ_by_case_alone_have_to_be_spelled(tmp_path):
    found = describe(write_classifier(tmp_path / "m", Encoder(labels=2), ["us", "US"]))
    (told,) = refusals(Chat("local/m", (), choices=("Us",)), found)
    assert told.message == "`local/m` has several labels spelled like Us"


@pytest.mark.parametrize("seed", range(6))
async def test_the_best_of_labels_that_differ_by_a_sign(tmp_path, seed):
    encoder = Encoder(labels=len(SIGNS), seed=seed)
    write_classifier(tmp_path / "models" / "m", encoder, SIGNS)
    call = Environment(project=tmp_path).connect()
    request = Chat("local/m", (Message("user", (Text(TEXT),)),), choices=tuple(SIGNS))
    deltas = [delta async for delta in call(request, Scope())]
    assert deltas[1].text == SIGNS[int(np.argmax(encoder.logits(*ids_of(TEXT))))]
