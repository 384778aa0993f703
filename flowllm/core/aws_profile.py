"""The profile that the tools of AWS would use, and what its shared files say of it.

Files are looked for where the environment says, else in the home that it names; without either there are none.
"""

from collections.abc import Iterator, Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from flowllm.core.record import record

_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config"))


@record
class Section:
    """What one file says of a profile; ``words`` is None where the file cannot be read."""

    file: Path
    words: Mapping[str, str] | None


def profile_name(environment: Mapping[str, str]) -> str:
    """The profile that is chosen by a variable, else ``default``."""
    return environment.get("AWS_DEFAULT_PROFILE") or environment.get("AWS_PROFILE") or "default"


def sections(environment: Mapping[str, str], profile: str) -> Iterator[Section]:
    """The profile in the shared files that there are; what the first of them says holds."""
    home = environment.get("HOME") or environment.get("USERPROFILE")
    for variable, name in _FILES:
        said = environment.get(variable)
        if said or home:
            file = Path(said).expanduser() if said else Path(home or "", ".aws", name)
            plain = name == "credentials" or profile == "default"
            yield from _section(file, profile if plain else f"profile {profile}")


def _section(file: Path, name: str) -> Iterator[Section]:
    parser = RawConfigParser(strict=False)
    try:
        parser.read_string(file.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, Error):
        yield Section(file, None)
        return
    yield Section(file, dict(parser[name]) if parser.has_section(name) else {})
