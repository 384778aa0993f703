# ruff: noqa: RUF001  typographic marks of several scripts are meant
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.sentences import split_sentences

ONE = [  # no full stop inside ends a sentence
    "Dr. Ana met Mr. B. J. Kowalczyk & Sons at 3.5 km/h.",
    "We came z.B. Häuser, d.h. Bauten, ansehen.",
    "Es war z. B. Montag.",
    "See No. 5 and Fig. 3 on p. 12.",
    "Am 1. April gilt der 2. Versuch.",
    "They live in the U.S. Senate's shadow.",
    'He asked "Why?" and left.',
    "Well... perhaps he did.",
    "Read docs.example.org/a.b?c=d for v1.2.3 of it.",
    "At 10 p.m. we left.",
    "He came on Jan. 5 with Prof. Þóra Einarsdóttir.",
    "A line that was\nwrapped by hand at\nsome width goes on.",
    "We saw the guests in room\n12. of them one left.",
    "J.R.R. Tolkien wrote it.",
    "Die Busse kosten 41 Mio. Euro, die Bahn 2 Mrd. Franken.",
    "Katzen, z. B. Perser, sind i. d. R. Haustiere.",
    "Es gibt dort Hunde, Katzen usw. Tiere aller Art.",
    "Ein Heft hat max. 40 Seiten, vgl. Abb. 3.",
    "Se vende p. ej. Leche en EE. UU. Nada más.",
    "Messrs. Allen met Mlle. Dubois.",
    "「行く。」と彼は言った。",
]
SEVERAL = [
    ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
    ("Am 12. Mai kam er. Am 3. Mai auch.", ["Am 12. Mai kam er.", "Am 3. Mai auch."]),
    ("Es waren 112. Mai war es.", ["Es waren 112.", "Mai war es."]),
    ("Really?! Yes.", ["Really?!", "Yes."]),
    ('"I did not." He left.', ['"I did not."', "He left."]),
    ("(It was small.) Then it grew.", ["(It was small.)", "Then it grew."]),
    ("Il a dit : « Bonjour. » Puis il est parti.", ["Il a dit : « Bonjour. »", "Puis il est parti."]),
    ("« Oui !\u202f» « Non\u00a0?\u00a0» Rien.", ["« Oui !\u202f»", "« Non\u00a0?\u00a0»", "Rien."]),
    ("Er sprach. »Komm her.« Er ging.", ["Er sprach.", "»Komm her.«", "Er ging."]),
    ("Es kostet 3 Mrd. Die Stadt zahlt.", ["Es kostet 3 Mrd.", "Die Stadt zahlt."]),
    ("Er starb 44 v. Chr. Die Stadt trauerte.", ["Er starb 44 v. Chr.", "Die Stadt trauerte."]),
    ("He changed his mind. Bob left.", ["He changed his mind.", "Bob left."]),
    ("„Das reicht.“ Er ging.", ["„Das reicht.“", "Er ging."]),
    ("He wrote it in 1998. My wife typed it.", ["He wrote it in 1998.", "My wife typed it."]),
    ("We want apples, pears, etc. The rest is cheap.", ["We want apples, pears, etc.", "The rest is cheap."]),
    ("He works at Acme Inc. The pay is low.", ["He works at Acme Inc.", "The pay is low."]),
    ("No. She left.", ["No.", "She left."]),
    ("So did I. They came.", ["So did I.", "They came."]),
    ("Wait… Then go.", ["Wait…", "Then go."]),
    ("It is so.[12] Others doubt it.", ["It is so.[12]", "Others doubt it."]),
    ("我喜欢苹果。你呢？他说：「好！」走了。", ["我喜欢苹果。", "你呢？", "他说：「好！」", "走了。"]),
    ("هل جئت؟ نعم جئت.", ["هل جئت؟", "نعم جئت."]),
    ("यह घर है। वह पेड़ है।", ["यह घर है।", "वह पेड़ है।"]),
    ("A heading\n\nA text without a stop\n\nThe end", ["A heading", "A text without a stop", "The end"]),
    (
        "Short title\nThe long line that follows it is another thing.",
        ["Short title", "The long line that follows it is another thing."],
    ),
]
MARKED = [
    ("- one\n- two", ["", "one", "two"], ["- ", "\n- ", ""]),
    ("# Title\nText here.\n", ["", "Title", "Text here."], ["# ", "\n", "\n"]),
    ("1. Wipe first. Then oil.\n2. Ride\n", ["", "Wipe first.", "Then oil.", "Ride"], ["1. ", " ", "\n2. ", "\n"]),
    ("One.\n---\nTwo.", ["One.", "Two."], ["\n---\n", ""]),
    ("> Quoted.\n\n* a) Item", ["", "Quoted.", "Item"], ["> ", "\n\n* a) ", ""]),
    ("  \n One.", ["", "One."], ["  \n ", ""]),
    ("One.\r\n\r\nTwo.", ["One.", "Two."], ["\r\n\r\n", ""]),
    ("A. B\n```\nC. D.\n\nE. F.\n```\nG.", ["A. B", "```\nC. D.\n\nE. F.\n```", "G."], ["\n", "\n", ""]),
    ("| A. B | c |\n|---|:-:|\n| D. E | f |", ["| A. B | c |", "| D. E | f |"], ["\n|---|:-:|\n", ""]),
    ("", [], []),
    (" \n", [""], [" \n"]),
    ("---", [""], ["---"]),
]
PIECES = st.sampled_from(
    [
        *'Ab1.?!。…"”) \t\n(é*-#,\u2028\x00\xa0',
        *("Dr", "z", "B", "12", ". ", "...", "[3]", "\n\n", "\r\n", "日本", "the", "The"),
        *("- ", "# ", "2. ", "---", "* ", "```", "\n~~~~\n", "| a |", "« ", " »"),
    ]
)


