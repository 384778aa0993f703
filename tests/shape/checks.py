"""Checks of the house's shape: each takes the root of a tree and returns what is wrong there, one line each."""

import ast
import re
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

FILE_LINES, FUNCTION_LINES, MEDIAN_LINES, ARGUMENTS = 400, 50, 10, 6
MEGABYTE = 1_000_000
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|not implemented|for now)\b")
ADDRESS = re.compile(r"://|\bfile:|--(extra-)?index|--find-links|--trusted-host")
HOME = re.compile(r"(?<![\w.$}-])/(?:home|Users)/\w[\w.-]*/|(?<![\w.$}-])/root/\w")
HYDRA_CALLS = {"instantiate", "call", "get_method", "get_class", "get_object"}
UNSAFE_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
UNSAFE_YAML = {"load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(root: Path) -> Iterator[tuple[str, str]]:
    """Every module of the package: its path from the root, and its text."""
    for path in sorted((root / "flowllm").rglob("*.py")):
        yield path.relative_to(root).as_posix(), path.read_text("utf-8")


def nodes(root: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every syntax node of the package with its place."""
    for name, text in sources(root):
        for node in ast.walk(ast.parse(text)):
            yield f"{name}:{getattr(node, 'lineno', 1)}", node


def functions(root: Path) -> Iterator[tuple[str, Function]]:
    for place, node in nodes(root):
        if isinstance(node, Function):
            yield f"{place} {node.name}", node


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def long_files(root: Path) -> list[str]:
    sizes = ((name, len(text.splitlines())) for name, text in sources(root))
    return [f"{name}: {size} lines" for name, size in sizes if size > FILE_LINES]


def long_functions(root: Path) -> list[str]:
    sizes = ((place, length(function)) for place, function in functions(root))
    return [f"{place}: {size} lines" for place, size in sizes if size > FUNCTION_LINES]


def long_median(root: Path) -> list[str]:
    sizes = [length(function) for _, function in functions(root)]
    median = statistics.median(sizes or [0])
    return [f"the median function has {median} lines"] if median >= MEDIAN_LINES else []


def wide_functions(root: Path) -> list[str]:
    """Functions with more than six arguments besides self."""
    found = []
    for place, function in functions(root):
        every = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        count = sum(argument.arg not in ("self", "cls") for argument in every)
        found += [f"{place}: {count} arguments"] if count > ARGUMENTS else []
    return found


def keyword_trains(root: Path) -> list[str]:
    return [place for place, function in functions(root) if function.args.kwarg]


def vague_names(root: Path) -> list[str]:
    """Files and folders whose name says nothing."""
    paths = [path for path in (root / "flowllm").rglob("*") if "__pycache__" not in path.parts]
    vague = re.compile(r"(utils?|helpers?|base_.*)$")
    return [str(path.relative_to(root)) for path in paths if vague.match(path.stem)]


def unfinished_words(root: Path) -> list[str]:
    return [
        f"{name}:{number} {line.strip()}"
        for name, text in sources(root)
        for number, line in enumerate(text.splitlines(), 1)
        if UNFINISHED.search(line)
    ]


def unsafe_imports(root: Path) -> list[str]:
    """Modules that run code from data, and Hydra's calls of named targets."""
    found = []
    for place, node in nodes(root):
        if isinstance(node, ast.Import):
            names = {alias.name.split(".")[0] for alias in node.names} & UNSAFE_MODULES
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            names = {module.split(".")[0]} & UNSAFE_MODULES
            if module.startswith("hydra"):
                names |= {alias.name for alias in node.names} & HYDRA_CALLS
            if module == "yaml":
                names |= {alias.name for alias in node.names} & UNSAFE_YAML
        else:
            continue
        found += [f"{place} imports {name}" for name in sorted(names)]
    return found


def unsafe_calls(root: Path) -> list[str]:
    """eval, exec, hydra.utils.instantiate and its like, yaml.load and its like."""
    found = []
    for place, node in nodes(root):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        owner, _, name = called.rpartition(".")
        hydra = owner.startswith("hydra") and name in HYDRA_CALLS
        yaml = owner == "yaml" and name in UNSAFE_YAML
        code = called in ("eval", "exec", "builtins.eval", "builtins.exec", "__import__")
        found += [f"{place} calls {called}"] if hydra or yaml or code else []
    return found


def built_statements(root: Path) -> list[str]:
    """SQL glued together from values: an f-string, %, + or format inside execute()."""
    found = []
    for place, node in nodes(root):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        if node.func.attr in ("execute", "executemany", "executescript") and is_built(node.args[0]):
            found.append(f"{place} builds a statement: {ast.unparse(node.args[0])}")
    return found


def is_built(text: ast.expr) -> bool:
    if isinstance(text, ast.Call):
        return isinstance(text.func, ast.Attribute) and text.func.attr == "format"
    if isinstance(text, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in text.values)
    return isinstance(text, ast.BinOp)


def tracked(root: Path) -> list[Path]:
    """What git knows or would take: tracked files and new ones that are not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=root, check=True, capture_output=True, text=True).stdout
    return [root / name for name in names.split("\0") if name and (root / name).is_file()]


def large_files(root: Path) -> list[str]:
    sizes = ((path, path.stat().st_size) for path in tracked(root))
    return [f"{path.relative_to(root)}: {size} bytes" for path, size in sizes if size > MEGABYTE]


def home_paths(root: Path) -> list[str]:
    """Folders of one machine in files for all of them."""
    found = []
    for path in tracked(root):
        for number, line in enumerate(path.read_bytes().decode("utf-8", "replace").splitlines(), 1):
            if HOME.search(line):
                found.append(f"{path.relative_to(root)}:{number} {line.strip()[:80]}")
    return found


def lock_addresses(root: Path) -> list[str]:
    """Locks hold names, versions and hashes: no address of an index; uv.lock cannot do without."""
    found = [str(path.relative_to(root)) for path in tracked(root) if path.name == "uv.lock"]
    for path in tracked(root):
        if path.suffix == ".txt" and "requirements" in path.as_posix().removeprefix(root.as_posix()):
            lines = enumerate(path.read_text("utf-8").splitlines(), 1)
            found += [f"{path.name}:{number} {line}" for number, line in lines if ADDRESS.search(line)]
    return found


def locked(root: Path, name: str) -> set[str]:
    """Lines `package==version ; marker` of a lock."""
    text = (root / "bin/requirements" / f"{name}.txt").read_text("utf-8")
    return {line.rstrip(" \\") for line in text.splitlines() if re.match(r"[a-z0-9]", line)}


def stale_locks(root: Path) -> list[str]:
    """Locks that lack a declared dependency or differ from core, and extras that setup.sh does not know."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    core = locked(root, "core")
    declared = {"core": project["dependencies"], "count": extras["count"]}
    found = [
        f"{name}.txt differs from core.txt: {line}" for name in ("dev", "count") for line in core - locked(root, name)
    ]
    for name, wanted in declared.items():
        packages = {line.split("==")[0] for line in locked(root, name)}
        found += [f"{name}.txt lacks {want}" for want in wanted if distribution(want) not in packages]
    if f"known_extras='{' '.join(sorted(extras))}'" not in (root / "bin/setup.sh").read_text("utf-8"):
        found.append("bin/setup.sh does not list the extras of pyproject.toml")
    return found


def distribution(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    return re.sub(r"[-_.]+", "-", name[0]).lower() if name else requirement


def run_tool(root: Path, *arguments: str) -> list[str]:
    """Runs Python with arguments in a tree; its output when it fails."""
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def broken_layers(root: Path) -> list[str]:
    code = "from importlinter.cli import lint_imports_command as run; run(['--no-cache'])"
    return run_tool(root, "-c", code)


def ruff_findings(root: Path) -> list[str]:
    return run_tool(root, "-m", "ruff", "check", "--output-format", "concise", ".")


def mypy_findings(root: Path) -> list[str]:
    return run_tool(root, "-m", "mypy", "--strict", "flowllm")


def unmet_requirements(root: Path) -> list[str]:
    return run_tool(root, "-m", "pip", "check")


def eager_imports(root: Path, module: str, banned: set[str]) -> list[str]:
    """Banned packages that importing a module brings in."""
    command = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        return [done.stderr[-2000:]]
    names = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    return [f"import {module} brings {name}" for name in sorted(names & banned)]
