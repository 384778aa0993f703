import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowllm.core.shell_line import shell_line


@given(st.lists(st.text()))
def test_a_shell_reads_the_words_back(words):
    assert shlex.split(shell_line(*words)) == words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["flowllm", "pull", "acme/tiny@v1.2"], "flowllm pull acme/tiny@v1.2"),
        (["cp", "-rL", "my models/x", "COPY"], "cp -rL 'my models/x' COPY"),
    ],
)
def test_only_what_needs_quotes_has_them(words, line):
    assert shell_line(*words) == line
