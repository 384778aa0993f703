"""Words of the command line: `nodes.ask.temperature=0`, `input.words=40`, `providers.x.base_url=...`.

Hydra's grammar, with two differences: a field may be set whether or not the file writes it, and what
nothing could read is refused with the word itself as its place.
"""

import itertools
import json
import math
import re
import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flowllm.config.marks import Marks, everywhere
from flowllm.config.words import TOP_LEVEL, Report, closest
from flowllm.core.errors import Problem, UsageError
from flowllm.core.json_values import fault_of
from flowllm.core.origin import Origin
from flowllm.core.record import record

_WORD = r"(?s)(?P<sign>\+\+|\+|~)?(?P<key>[^=]*)(?:=(?P<value>.*))?"
SWEEP = 10_000
"""The most combinations that words may give."""

_FIXED = frozenset({"defaults", "flowllm", "hydra"})


class Words(NamedTuple):
    """Overrides by what they set: the configuration, inputs (``name=value``), providers (``name.key=value``)."""

    configuration: list[str]
    inputs: list[str]
    providers: list[str]


@record
class Override:
    """One parsed word. ``steps`` lead to what it sets; ``group`` is True when it chooses a file of a group."""

    word: str
    sign: str
    steps: tuple[str | int, ...]
    group: bool
    value: Any

    @property
    def place(self) -> Origin:
        """The word itself."""
        return Origin(note=f"command line: {self.word}")

    @property
    def key(self) -> str:
        """The name that it sets."""
        return ".".join(map(str, self.steps))

    def for_hydra(self) -> str:
        """The word as Hydra takes it: what the file does not write is added."""
        return self.word if self.group or self.sign else f"++{self.word}"


def split_overrides(words: Iterable[str], refuse: Callable[[UsageError], None] | None = None) -> Words:
    """Sort overrides by what they set; quoted and listed inputs become plain text and JSON.

    A word that is no override is raised, or handed to ``refuse`` and left out.
    """
    found = Words([], [], [])
    for word in words:
        key = _match(word)["key"]
        if key.startswith("input."):
            try:
                found.inputs.append(_input_word(word))
            except UsageError as error:
                if refuse is None:
                    raise
                refuse(error)
        elif key.startswith("providers."):
            found.providers.append(word.lstrip("+").removeprefix("providers."))
        else:
            found.configuration.append(word)
    return found


