"""Every test starts from the same place: no keys, no folders of the user, no deadlines of hypothesis."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("suite", deadline=None, max_examples=60)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

TODAY = "2026-09-01"
"""The day by which models count as deprecated in tests."""

FOLDERS = ("CACHE", "CONFIG", "DATA", "STATE")


@pytest.fixture(autouse=True, scope="session")
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keys and folders of the user are out of reach of every test, also of the processes it starts."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in FOLDERS:
            patch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
        for name in [name for name in os.environ if name.endswith(("_API_KEY", "_API_TOKEN"))]:
            patch.delenv(name)
        for name in ("FLOWLLM_EXTRAS", "NO_COLOR", "FORCE_COLOR", "CI"):
            patch.delenv(name, raising=False)
        patch.setenv("FLOWLLM_TODAY", TODAY)
        yield
