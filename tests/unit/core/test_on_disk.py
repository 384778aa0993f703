import pytest

from flowllm.core.on_disk import is_folder, lies_there


@pytest.mark.parametrize(
    ("name", "there", "folder"),
    [
        (".", True, True),
        ("file", True, False),
        ("none", False, False),
        ("file/below", False, False),
        ("x" * 300, False, False),
        ("x/" * 3000, False, False),
        ("a\0b", False, False),
    ],
)
def test_a_question_that_is_refused_is_a_no(tmp_path, name, there, folder):
    (tmp_path / "file").touch()
    assert (lies_there(tmp_path / name), is_folder(tmp_path / name)) == (there, folder)
