"""How a command starts soon, and ends soon: what it says before it imports anything, and when all is done.

A start makes some hundred thousand objects and hardly any garbage. To look through them for garbage while they are
made, and once more when the process ends, takes more than a tenth of a short run. So the collector waits until the
work begins, and what stands there by then is not looked through any more. In the end it is, where modules of others
are there: what those hold open is closed by that.
"""

import gc
import os
import sys

WAITING = 200_000
"""New objects after which there is a collection all the same: a bound for commands that have no run."""
_USUAL = gc.get_threshold()
_COMMAND = "flowllm.__main__"
_KNOWN = {
    "__main__", "_distutils_hack", "aiohappyeyeballs", "aiohttp", "aiosignal", "annotated_doc", "annotated_types",
    "antlr4", "attr", "attrs", "click", "cython_runtime", "diskcache", "dotenv", "flowllm", "frozenlist", "hydra",
    "idna", "jinja2", "json_repair", "jsonschema", "jsonschema_specifications", "llguidance", "markdown_it",
    "markupsafe", "mdurl", "multidict", "networkx", "numpy", "omegaconf", "onnxruntime", "orjson", "packaging",
    "platformdirs", "propcache", "pydantic", "pydantic_core", "pygments", "re2", "referencing", "rich", "rpds",
    "shellingham", "structlog", "tiktoken", "tokenizers", "typer", "typing_extensions", "typing_inspection", "yaml",
    "yarl",
}  # fmt: skip
"""Packages that keep nothing open which has to be closed by a collection; one that is missing here costs time."""
_MADE = ("_cython_", "_sysconfigdata_")
"""How the names of modules begin that tools make for packages."""


def begin() -> None:
    """A command starts. Its pydantic models are its own: no installed plugin is looked for to watch them."""
    gc.set_threshold(WAITING)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def end() -> None:
    """The work begins, where a start was begun; or a command without a run ends."""
    if gc.get_threshold()[0] == WAITING:
        gc.freeze()
        gc.set_threshold(*_USUAL)


def leave() -> None:
    """A command ends: what modules of others hold is left to the collector, as in any process."""
    end()
    if _others():
        gc.unfreeze()


def _others() -> bool:
    """Whether modules are there that may keep open what only a collection closes."""
    packages = {name.partition(".")[0] for name in list(sys.modules)} - sys.stdlib_module_names - _KNOWN
    return any(not name.startswith(_MADE) and not _of_python(name) for name in packages) or _started_by_others()


def _of_python(name: str) -> bool:
    """Whether a module lies beside Python's own, as the ``sitecustomize`` of a distribution does."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    return os.path.dirname(file) == os.path.dirname(os.__file__)  # noqa: PTH120  pathlib is imported later


def _started_by_others() -> bool:
    """Whether the program is not this command, and has functions, which keep what stands beside them."""
    program = sys.modules["__main__"]
    if getattr(program.__spec__, "name", "") == _COMMAND:
        return False
    return any(getattr(value, "__module__", None) == "__main__" for value in list(vars(program).values()))
