import json
import os

import pytest

from flowllm.backends.local.layout import describe, files_of
from flowllm.backends.local.manifest import NAME, check_manifest, identity, read_manifest, write_manifest
from flowllm.backends.local.safety import safe_name
from flowllm.core.errors import SetupError
from tests.local_models.encoders import write_embedder


@pytest.fixture
def folder(tmp_path):
    write_embedder(tmp_path / "m")
    write_manifest(tmp_path / "m", {"repo": "acme/tiny"})
    return tmp_path / "m"


def checked(folder):
    return check_manifest(folder, files_of(describe(folder)))


def test_a_whole_folder_is_as_its_manifest_says(folder):
    assert checked(folder)
    listed = read_manifest(folder)
    assert {"model.onnx", "tokenizer.json", "1_Pooling/config.json"} <= listed.keys()
    assert listed["model.onnx"][0] == (folder / "model.onnx").stat().st_size
    assert json.loads((folder / NAME).read_text())["source"] == {"repo": "acme/tiny"}


def test_a_folder_without_one_is_taken_as_it_is(folder):
    (folder / NAME).unlink()
    assert not checked(folder)


def flipped(folder):
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-200] ^= 1
    (folder / "model.onnx").write_bytes(content)


def shorter(folder):
    (folder / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes()[:-1])


def entry(folder, name, value):
    made = json.loads((folder / NAME).read_text())
    made["files"][name] = value
    (folder / NAME).write_text(json.dumps(made))


def planted(name):
    """Puts a file that is read into a folder whose manifest does not know it."""

    def plant(folder):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("{}")

    return plant


def elsewhere(folder):
    (folder / NAME).rename(folder.parent / NAME)
    (folder / NAME).symlink_to(folder.parent / NAME)


def nowhere(folder):
    (folder / NAME).unlink()
    (folder / NAME).symlink_to(folder / "nothing")


FINE = {"size": 1, "sha256": "0" * 64}
SPOILT = [
    (flipped, "bad_model_file", "is not what its manifest says"),
    (shorter, "bad_model_file", "and should have"),
    (lambda folder: (folder / "tokenizer.json").unlink(), "missing_model_file", "lacks its file tokenizer.json"),
    (planted("config_2.json"), "bad_model_file", "config_2.json of the model in"),
    (planted("chat_template.jinja"), "bad_model_file", "chat_template.jinja of the model in"),
    (planted("3_Pooling/config.json"), "bad_model_file", "3_Pooling/config.json of the model in"),
    (planted("Own/config.json"), "bad_model_file", "Own/config.json of the model in"),
    (lambda folder: (folder / NAME).write_text("{}"), "bad_model_file", "does not list files"),
    (lambda folder: entry(folder, "../../x", FINE), "bad_model_file", "outside of its folder"),
    (lambda folder: entry(folder, "/etc/passwd", FINE), "bad_model_file", "outside of its folder"),
    (lambda folder: entry(folder, "modeling.py", FINE), "bad_model_file", "lists a program"),
    (lambda folder: entry(folder, "x", {"size": 1, "sha256": "0"}), "bad_model_file", "does not list files"),
    (lambda folder: os.link(folder / "tokenizer.json", folder / "two"), "bad_model_file", "a second name"),
    (elsewhere, "bad_model_file", "is a symbolic link"),
    (nowhere, "bad_model_file", "is a symbolic link"),
    (lambda folder: os.link(folder / NAME, folder / "two"), "bad_model_file", "has a second name"),
]


@pytest.mark.parametrize(("spoil", "code", "words"), SPOILT)
def test_what_is_not_as_it_was_is_told(folder, spoil, code, words):
    spoil(folder)
    with pytest.raises(SetupError) as caught:
        checked(folder)
    assert caught.value.code == code
    assert words in caught.value.message


def test_programs_are_left_out(folder):
    (folder / "modeling.py").write_text("print()")
    assert "modeling.py" not in write_manifest(folder)["files"]


def test_identities_tell_models_apart(folder):
    def now():
        return identity(folder, files_of(describe(folder)))

    first = now()
    assert now() == first
    entry(folder, "x", FINE)
    second = now()
    (folder / NAME).unlink()
    third = now()
    os.utime(folder / "model.onnx", (1, 1))
    assert len({first, second, third, now()}) == 4


@pytest.mark.parametrize("name", ["tokenizer.json", "1_Pooling/config.json", "chat_template.jinja"])
def test_identities_are_of_all_that_is_read(folder, name):
    (folder / NAME).unlink()
    (folder / "chat_template.jinja").write_text("{{ messages }}")

    def now():
        return identity(folder, files_of(describe(folder)))

    first = now()
    assert now() == first
    os.utime(folder / name, (1, 1))
    assert now() != first


@pytest.mark.parametrize("name", ["notes.txt", "model.safetensors.index.json", "onnx/notes.json"])
def test_what_is_never_read_may_lie_there(folder, name):
    planted(name)(folder)
    assert checked(folder)


NAMES = [
    ("model.onnx", True),
    ("onnx/model.onnx", True),
    ("..", False),
    ("a/../b", False),
    ("/a", False),
    ("a//b", False),
    ("./a", False),
    ("a\\b", False),
    ("C:a", False),
    ("a\x00", False),
    ("a\u202eb", False),
    ("", False),
]


@pytest.mark.parametrize(("name", "safe"), NAMES)
def test_names_that_stay_inside(name, safe):
    assert safe_name(name) == safe
