"""The profile that the tools of AWS would use, and what its shared files say of it.

Files are looked for where the environment says, else in the home that it names; without either there are none.
"""

import shlex
from collections.abc import Iterator, Mapping
from configparser import Error, RawConfigParser
from pathlib import Path

from flowllm.core.record import record

_FILES = (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config"))


@record
class Section:
    """What one file says of a profile: the names of its words, and of values the region alone, for others are secret.

    ``words`` is None where the file cannot be read.
    """

    file: Path
    words: frozenset[str] | None
    region: str = ""


def profile_name(environment: Mapping[str, str]) -> str:
    """The profile that is chosen by a variable, else ``default``."""
    return environment.get("AWS_DEFAULT_PROFILE") or environment.get("AWS_PROFILE") or "default"


def sections(environment: Mapping[str, str], profile: str) -> Iterator[Section]:
    """The profile in the shared files that there are; what the first of them says holds."""
    home = environment.get("HOME") or environment.get("USERPROFILE")
    for variable, name in _FILES:
        said = environment.get(variable)
        if said or home:
            file = _expanded(said) if said else Path(home or "", ".aws", name)
            yield from _sections(file, profile, own_names=name == "credentials")


def _expanded(file: str) -> Path:
    try:
        return Path(file).expanduser()
    except RuntimeError:  # the home of somebody who is not here
        return Path(file)


def _sections(file: Path, profile: str, *, own_names: bool) -> Iterator[Section]:
    parser = RawConfigParser(strict=False)
    try:
        parser.read_string(file.read_text("utf-8"))
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError, Error):
        yield Section(file, None)
        return
    words: dict[str, str] = {}
    for header in parser.sections():
        if header == profile if own_names else _named(header) == profile:
            words |= dict(parser[header])
    yield Section(file, frozenset(words), words.get("region", "").strip())


def _named(header: str) -> str | None:
    """The profile that a header of the configuration file names: ``default``, ``profile NAME`` or a quoted name."""
    try:
        words = shlex.split(header)
    except ValueError:
        return None
    if words == ["default"]:
        return "default"
    return words[1] if len(words) == 2 and words[0] == "profile" else None  # noqa: PLR2004  profile NAME
