"""Stands in for a Python that has an exporter: `fake` makes an executable that answers the job as it is told.

It copies a folder with a graph where the exporter would write one. ``does`` is one word for what else it does. Its
first lines are a shell's and nothing to Python: the path of an interpreter may hold a blank.
"""

import sys
from pathlib import Path

SCRIPT = """\
#!/bin/sh
''''exec '{python}' -SE "$0" "$@" # '''
import json, os, pathlib, shutil, sys
job = json.loads(sys.stdin.readline())
target, does = pathlib.Path(job["target"]), {does!r}
here = pathlib.Path({here!r})
seen = sorted(path.name for path in pathlib.Path(job["source"]).iterdir() if path.read_bytes())
told = {{"seen": seen, "offline": os.environ["HF_HUB_OFFLINE"], "environment": sorted(os.environ)}}
(here / "job.json").write_text(json.dumps(job | told))
if does == "lack":
    print(json.dumps({{"code": "missing_extra", "error": "No module named 'optimum'"}}))
    sys.exit()
print('{{"begun": true}}', flush=True)
if does in ("die", "die late", "killed"):
    sys.stderr.write("some words\\nRuntimeError: out of memory\\n")
    sys.stderr.flush()
    if does == "die":
        os._exit(9)
    os.close(1)
    import signal, time

    time.sleep(0.3)
    if does == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    os._exit(3)
shutil.copytree({graph!r}, target)
if does == "outlive":
    import time

    (here / "number").write_text(str(os.getpid()))
    (here / "hangs").write_text("")
    time.sleep(120)
if does == "hang":
    (here / "hangs").write_text("")
    sys.stdin.read()
    (here / "ended").write_text("")
    os._exit(1)
if does == "no tokenizer":
    (target / "tokenizer.json").unlink()
answers = {{
    "garbage": "no json", "list": "[]",
    "hint": json.dumps({{"code": "capability_mismatch", "error": "not this", "hint": "try that"}}),
    "fail": json.dumps({{"code": "capability_mismatch", "error": "optimum exports no models of the type `odd`"}}),
    "full": json.dumps({{"full": True}}),
    "unfilled": json.dumps({{"class": "XModel", "lacking": [f"layers.2.{{one}}" for one in "abcde"]}}),
    "speaks": json.dumps({{"code": "bad_model_file", "error": "no " + job["source"] + "/x.json"}}),
    "doubt": json.dumps({{"by": {{}}, "doubts": ["a difference of 0.1"]}}),
    "build": json.dumps({{"exporter": "builder", "by": {{"onnxruntime-genai": "0.18"}}, "doubts": []}}),
}}
print(answers.get(does) or json.dumps({{"exporter": "optimum", "by": {{"optimum-onnx": "0.1"}}, "doubts": []}}))
sys.stdout.flush()
sys.stdin.read()
if does == "linger":
    import time

    time.sleep(10)
    (here / "ended").write_text("")
"""


def fake(here: Path, graph: Path, does: str = "") -> Path:
    """The executable; it writes what it was asked into ``here / job.json``."""
    path = here / "exporter"
    path.write_text(SCRIPT.format(python=sys.executable, does=does, here=str(here), graph=str(graph)))
    path.chmod(0o755)
    return path
