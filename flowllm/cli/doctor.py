"""`flowllm doctor`: what is installed, found and set, and what is broken. Ends with 3 when something is."""

import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowllm.cli.options import Command
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen

DISTRIBUTION = "flowllm-pipelines"
OLDEST = (3, 11)


@record
class Finding:
    """One line of the report; ``ok`` False is something broken, with what helps in ``hint``."""

    topic: str
    name: str
    value: str
    ok: bool = True
    hint: str = ""


@record(kw_only=True)
class Doctor(Command):
    """Look at the installation: packages, kinds, providers, local, keys, cache, folders, terminal."""

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
    """What a look finds, under its name; one that breaks is a finding itself."""
    found: list[Finding] = []
    try:
        found.extend(look())
    except Exception as error:  # noqa: BLE001  doctor has to say what is broken, whatever it is
        found.extend(_broken(look.__name__, error))
    return found


def _broken(topic: str, error: Exception) -> Iterator[Finding]:
    """What an error says: each of its problems with its place."""
    from flowllm.cli.excerpt import shown
    from flowllm.cli.render import problems_of
    from flowllm.core.errors import FlowError

    if not isinstance(error, FlowError):
        yield Finding(topic, type(error).__name__, str(error), ok=False)
        return
    for problem in problems_of(error):
        place = shown(problem.origin) or problem.where or problem.code
        yield Finding(topic, place, problem.message, ok=False, hint=problem.hint)


def python() -> Iterator[Finding]:
    """The interpreter and the system."""
    fine = sys.version_info[:2] >= OLDEST
    hint = "" if fine else "Python 3.11 or newer is needed"
    yield Finding("python", "version", platform.python_version(), ok=fine, hint=hint)
    yield Finding("python", "executable", sys.executable)
    yield Finding("python", "system", platform.platform())
    yield Finding("python", "encoding", f"stdout {sys.stdout.encoding}, files {sys.getfilesystemencoding()}")


def packages() -> Iterator[Finding]:
    """What flowllm needs, and whether another project called flowllm owns the import."""
    from flowllm import __version__

    yield Finding("packages", "flowllm", f"{__version__} from {Path(__file__).resolve().parents[1]}")
    other = _version("flowllm")
    if other is not None:
        hint = f"pip uninstall flowllm; then install {DISTRIBUTION} again"
        yield Finding("packages", "distribution `flowllm`", f"{other}, another project", ok=False, hint=hint)
    for name, extra in _required():
        if not extra:
            version = _version(name)
            hint = "" if version else "install flowllm again"
            yield Finding("packages", name, version or "missing", ok=version is not None, hint=hint)


def extras() -> Iterator[Finding]:
    """What can be added."""
    for name, extra in _required():
        if extra and name != DISTRIBUTION:  # an extra that has all of another one
            yield Finding("extras", f"{name} ({extra})", _version(name) or "not installed")


def kinds() -> Iterator[Finding]:
    """Every kind of node, and whether it can be imported."""
    from flowllm.cli.opening import here

    known = here().kinds
    found, broken = [], []
    for name in known.names():
        try:
            found.append(name if known.find(name) is not None else "")
        except Exception as error:  # noqa: BLE001  somebody else's code
            broken += list(_broken("kinds", error))
    yield Finding("kinds", "can be used", ", ".join(filter(None, found)))
    yield from broken


def providers() -> Iterator[Finding]:
    """Every provider, and whether its key is found; never a key itself."""
    from flowllm.cli.opening import here
    from flowllm.cli.providers import provider_rows

    for row in provider_rows(here()):
        where = f" at {row['base_url']}" if row["base_url"] else ""
        unset = "".join(f", setting `{name}`: {reason}" for name, reason in row["unset"].items())
        yield Finding("providers", row["name"], f"{row['models']} models{where}{unset}, key: {row['key']}")


def local() -> Iterator[Finding]:
    """The packages for models of this machine, the devices that can run them, and where they lie."""
    from flowllm.api.local import diagnosis
    from flowllm.cli.opening import here

    for look in diagnosis(here(), _version):
        yield Finding("local models", look.name, look.value, look.ok, look.hint)


def keys() -> Iterator[Finding]:
    """Where keys are kept, and their names."""
    from flowllm.backends.auth.keys import KeyStore

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


LOOKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    python, packages, extras, kinds, providers, local, keys, cache, folders, terminal
)  # fmt: skip


def _required() -> Iterator[tuple[str, str]]:
    """Names of the distributions that ours asks for on this system, with their extra."""
    import re
    from importlib import metadata

    try:
        lines = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        lines = _declared()
    for line in lines:
        systems = re.findall(r"sys_platform\s*(==|!=)\s*['\"](\w+)", line)
        if any((sign == "==") != (system == sys.platform) for sign, system in systems):
            continue
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
