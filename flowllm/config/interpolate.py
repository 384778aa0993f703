"""``${...}`` in a configuration: resolved by OmegaConf, each failure with its place."""

import os
from collections.abc import Iterator
from typing import Any

from flowllm.config.keys import where
from flowllm.config.marks import Marks
from flowllm.config.trust import Steps, strings
from flowllm.config.words import Report
from flowllm.core import secrets
from flowllm.core.errors import Problem
from flowllm.core.nearest import nearest

_MANY = 64
"""The most ``${`` that one string may hold; their grammar takes time that grows fast."""


def resolve(value: Any, marks: Marks, report: Report) -> Any:
    """The configuration with every ``${...}`` replaced by its value, of any type."""
    ways = [(steps, text) for steps, text in strings(value) if "${" in text]
    if not ways:
        return value
    return _Resolver(value, marks, report).all(ways)


_CIRCLE = "`${...}` leads back to itself"
_OWN = '`vars` holds your own configuration: vars: {name: value}, read as "${vars.name}"'


class _Resolver:
    def __init__(self, value: Any, marks: Marks, report: Report) -> None:
        self._value = value
        self._marks = marks
        self._report = report
        self._said: set[str] = set()

    def all(self, ways: list[tuple[Steps, str]]) -> Any:
        from omegaconf import OmegaConf

        OmegaConf.register_new_resolver("oc.env", _environment, replace=True)
        few = [way for way in ways if self._is_readable(*way)]
        blank = {steps for steps, _ in ways} - {steps for steps, _ in few}
        tree = OmegaConf.create(_without(self._value, blank))
        found = {}
        for steps, _ in few:
            found[steps] = self._one(tree, steps)
        return _replaced(self._value, found | dict.fromkeys(blank))

    def _is_readable(self, steps: Steps, text: str) -> bool:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        if text.count("${") > _MANY:
            self._wrong(steps, f"more than {_MANY} `${{` in one text", "put parts of it under `vars`")
            return False
        try:
            OmegaConf.create([text])
        except (OmegaConfBaseException, RecursionError):
            hint = 'write "${vars.name}" or "${oc.env:NAME,default}"; as plain text `${` is written `\\${`'
            self._wrong(steps, "what stands in `${...}` cannot be read", hint)
            return False
        return True

    def _one(self, tree: Any, steps: Steps) -> Any:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        here = tree
        try:
            for step in steps:
                here = here[step]
            if OmegaConf.is_config(here):
                here = OmegaConf.to_container(here, resolve=True)
        except RecursionError:
            self._wrong(steps, _CIRCLE, self._break(steps))
            return None
        except OmegaConfBaseException as error:
            self._wrong(steps, *self._plain(str(error), steps))
            return None
        except Exception as error:  # noqa: BLE001  a resolver of the project may raise anything
            hint = "look at what the resolver is given"
            self._wrong(steps, f"`${{...}}` failed with {type(error).__name__}", hint)
            return None
        return here

    def _wrong(self, steps: Steps, message: str, hint: str) -> None:
        if message in self._said:
            return
        self._said.add(message)
        words = where(step if isinstance(step, str) else f"[{step}]" for step in steps)
        self._report(Problem("bad_value", message, words, self._marks.at(*steps).text, hint))

    def _plain(self, words: str, steps: Steps) -> tuple[str, str]:
        """OmegaConf's finding in our words, and what to do about it."""
        line = words.strip().split("\n")[0]
        name = line.split("'")[1] if line.count("'") > 1 else ""
        if "Interpolation key" in line:
            return f"`${{{name}}}` leads to nothing", self._meant(name)
        if "Environment variable" in line:
            hint = f'export {name}=..., or give a default: "${{oc.env:{name},default}}"'
            return f"the environment variable `{name}` is not set", hint
        if "Unsupported interpolation type" in line:
            hint = '"${oc.env:NAME}" reads the environment, "${vars.name}" your own configuration'
            return f"there is no resolver `{line.split()[-1]}`", hint
        if "ecursive" in line:
            return _CIRCLE, self._break(steps)
        return "`${...}` cannot be resolved", _OWN

    def _break(self, steps: Steps) -> str:
        """Where a value would end the circle."""
        return f"give one of them a value of its own: {steps[-1]}: value" if steps else _OWN

    def _meant(self, name: str) -> str:
        """The nearest name that the configuration has, else where this one is declared."""
        head, _, last = name.rpartition(".")
        beside = {way[-1] for way in _names(self._value) if ".".join(way[:-1]) == head}
        near = nearest(last, beside)
        if near:
            return f"did you mean `${{{head}.{near}}}`?" if head else f"did you mean `${{{near}}}`?"
        first, _, rest = name.partition(".")
        return f"vars: {{{rest}: value}}" if first == "vars" and rest.isidentifier() else _OWN


def _environment(key: str, *default: Any) -> Any:
    """OmegaConf's own ``oc.env``; the value of a variable that is set goes to the redactor, a default does not."""
    from omegaconf.resolvers import oc

    found = oc.env(key, *default)
    return secrets.register(found) if found is not None and key in os.environ else found


def _names(value: Any, steps: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The ways to everything that has a name."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield (*steps, key)
        yield from _names(inner, (*steps, key))


def _without(value: Any, blank: set[Steps]) -> Any:
    return _replaced(value, dict.fromkeys(blank)) if blank else value


def _replaced(value: Any, found: dict[Steps, Any], steps: Steps = ()) -> Any:
    if steps in found:
        return found[steps]
    if isinstance(value, dict):
        return {key: _replaced(inner, found, (*steps, key)) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, found, (*steps, index)) for index, inner in enumerate(value)]
    return value