@pytest.mark.parametrize("text", ONE)
def test_one_sentence_stays_one(text):
    assert split_sentences(text) == ([text], [""])


@pytest.mark.parametrize(("text", "parts"), SEVERAL)
def test_sentences_are_cut(text, parts):
    assert split_sentences(text)[0] == parts


@pytest.mark.parametrize(("text", "parts", "gaps"), MARKED)
def test_marks_and_blanks_are_gaps(text, parts, gaps):
    assert split_sentences(text) == (parts, gaps)


PROSE = [
    ("# Title\n\nOne. Two.", ["", "One.", "Two."]),
    ("Title\n=====\nOne.\n---\nTwo.", ["", "One.", "Two."]),
    ("One.\n\n~~~\nCode. Here.\n~~~\n\nTwo.", ["One.", "Two."]),
    ("| a | b. C |\n|---|---|\nOne | two.", ["", "One | two."]),
    ("One.\n```\nTwo. Three.", ["One.", "```", "Two.", "Three."]),
]


@pytest.mark.parametrize(("text", "parts"), PROSE)
def test_prose_has_no_headings_rows_and_code(text, parts):
    assert split_sentences(text, prose=True)[0] == parts


@given(st.lists(PIECES, max_size=40).map("".join))
def test_in_prose_too_parts_and_gaps_are_the_text(text):
    parts, gaps = split_sentences(text, prose=True)
    assert "".join(part + gap for part, gap in zip(parts, gaps, strict=True)) == text


@given(st.lists(PIECES, max_size=40).map("".join) | st.text(max_size=200))
def test_parts_and_gaps_are_the_text(text):
    parts, gaps = split_sentences(text)
    assert "".join(part + gap for part, gap in zip(parts, gaps, strict=True)) == text
    assert all(part == part.strip() for part in parts)
    assert all(parts[1:])


@pytest.mark.parametrize(
    "piece",
    [
        "1. ",
        "- ",
        ". ",
        '. "',
        "a\n",
        "#",
        "a.b.",
        "word ",
        "...\n\n",
        " \t",
        "1. a\n",
        ")]",
        "```\n",
        "``` x\n",
        "| a |\n",
    ],
)
def test_long_runs_come_back_whole(piece):
    text = piece * 20_000
    parts, gaps = split_sentences(text)
    assert "".join(part + gap for part, gap in zip(parts, gaps, strict=True)) == text
