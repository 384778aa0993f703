import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flowllm.config.files import LIMIT, read_text_file
from flowllm.core.errors import UsageError


@pytest.fixture
def root(tmp_path):
    inside = tmp_path / "project"
    (inside / "sub").mkdir(parents=True)
    (inside / "ok.txt").write_text("ok")
    (inside / "sub" / "in.txt").write_text("in")
    (inside / "link.txt").symlink_to("ok.txt")
    (inside / "sub" / "up.txt").symlink_to("../ok.txt")
    (tmp_path / "secret.txt").write_text("secret")
    (inside / "out.txt").symlink_to(tmp_path / "secret.txt")
    (inside / "outdir").symlink_to(tmp_path)
    (inside / "loop").symlink_to("loop")
    os.mkfifo(inside / "pipe")
    (inside / "linkpipe").symlink_to("pipe")
    (inside / "big").write_bytes(b"x" * (LIMIT + 1))
    (inside / "latin").write_bytes(b"caf\xe9")
    (inside / "utf16").write_text("x", encoding="utf-16")
    (inside / "bom").write_bytes(b"\xef\xbb\xbfx\r\ny")
    (tmp_path / "project-other").mkdir()
    (tmp_path / "project-other" / "x.txt").write_text("x")
    return inside


@pytest.fixture(autouse=True)
def no_hang():
    def stop(*_):
        raise AssertionError("reading a file hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("ok.txt", "ok"),
        ("./sub/in.txt", "in"),
        ("sub/../ok.txt", "ok"),
        ("link.txt", "ok"),
        ("sub/up.txt", "ok"),
        ("bom", "x\r\ny"),
    ],
)
def test_paths_in_yaml_under_the_project(root, path, text):
    assert read_text_file(path, under=root) == text


def test_paths_in_yaml_start_at_their_file(root):
    assert read_text_file("../ok.txt", under=root, base=root / "sub") == "ok"


REFUSED = [
    ("../secret.txt", "outside the project"),
    ("sub/../../secret.txt", "outside the project"),
    ("../project-other/x.txt", "outside the project"),
    ("/etc/passwd", "relative"),
    ("/proc/self/environ", "relative"),
    ("~/x", "relative"),
    ("C:\\x", "relative"),
    ("..\\x", "relative"),
    ("out.txt", "outside the project"),
    ("outdir/secret.txt", "outside the project"),
    ("loop", "link"),
    ("pipe", "no regular file"),
    ("linkpipe", "no regular file"),
    ("sub", "folder"),
    (".", "folder"),
    ("", "folder"),
    ("none.txt", "no such file"),
    ("ok.txt/x", "not a directory"),
    ("ok.txt\0", "NUL"),
    ("x" * 300, "too long"),
    ("big", "larger than 10 MiB"),
    ("latin", "byte 0xe9 at offset 3"),
    ("utf16", "UTF-16"),
]


@pytest.mark.parametrize(("path", "why"), REFUSED)
def test_paths_in_yaml_that_are_refused(root, path, why):
    with pytest.raises(UsageError, match=why) as caught:
        read_text_file(path, under=root)
    assert caught.value.code == "file_refused"
    assert caught.value.hint
    assert "secret" not in str(caught.value).replace(path, "")


@pytest.mark.parametrize(
    ("path", "text"), [("link.txt", "ok"), ("out.txt", "secret"), ("../secret.txt", "secret"), ("sub/in.txt", "in")]
)
def test_paths_on_the_command_line_have_the_users_rights(root, path, text):
    assert read_text_file(root / path) == text


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/dev/tty", "pipe", "linkpipe", "sub", "none", "big"])
def test_paths_on_the_command_line_that_are_refused(root, path):
    with pytest.raises(UsageError) as caught:
        read_text_file(root / path)
    assert caught.value.code == "file_refused"


def test_a_folder_swapped_for_a_link_is_not_followed(root, tmp_path, monkeypatch):
    from flowllm.config import files

    real = files.resolve

    def swap(path, *, under, base):
        found = real(path, under=under, base=base)
        (root / "sub").rename(root / "was")
        (tmp_path / "in.txt").write_text("stolen")
        (root / "sub").symlink_to(tmp_path)
        return found

    monkeypatch.setattr(files, "resolve", swap)
    with pytest.raises(UsageError) as caught:
        read_text_file("sub/in.txt", under=root)
    assert caught.value.code == "file_refused"


def test_no_handle_is_left_open(root):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path, _ in REFUSED:
        with pytest.raises(UsageError):
            read_text_file(path, under=root)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_reading_files_imports_nothing_heavy():
    code = "import sys, flowllm.config; print(sorted({'hydra', 'omegaconf', 'yaml', 'jinja2'} & {*sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "[]", done.stderr
