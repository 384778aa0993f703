# ruff: noqa: RUF001  typographic marks of several scripts are meant
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.text.words import count_words, prose


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        (" \n", 0),
        ("One two\nthree", 3),
        ("l'été — déjà", 3),
        ("한국어 단어", 2),
        ("東京都は来年。", 6),
        ("カタカナー、々", 6),
        ("你好，world 3.5。", 4),
        ("iPhone发布了", 4),
        ("𠀀𠀁", 2),
        ("สวัสดีชาวโลก", 3),
        ("ကမ္ဘာ မြန်", 2),
    ],
)
def test_words_are_counted(text, count):
    assert count_words(text) == count


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_with_blanks_words_are_what_blanks_divide(text):
    assert count_words(text) == len(text.split())


@given(st.lists(st.sampled_from(["あいう。", "「漢字」", "One two.", "สวัสดี", "x。"]), max_size=8))
def test_words_of_prose_are_those_of_its_texts(texts):
    assert count_words(prose(texts)) == sum(map(count_words, texts))


@pytest.mark.parametrize(
    ("texts", "joined"),
    [
        ([], ""),
        (["One."], "One."),
        (["One.", "Two."], "One. Two."),
        (["你好。", "世界！", "Hi.", "好"], "你好。世界！Hi. 好"),
        (["「はい。」", "はい”", "x"], "「はい。」はい”x"),
        (["สวัสดี", "โลก"], "สวัสดี โลก"),
        (["안녕.", "네."], "안녕. 네."),
    ],
)
def test_prose_has_no_blank_behind_scripts_without_blanks(texts, joined):
    assert prose(texts) == joined
