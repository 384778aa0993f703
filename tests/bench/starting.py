"""P7 and P8: CPU of whole processes, against bare ones.

The floor of `run` and `check` is a script that imports the third-party modules that were found
imported when the command ended, and composes the same file: with Hydra where it has `defaults`.
"""

import subprocess
from collections.abc import Sequence

from tests.bench.processes import PYTHON, Place, place
from tests.bench.row import Row, Size, Target, in_turns, row

FLOWLLM = (*PYTHON, "-m", "flowllm")
TYPER = (*PYTHON, "-c", "import typer")
COMPLETE = {"_FLOWLLM_COMPLETE": "complete_bash", "COMP_WORDS": "flowllm run ", "COMP_CWORD": "2"}
PLAIN = """\
inputs: {text: string}
nodes:
  ask: {kind: call, model: mock/echo, prompt: "Say {{ inputs.text }}"}
outputs: {text: ask.text}
"""
GROUPED = "defaults: [{retry@policies.retry: standard}, _self_]\n" + PLAIN
_LIST = """\
import os, sys, sysconfig
from flowllm.cli.main import main
assert main(sys.argv[2:]) == 0
site = sysconfig.get_paths()["purelib"], sysconfig.get_paths()["platlib"]
with open(sys.argv[1], "w") as out:
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(site) and module.__name__ == name:
            print(name, file=out)
"""
_COMPOSE = {
    "plain.yaml": "yaml.load(open('plain.yaml'), yaml.CSafeLoader)",
    "grouped.yaml": "hydra.initialize_config_dir(os.getcwd(), version_base=None).__enter__()\n"
    "hydra.compose('grouped.yaml')",
}


def _starts(spot: Place, size: Size) -> list[Row]:
    commands = {"--version": {}, "--help": {}, "completion": COMPLETE}
    commands = dict(list(commands.items())[: size.of(3)])
    ways = [
        *(lambda n=n, e=e: spot.seconds((*FLOWLLM, *([] if e else [n])), e) * 1e3 for n, e in commands.items()),
        lambda: spot.seconds(TYPER) * 1e3,
    ]
    *costs, floor = in_turns(size.rounds, *ways)
    return [
        row(f"P7 {name}", ours, floor, Target(1.5), "ms", "import typer")
        for name, ours in zip(commands, costs, strict=True)
    ]


def third_party(spot: Place, words: Sequence[str]) -> list[str]:
    """The installed modules that a command has imported when it ends, in the order of their import."""
    command = [*PYTHON, "-c", _LIST, "imported.txt", *words]
    subprocess.run(command, cwd=spot.folder, env=dict(spot.environment), check=True, capture_output=True)
    return (spot.folder / "imported.txt").read_text("utf-8").split()


def _script(spot: Place, file: str, words: Sequence[str]) -> str:
    names = third_party(spot, words)
    lines = ["import os", *(f"import {name}" for name in names if name.replace(".", "").isidentifier())]
    return "\n".join([*lines, _COMPOSE[file]])


def _commands(spot: Place, size: Size) -> list[Row]:
    rows = []
    for file, note in (("plain.yaml", ""), ("grouped.yaml", " with defaults"))[: size.of(2)]:
        for words in (("run", file, "-i", "text=hi"), ("check", file)):
            script = _script(spot, file, words)
            ours, floor = in_turns(
                size.rounds,
                lambda words=words: spot.seconds((*FLOWLLM, *words)) * 1e3,
                lambda script=script: spot.seconds((*PYTHON, "-c", script)) * 1e3,
            )
            rows.append(row(f"P8 {words[0]}{note}", ours, floor, Target(1.3), "ms", "same modules, composed"))
    return rows


def measure(size: Size) -> list[Row]:
    """Help, version and completion; `run` and `check` of a small file, without and with `defaults`."""
    with place() as spot:
        (spot.folder / "plain.yaml").write_text(PLAIN, "utf-8")
        (spot.folder / "grouped.yaml").write_text(GROUPED, "utf-8")
        (spot.folder / "retry").mkdir()
        (spot.folder / "retry" / "standard.yaml").write_text("attempts: 4\n", "utf-8")
        return [*_starts(spot, size), *_commands(spot, size)]
