"""One file with its defaults, overrides and ``${...}`` to plain values: the whole way before parsing.

Hydra is imported only where a file has ``defaults`` or words override it, OmegaConf only where
``${...}`` stands outside template bodies; a file with neither gives the same result without them.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flowllm.config.interpolate import resolve
from flowllm.config.keys import check_keys
from flowllm.config.literal import Vault, put_aside
from flowllm.config.marks import Marks
from flowllm.config.overrides import Override, check_override, parse_overrides, place_override
from flowllm.config.shapes import Shapes
from flowllm.config.trust import check_file, check_resolvers
from flowllm.config.words import Report, closest
from flowllm.config.yaml_reader import LIBRARY, PROJECT, load_yaml
from flowllm.core.errors import FlowError, PipelineInvalid, Problem
from flowllm.core.record import record


@record
class Rules:
    """What holds for the files of one load: their kinds, the folders with groups, who wrote them."""

    shapes: Shapes
    folders: tuple[Path, ...]
    trusted: bool


def read_configuration(
    text: str, file: str, overrides: Sequence[str], rules: Rules, report: Report
) -> tuple[Any, Marks]:
    """The resolved value of a pipeline's file and the marks of all its parts.

    Raises `PipelineInvalid` where nothing sensible is left to parse: YAML that is refused, and keys
    that could load code.
    """
    found: list[Problem] = []
    value, marks = _checked(text, file, rules, found.append)
    _stop(found)
    if isinstance(value, dict) and (overrides or isinstance(value.get("defaults"), list)):
        value, marks = _Composer(value, marks, rules, found).compose(overrides)
        _stop(found)
    for problem in found:
        report(problem)
    if "${" not in text and not any("${" in word for word in overrides) and "defaults" not in text:
        return value, marks
    vault = Vault()
    aside = put_aside(value, rules.shapes, vault)
    if not rules.trusted:
        check_resolvers(aside, marks, found.append)
        _stop(found)
    return vault.restore(resolve(aside, marks, report)), marks


def _checked(text: str, file: str, rules: Rules, report: Report) -> tuple[Any, Marks]:
    value, marks = load_yaml(text, file, PROJECT if rules.trusted else LIBRARY)
    check_file(value, marks, text, report, trusted=rules.trusted)
    return check_keys(value, marks, report), marks


def _stop(found: list[Problem]) -> None:
    if any(problem.code.startswith("untrusted") for problem in found):
        raise PipelineInvalid(found)


class _Composer:
    """Merges a file with its groups and overrides."""

    def __init__(self, value: Any, marks: Marks, rules: Rules, found: list[Problem]) -> None:
        self._value = value
        self._marks = marks
        self._rules = rules
        self._found = found

    def compose(self, words: Sequence[str]) -> tuple[Any, Marks]:
        """The merged value; what cannot be merged is reported and left out."""
        from flowllm.config.groups import group_names

        report = self._found.append
        overrides = parse_overrides(words, group_names(self._rules.folders), report)
        chosen = [override for override in overrides if override.group]
        value, marks = self._value, self._marks
        if chosen or "defaults" in value:
            value, marks = self._merge(chosen)
        kept = [override for override in overrides if check_override(override, value, report)]
        if len(kept) > len(chosen):
            value, marks = self._merge(kept)
        for override in kept:
            if not override.group:
                marks = place_override(marks, override)
        value.pop("defaults", None)
        check_file(value, marks, "", report, trusted=self._rules.trusted)
        return value, marks

    def _merge(self, overrides: Sequence[Override]) -> tuple[Any, Marks]:
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        from flowllm.config.groups import PRIMARY, Composition, compose

        alone = "defaults" not in self._value and not any(override.group for override in overrides)
        composition = Composition(self._value, {PRIMARY: self._marks}, self._rules.folders, self._read, alone)
        try:
            return compose(composition, [override.for_hydra() for override in overrides])
        except (HydraException, OmegaConfBaseException, RecursionError, FlowError) as error:
            self._report(error, overrides)
        rest = {key: inner for key, inner in self._value.items() if key != "defaults"}
        return rest, self._marks

    def _read(self, text: str, file: str) -> tuple[Any, Marks]:
        try:
            return _checked(text, file, self._rules, self._found.append)
        except PipelineInvalid as error:
            self._found.extend(error.problems)
            return {}, Marks()

    def _report(self, error: Exception, overrides: Sequence[Override]) -> None:
        """Hydra's finding in our words, at the entry or word that it is about."""
        missing = getattr(error, "missing_cfg_file", None)
        options = [str(option) for option in getattr(error, "options", None) or ()]
        if missing:
            group, _, name = str(missing).rpartition("/")
            message, hint = f"there is no `{missing}` in conf/", closest(name, options) or self._near(group)
            guilty = [o for o in overrides if o.group and str(o.value) == name]
            origin = guilty[0].place if guilty else self._place(name, group)
            self._found.append(Problem("bad_value", message, "defaults", origin, hint))
            return
        words = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        if isinstance(error, RecursionError):
            words = "the defaults lead back to themselves"
        if overrides:
            last = overrides[-1]
            guilty = [o for o in overrides if (o.key and f"'{o.key}'" in words) or o.word in words]
            origin = guilty[0].place if guilty else last.place
            key = (guilty or [last])[0].key
            hint = f"{key.rpartition('.')[0] or key}=... sets the whole of it"
            if "defaults list" in words or "config group" in words:
                words, hint = self._not_chosen((guilty or [last])[0])
            self._found.append(Problem("bad_override", words, key, origin, hint))
        else:
            hint = "defaults: [{retry@policies.retry: standard}, _self_]"
            self._found.append(Problem("bad_value", words, "defaults", self._marks.at("defaults").text, hint))

    def _not_chosen(self, override: Override) -> tuple[str, str]:
        """What is wrong with a word that chooses a file of a group, and the word as it should be."""
        from flowllm.config.groups import group_names

        head, _, value = override.word.lstrip("+~").partition("=")
        group, at, _ = head.partition("@")
        if group not in group_names(self._rules.folders):
            return f"there is no group `{group}` in conf/", self._near(group)
        if override.sign == "~":
            return f"the defaults list chooses no `{head}`", "leave the word out"
        if override.sign == "+":
            return f"the defaults list already chooses `{head}`", f"{head}={value}"
        word = head if at else f"{group}@policies.{group}"
        return f"the defaults list chooses no `{head}`; `+` adds it", f"+{word}={value}"

    def _near(self, group: str) -> str:
        from flowllm.config.groups import group_names

        return closest(group, group_names(self._rules.folders))

    def _place(self, name: str, group: str) -> Any:
        """Where the defaults list names a file."""
        for _, marks in self._marks.at("defaults").walk():
            if marks.raw is not None and marks.raw in (name, f"{group}/{name}"):
                return marks.text
        return self._marks.at("defaults").text