def provider_settings(words: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``name.key=value`` words as ``{name: {key: value}}``; keys with dots nest."""
    found: dict[str, dict[str, Any]] = {}
    for word in words:
        *way, last = _match(word)["key"].split(".")
        if not way:
            name = last or "openai"
            raise bad_override(f"providers.{word}", "it names no setting", f"providers.{name}.base_url=https://...")
        here: Any = found
        for step in way:
            here = here.setdefault(step, {})
            if not isinstance(here, dict):
                hint = "leave out this word, or the one that gives a value to what it leads through"
                raise bad_override(f"providers.{word}", f"`{step}` has a value of its own already", hint)
        here[last] = _parsed(f"providers.{word}").value()
    return found


def expand_sweep(words: Sequence[str]) -> list[list[str]]:
    """Every combination of what the words sweep over (``a=1,2``, ``range()``, ``choice()``), in order.

    Raises `UsageError` (bad_override) for words that are broken or give more than `SWEEP` combinations.
    """
    choices = [list(itertools.islice(_choices(word), SWEEP + 1)) for word in words]
    if math.prod(map(len, choices)) > SWEEP:
        message = f"the words give more than {SWEEP} combinations"
        raise UsageError("bad_override", message, hint="sweep over fewer values")
    return [list(one) for one in itertools.product(*choices)]


def parse_overrides(words: Iterable[str], groups: Collection[str], report: Report) -> list[Override]:
    """Parse words by Hydra's grammar; those that it cannot read are reported."""
    found = []
    for word in words:
        try:
            _check_characters(word)
            parsed = _parsed(word)
        except UsageError as error:
            _report(report, error.code, error.message, word, error.hint)
            continue
        if parsed.is_sweep_override():
            key, _, values = word.partition("=")
            hint = f"{shlex.quote(f'{key}=[{values}]')} is a list; add -m to run once for each value"
            _report(report, "bad_override", f"`{word}` gives more than one value", word, hint)
            continue
        name = parsed.key_or_group
        group = parsed.package is not None or name in groups
        steps = tuple(int(step) if step.isdecimal() else step for step in re.split(r"[./\[\]]+", name) if step)
        sign = str(_match(word)["sign"] or "")
        value = None if parsed.is_delete() else parsed.value()
        found.append(Override(word, sign, steps, group, value))
    return found


def check_override(override: Override, written: Mapping[str, Any], report: Report) -> bool:
    """Whether what the override sets can be there; ``written`` is the configuration without overrides."""
    if override.group:
        return True
    first = override.steps[0] if override.steps else ""
    if first in _FIXED:
        hint = "write it into a file instead" if first != "hydra" else "flowllm takes no settings of Hydra"
        _report(report, "bad_override", f"`{first}` cannot be set here", override.word, hint)
        return False
    if first not in TOP_LEVEL:
        hint = _input_hint(override, written) or closest(str(first), [key for key in TOP_LEVEL if key not in _FIXED])
        _report(report, "unknown_field", f"a pipeline has no `{first}`", override.word, hint)
        return False
    if first == "inputs":
        return _check_input(override, written, report)
    if first in {"nodes", "vars", "outputs"} and not override.sign and len(override.steps) > 1:
        return _check_inner(override, written, report)
    return True


def place_override(marks: Marks, override: Override) -> Marks:
    """Marks in which what the override sets has the word as its place."""
    return marks.put(override.steps, everywhere(override.value, override.place))


def bad_override(word: str, why: str, hint: str) -> UsageError:
    """The error that a word is no override."""
    return UsageError("bad_override", f"`{word}`: {why}", hint=hint, origin=Origin(note=f"command line: {word}"))


def _input_hint(override: Override, written: Mapping[str, Any]) -> str:
    """How an input is given, where the word sets one as if it were a field."""
    declared = written.get("inputs")
    if not isinstance(declared, dict) or override.key not in declared:
        return ""
    return "-i " + shlex.quote(override.word.lstrip("+~"))


def _check_input(override: Override, written: Mapping[str, Any], report: Report) -> bool:
    declared = written.get("inputs")
    names = list(declared) if isinstance(declared, dict) else []
    name = str(override.steps[1]) if len(override.steps) > 1 else ""
    if len(override.steps) <= 2 and not isinstance(override.value, dict):  # noqa: PLR2004  inputs.NAME
        value = override.word.partition("=")[2]
        message = f"`inputs.{name}` declares an input and takes no value"
        hint = shlex.quote(f"input.{name or 'NAME'}={value}")
        _report(report, "bad_override", message, override.word, hint)
        return False
    if name and name not in names and not override.sign:
        _report(report, "unknown_input", f"there is no input `{name}`", override.word, closest(name, names))
        return False
    return True


def _check_inner(override: Override, written: Mapping[str, Any], report: Report) -> bool:
    first, name = str(override.steps[0]), str(override.steps[1])
    inner = written.get(first)
    names = list(inner) if isinstance(inner, dict) else []
    if name in names:
        return True
    code = "unknown_reference" if first == "nodes" else "unknown_field"
    what = {"nodes": "there is no node", "vars": "`vars` has no", "outputs": "there is no output"}[first]
    hint = closest(name, names) or (f"a new one is added with +{override.word}" if first == "vars" else "")
    hint = hint.replace("`", f"`{first}.", 1) if hint.startswith("did") else hint
    _report(report, code, f"{what} `{name}`", override.word, hint)
    return False


def _report(report: Report, code: str, message: str, word: str, hint: str) -> None:
    word = word.encode("utf-8", "backslashreplace").decode()
    where = (_match(word)["key"] or word).lstrip("+~")
    report(Problem(code, message, where, Origin(note=f"command line: {word}"), hint))


def _match(word: str) -> re.Match[str]:
    match = re.fullmatch(_WORD, word)
    assert match is not None
    return match


def _parsed(word: str) -> Any:
    """Hydra's own view of a word; raises `UsageError` with the corrected word."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    match = _match(word)
    if not match["key"] or (match["value"] is None and match["sign"] != "~"):
        raise bad_override(word, "an override is `name=value`", "nodes.ask.temperature=0")
    try:
        return OverridesParser.create().parse_override(word)
    except (HydraException, ValueError, RecursionError):
        hint = _corrected(word)
        raise bad_override(word, "Hydra's grammar cannot read this value; it needs quotes", hint) from None


def _check_characters(word: str) -> None:
    if why := fault_of(word):
        safe = word.encode("utf-8", "backslashreplace").decode()
        raise bad_override(safe, f"it {why}", "free text goes through -i name=@file")


def _corrected(word: str) -> str:
    """The word with its value in quotes, as a shell takes it; general advice where that does not help."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    key, _, value = word.partition("=")
    escaped = value.replace("\\", "\\\\").replace('"', '\\"') if '"' in value else value
    fixed = f'{key}="{escaped}"'
    try:
        OverridesParser.create().parse_override(fixed)
    except (HydraException, ValueError, RecursionError):
        return "an override is `name=value`; free text goes through -i name=value"
    return shlex.quote(fixed)


def _choices(word: str) -> Iterable[str]:
    match = _match(word)
    value = match["value"]
    if value is None or not any(mark in value for mark in ",("):
        return [word]
    parsed = _parsed(word)
    if not parsed.is_sweep_override():
        return [word]
    head = f"{match['sign'] or ''}{match['key']}"
    return (f"{head}={one}" for one in parsed.sweep_string_iterator())


def _input_word(word: str) -> str:
    """``input.NAME=value`` as ``NAME=value``, with Hydra's quotes and lists read."""
    match = _match(word)
    name, value = match["key"].removeprefix("input."), match["value"]
    if value is None:
        raise bad_override(word, "an input is `input.NAME=value`", f"{word}=...")
    if value[:1] not in tuple("'\"[{"):
        return f"{name}={value}"
    try:
        read = _parsed(word).value()
    except UsageError:
        return f"{name}={value}"
    return f"{name}={read if isinstance(read, str) else json.dumps(read)}"
