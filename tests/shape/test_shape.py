"""The house keeps its shape: see checks.py for what each check asks."""

from pathlib import Path

import pytest

from tests.shape import checks

ROOT = Path(__file__).resolve().parents[2]
CHECKS = [
    checks.long_files,
    checks.long_functions,
    checks.long_median,
    checks.wide_functions,
    checks.keyword_trains,
    checks.vague_names,
    checks.unfinished_words,
    checks.unsafe_imports,
    checks.unsafe_calls,
    checks.built_statements,
    checks.large_files,
    checks.home_paths,
    checks.lock_addresses,
    checks.stale_locks,
    checks.broken_layers,
    checks.ruff_findings,
    checks.mypy_findings,
    checks.unmet_requirements,
]
HEAVY = {"hydra", "networkx", "httpx", "aiohttp", "numpy"}
MODULES = [("flowllm", HEAVY | {"rich", "pydantic", "yaml", "jinja2", "typer"}), ("flowllm.cli.main", HEAVY)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_tree_has_no(check):
    assert not check(ROOT), "\n".join(check(ROOT))


@pytest.mark.parametrize(("module", "banned"), MODULES)
def test_import_is_light(module, banned):
    assert not checks.eager_imports(ROOT, module, banned)
