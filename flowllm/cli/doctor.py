"""`flowllm doctor`: what is installed, found and set, and what is broken. Ends with 3 when something is."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.cli.options import Command

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

DISTRIBUTION = "flowllm-pipelines"
OLDEST = (3, 11)


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report; ``ok`` False is something broken, with what helps in ``hint``."""

    topic: str
    name: str
    value: str
    ok: bool = True
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor(Command):
    """Look at the installation: packages, keys, providers, cache, folders, terminal."""

    def carry_out(self, screen: "Screen") -> int:
        """Print the report."""
        findings = [finding for look in LOOKS for finding in _looked(look)]
        if self.as_json:
            rows = [
                {key: getattr(finding, key) for key in ("topic", "name", "value", "ok", "hint")} for finding in findings
            ]
            screen.json({"ok": all(finding.ok for finding in findings), "findings": rows})
        else:
            screen.text("\n".join(_lines(findings)))
        return 0 if all(finding.ok for finding in findings) else 3


def _lines(findings: list[Finding]) -> Iterator[str]:
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            yield topic
        mark = "  " if finding.ok else "! "
        yield f"  {mark}{finding.name}: {finding.value}"
        if finding.hint:
            yield f"      hint: {finding.hint}"


def _looked(look: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """What a look finds; one that breaks is a finding itself."""
    from flowllm.core.errors import FlowError

    try:
        return list(look())
    except FlowError as error:
        return [Finding(look.__name__, error.code, error.message, ok=False, hint=error.hint)]
    except Exception as error:  # noqa: BLE001  doctor has to say what is broken, whatever it is
        return [Finding(look.__name__, type(error).__name__, str(error), ok=False)]


def python() -> Iterator[Finding]:
    """The interpreter and the system."""
    fine = sys.version_info[:2] >= OLDEST
    hint = "" if fine else "Python 3.11 or newer is needed"
    yield Finding("python", "version", platform.python_version(), ok=fine, hint=hint)
    yield Finding("python", "executable", sys.executable)
    yield Finding("python", "system", platform.platform())
    yield Finding("python", "encoding", f"stdout {sys.stdout.encoding}, files {sys.getfilesystemencoding()}")


def packages() -> Iterator[Finding]:
    """What flowllm needs and what extras add."""
    from flowllm import __version__

    yield Finding("packages", "flowllm", __version__)
    for name, extra in _required():
        version = _version(name)
        if extra:
            yield Finding("extras", f"{name} ({extra})", version or "not installed")
        else:
            hint = "" if version else "install flowllm again"
            yield Finding("packages", name, version or "missing", ok=version is not None, hint=hint)


def clash() -> Iterator[Finding]:
    """Whether another project called flowllm owns the import."""
    own = Path(__file__).resolve().parents[1]
    version = _version("flowllm")
    if version is not None:
        hint = f"pip uninstall flowllm; then install {DISTRIBUTION} again"
        yield Finding("packages", "distribution `flowllm`", f"{version}, another project", ok=False, hint=hint)
    yield Finding("packages", "imported from", str(own))


def keys() -> Iterator[Finding]:
    """Which keys are found; never a key itself."""
    from flowllm.backends.auth import KeyStore
    from flowllm.cli.opening import here
    from flowllm.cli.providers import provider_rows

    for row in provider_rows(here()):
        where = f" at {row['base_url']}" if row["base_url"] else ""
        yield Finding("providers", row["name"], f"{row['models']} models{where}, key: {row['key']}")
    store = KeyStore()
    yield Finding("keys", "file", f"{store.path}" + ("" if store.path.exists() else " (none yet)"))
    yield Finding("keys", "kept", ", ".join(store.list()) or "none")


def cache() -> Iterator[Finding]:
    """The cache's folder, its state and size."""
    from flowllm.backends.store import DiskStore
    from flowllm.cli.tables import size

    troubles: list[str] = []
    store = DiskStore(warn=troubles.append)
    stats = store.stats()
    store.close()
    yield Finding("cache", "folder", stats.folder)
    yield Finding("cache", "entries", f"{stats.entries}, {size(stats.size)}")
    for trouble in troubles:
        yield Finding("cache", "trouble", trouble, ok=False, hint="flowllm cache clear")


def folders() -> Iterator[Finding]:
    """Where configuration, providers and pipelines are looked for."""
    from flowllm.cli.opening import here
    from flowllm.config import packaged

    project = here().project
    yield Finding("folders", "project", str(project))
    for name in ("conf", "providers"):
        places = [place for place in dict.fromkeys((project / name, packaged(name))) if place.is_dir()]
        hint = "" if places else "install flowllm again"
        yield Finding("folders", name, ", ".join(map(str, places)) or "none", ok=bool(places), hint=hint)
    yield Finding("folders", ".env", "found" if (project / ".env").is_file() else "none")


def terminal() -> Iterator[Finding]:
    """What stdout and stderr are."""
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        yield Finding("terminal", name, "a terminal" if stream.isatty() else "no terminal")
    for name in ("TERM", "NO_COLOR", "CI", "LANG"):
        yield Finding("terminal", name, os.environ.get(name) or "not set")


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (python, packages, clash, keys, cache, folders, terminal)


def _required() -> Iterator[tuple[str, str]]:
    """Names of the distributions that ours asks for, with their extra."""
    import re
    from importlib import metadata

    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        lines = _declared()
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)", line)
        yield re.split(r"[\s<>=!~;\[(]", line, maxsplit=1)[0], extra[1] if extra else ""


def _declared() -> list[str]:
    """The same from a checkout, which need not be installed."""
    settings = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if not settings.is_file():
        return []
    import tomllib

    project: dict[str, Any] = tomllib.loads(settings.read_text("utf-8"))["project"]
    extras = project.get("optional-dependencies", {})
    return [
        *project["dependencies"],
        *(f'{line}; extra == "{name}"' for name, lines in extras.items() for line in lines),
    ]


def _version(name: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


COMMAND = Doctor
