"""bin/flowllm and bin/test on a checkout with a blank in its path and a stub in place of Python."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

BIN = Path(__file__).resolve().parents[3] / "bin"
STUB = Path(__file__).with_name("python_stub")
LOCKS = ("core", "dev", "aws", "azure", "count", "gcp", "uv", "build")
READY = "ran -P -m flowllm check "


class Checkout:
    """A folder with bin/, short locks, and the record of what was asked of Python."""

    def __init__(self, root):
        self.root = root
        self.calls_file = root.parent / "calls"
        shutil.copytree(BIN, root / "bin")
        for name in LOCKS:
            (root / f"bin/requirements/{name}.txt").write_text(f"{name}==1\n")

    def environment(self, **more):
        known = {"FLOWLLM_PYTHON": str(STUB), "CALLS": str(self.calls_file), "REAL_PYTHON": sys.executable, "FAKE": ""}
        return known | more

    def run(self, *command, script="bin/flowllm", stdin="", **more):
        self.calls_file.write_text("")
        self.calls_file.chmod(0o666)
        command = [str(self.root / script), *(command or ["check"])]
        options = {"input": stdin, "capture_output": True, "text": True, "timeout": 60}
        return subprocess.run(command, env=self.environment(**more), check=False, **options)

    @property
    def calls(self):
        return self.calls_file.read_text().splitlines()

    def built(self):
        return sum("-m venv" in call for call in self.calls)


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "a b").mkdir()
    return Checkout(tmp_path / "a b" / "it's here")


def test_first_run_sets_up_and_second_starts_nothing_but_the_program(checkout):
    first = checkout.run()
    assert (first.returncode, first.stdout.strip(), checkout.built()) == (0, READY.strip(), 1)
    assert first.stderr.splitlines() == [f"flowllm: setting up {checkout.root}/.venv"]
    again = checkout.run()
    assert (again.stdout, again.stderr, checkout.calls) == (first.stdout, "", ["-P -m flowllm check"])


@pytest.mark.parametrize("fake", ["", "no-uv", "uv-fails", "no-ensurepip"])
def test_every_install_checks_hashes(checkout, fake):
    assert checkout.run(FAKE=fake).returncode == 0
    installs = [call for call in checkout.calls if " install -q " in call]
    assert len(installs) >= 3
    assert all("--require-hashes" in call for call in installs)


def test_without_uv_pip_installs_the_same_locks(checkout):
    checkout.run(FAKE="uv-fails")
    order = [call.split()[0] + " " + call.split("/")[-1] for call in checkout.calls if "pip install" in call]
    assert order == ["-I uv.txt", "uv build.txt", "-I build.txt", "-I core.txt"]


@pytest.mark.parametrize("lock", ["core", "dev"])
def test_a_changed_lock_builds_anew(checkout, lock):
    checkout.run(script="bin/test")
    (checkout.root / f"bin/requirements/{lock}.txt").write_text("other==2\n")
    checkout.run(script="bin/test")
    assert checkout.built() == 1


def test_development_packages_satisfy_the_command_and_outlive_its_lock(checkout):
    checkout.run()
    checkout.run(script="bin/test")
    assert checkout.built() == 1
    checkout.run()
    assert checkout.built() == 0
    (checkout.root / "bin/requirements/core.txt").write_text("other==2\n")
    checkout.run()
    assert checkout.built() == 1
    checkout.run(script="bin/test")
    assert checkout.built() == 0


def test_another_interpreter_builds_anew_and_one_that_is_not_there_is_an_error(checkout, tmp_path):
    checkout.run()
    shutil.copy(STUB, tmp_path / "other")
    checkout.run(FLOWLLM_PYTHON=str(tmp_path / "other"))
    assert checkout.built() == 1
    checkout.run(FLOWLLM_PYTHON="")
    assert checkout.built() == 0
    done = checkout.run(FLOWLLM_PYTHON="/nowhere/python3")
    assert (done.returncode, done.stdout, checkout.built()) == (3, "", 0)


def test_an_index_that_is_not_reached_is_said_in_one_line(checkout):
    done = checkout.run(FAKE="offline")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 2)
    assert "could not install the locked packages: the package index was not reached (all of it: " in done.stderr


def test_a_moved_checkout_builds_anew(checkout, tmp_path):
    checkout.run()
    checkout.root = checkout.root.rename(tmp_path / "elsewhere")
    assert checkout.run().returncode == 0
    assert checkout.built() == 1


def test_an_interrupted_install_is_never_used(checkout):
    assert checkout.run(FAKE="killed").returncode == -9
    assert (checkout.root / ".venv/bin/python").exists()
    assert checkout.run().stdout == READY + "\n"
    assert checkout.built() == 1


def test_an_interrupted_removal_is_never_used(checkout, tmp_path):
    checkout.run()
    (tmp_path / "rm").write_text('#!/bin/sh\n[ "$1" = -f ] || exec kill -9 "$PPID"\nexec /bin/rm "$@"\n')
    (tmp_path / "rm").chmod(0o755)
    lock = checkout.root / "bin/requirements/core.txt"
    lock.write_text("other==2\n")
    assert checkout.run(PATH=f"{tmp_path}:/usr/bin:/bin").returncode == -9
    lock.write_text("core==1\n")
    checkout.run()
    assert checkout.built() == 1


def test_a_half_built_environment_is_replaced(checkout):
    (checkout.root / ".venv/bin").mkdir(parents=True)
    shutil.copy(STUB, checkout.root / ".venv/bin/python")
    assert checkout.run().stdout.startswith("ran")
    assert checkout.built() == 1


def test_two_first_runs_build_once(checkout):
    command = [str(checkout.root / "bin/flowllm"), "check"]
    options = {"env": checkout.environment(), "stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(command, **options) for _ in range(2)]
    assert [process.communicate(timeout=60)[0].strip() for process in both] == [READY.strip()] * 2
    assert checkout.built() == 1


def test_a_lock_file_left_by_a_dead_run_stops_nobody(checkout):
    (checkout.root / ".venv.lock").write_text("4242")
    assert checkout.run().returncode == 0


def test_first_run_leaves_standard_input_to_the_program(checkout):
    assert checkout.run(stdin="an article").stdout == READY + "an article\n"


def test_a_symbolic_link_and_a_relative_path_find_the_checkout(checkout, tmp_path):
    checkout.run()
    link = tmp_path / "flowllm"
    link.symlink_to(checkout.root / "bin/flowllm")
    for command, folder in [([link], tmp_path), (["sh", "flowllm"], checkout.root / "bin"), (["./flowllm"], tmp_path)]:
        options = {"cwd": folder, "env": checkout.environment(), "input": "", "capture_output": True, "text": True}
        done = subprocess.run([*command, "check"], check=False, **options)
        assert done.stdout.strip() == READY.strip()


PLAIN_LINES = [
    (
        {"FLOWLLM_EXTRAS": "foo"},
        2,
        "unknown extra 'foo'; known are: aws azure builder count export gcp genai genai-gpu gpu local",
    ),
    ({"FLOWLLM_EXTRAS": "count,*"}, 2, "unknown extra '*'"),
    ({"FLOWLLM_EXTRAS": "local,gpu"}, 2, "gpu and local exclude each other; install one of them"),
    ({"FLOWLLM_EXTRAS": "genai-gpu,genai"}, 2, "genai-gpu and genai exclude each other; install one of them"),
    ({"FLOWLLM_EXTRAS": "count export"}, 2, "export and count exclude each other; install one of them"),
    ({"FLOWLLM_EXTRAS": "builder export"}, 2, "export and builder exclude each other; install one of them"),
    ({"FAKE": "old"}, 3, "needs Python 3.11 or newer; FLOWLLM_PYTHON="),
    ({"FAKE": "old", "FLOWLLM_PYTHON": ""}, 3, "needs Python 3.11 or newer; none was found"),
    ({"FLOWLLM_PYTHON": "/nowhere/python3"}, 3, "newer; FLOWLLM_PYTHON=/nowhere/python3 is none"),
    ({"FAKE": "no-pip"}, 3, "apt install python3-venv"),
]


@pytest.mark.parametrize(("more", "status", "message"), PLAIN_LINES)
def test_one_plain_line(checkout, tmp_path, more, status, message):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("cat", "cmp", "cp", "grep", "mkdir", "rm", "sed", "sh", "tail", "tr"):
        (tools / name).symlink_to(shutil.which(name))
    done = checkout.run(**{"PATH": str(tools)} | more)
    assert (done.returncode, done.stdout) == (status, "")
    assert message in done.stderr.splitlines()[-1]
    assert done.stderr.splitlines()[-1].startswith("flowllm: ")


def test_a_failed_install_is_one_line_that_names_the_log_and_is_tried_again(checkout):
    done = checkout.run(FAKE="pip-fails")
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 2)
    assert f"ERROR: no such version (all of it: {checkout.root}/.venv/setup.log)" in done.stderr
    assert checkout.run().returncode == 0


@pytest.mark.parametrize("extras", ["count", "count,", " count count"])
def test_an_extra_is_installed_once_and_kept(checkout, extras):
    checkout.run(FLOWLLM_EXTRAS=extras)
    assert any(call.startswith("uv ") and "count.txt" in call for call in checkout.calls)
    checkout.run(FLOWLLM_EXTRAS=extras)
    assert checkout.built() == 0
    checkout.run()
    assert checkout.built() == 0


def test_an_extra_without_a_lock_says_how_it_is_installed(checkout):
    (checkout.root / "bin/requirements/gcp.txt").unlink()
    done = checkout.run(FLOWLLM_EXTRAS="gcp")
    assert done.returncode == 3
    assert "extra gcp has no lock yet; install it with pip install 'flowllm-pipelines[gcp]'" in done.stderr


@pytest.mark.parametrize("extra", ["gpu", "genai-gpu", "export"])
def test_an_extra_that_excludes_the_development_packages_goes_without_them(checkout, extra):
    checkout.run(script="bin/test")
    assert checkout.run(FLOWLLM_EXTRAS=extra).returncode == 0
    installs = [call for call in checkout.calls if f"/{extra}.txt" in call]
    assert installs
    assert not any("dev.txt" in call for call in installs)


def test_a_read_only_checkout_is_one_plain_line():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        checkout = Checkout(folder / "checkout")
        folder.chmod(0o755)
        checkout.root.chmod(0o555)
        shutil.copy(STUB, folder / "python_stub")
        options = {"user": "nobody"} if os.geteuid() == 0 else {}
        environment = checkout.environment(FLOWLLM_PYTHON=str(folder / "python_stub"), CALLS="/dev/null")
        command = [str(checkout.root / "bin/flowllm")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, **options)
        checkout.root.chmod(0o755)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "is read-only" in done.stderr


PIP_SETTINGS = [
    ("global.index-url='https://a/simple'", "UV_DEFAULT_INDEX=https://a/simple"),
    ("global.index-url='https://a'\ninstall.index-url='https://b'", "UV_DEFAULT_INDEX=https://b"),
    (":env:.index-url='https://c'\nglobal.index-url='https://a'", "UV_DEFAULT_INDEX=https://c"),
    ("global.extra-index-url='\\nhttps://a\\nhttps://b'", "UV_INDEX= https://a https://b"),
    ("global.find-links='/one /two'", "UV_FIND_LINKS=/one,/two"),
    ("global.no-index='true'", "UV_NO_INDEX=true"),
    ("global.trusted-host='a b'", "UV_INSECURE_HOST=a b"),
    ("global.cert='/etc/ca.pem'", "SSL_CERT_FILE=/etc/ca.pem"),
    ("", "UV_SYSTEM_CERTS=1"),
]


@pytest.mark.parametrize(("settings", "exported"), PIP_SETTINGS)
def test_settings_of_pip_reach_uv(settings, exported):
    script = f'. "{BIN}/setup.sh"; run_pip() {{ printf "%s\\n" "$SETTINGS"; }}; configure_uv; env'
    environment = {"SETTINGS": settings}
    lines = subprocess.check_output(["sh", "-c", script], env=environment, text=True).splitlines()
    assert exported in lines
    assert sum(line.startswith(("UV_DEFAULT_INDEX", "UV_INDEX=", "UV_FIND_LINKS")) for line in lines) == (
        1 if exported.startswith(("UV_DEFAULT", "UV_INDEX=", "UV_FIND")) else 0
    )


def test_programs_get_a_search_path_where_there_was_none():
    lines = subprocess.check_output(["sh", "-c", f'. "{BIN}/setup.sh"; env'], env={}, text=True).splitlines()
    assert any(line.startswith("PATH=") and "/usr/bin" in line for line in lines)


def clone(folder):
    """A fresh clone, run with nothing in its environment."""
    subprocess.run(["git", "clone", "-q", BIN.parent, folder], check=True)
    return folder


def alone(folder, *command):
    """Runs a command of a clone under an empty environment."""
    return subprocess.run(["env", "-i", *command], cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_a_fresh_clone_runs_leaves_the_tree_clean_and_needs_no_network_again(tmp_path):
    folder = clone(tmp_path / "a b")
    assert alone(folder, "bin/flowllm", "--version").returncode == 0
    assert alone(folder, "PIP_INDEX_URL=http://127.0.0.1:9", "bin/flowllm", "--version").stderr == ""
    assert alone(folder, "git", "status", "--porcelain").stdout == ""
    assert alone(folder, ".venv/bin/python", "-m", "pip", "check").returncode == 0


@pytest.mark.slow
def test_pip_installs_the_locks_where_uv_cannot(tmp_path):
    folder = clone(tmp_path / "clone")
    (folder / "bin/requirements/uv.txt").write_text("uv==0.0.0 --hash=sha256:" + "0" * 64 + "\n")
    assert alone(folder, "PATH=/usr/bin:/bin", "bin/flowllm", "--version").returncode == 0
    assert not (folder / ".venv/bin/uv").exists()
