"""Small files of a model that are read: also where somebody else's folder has a pipe for one."""

import os
import threading

import pytest

from flowllm.backends.local.json_files import read_text
from flowllm.core.errors import SetupError


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names on this system")
def test_nobody_waits_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    said = []

    def read():
        try:
            read_text(tmp_path / "config.json")
        except SetupError as error:
            said.append(error.message)

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(20)
    assert said == [f"{tmp_path / 'config.json'} is no plain file"]


def test_a_file_that_is_not_there_has_no_text(tmp_path):
    assert read_text(tmp_path / "config.json") is None
