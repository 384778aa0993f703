"""``${...}`` in a configuration: resolved by OmegaConf, each failure with its place."""

from typing import Any

from flowllm.config.keys import where
from flowllm.config.marks import Marks
from flowllm.config.trust import Steps, strings
from flowllm.config.words import Report
from flowllm.core import secrets
from flowllm.core.errors import Problem

_MANY = 64
"""The most ``${`` that one string may hold; their grammar takes time that grows fast."""


def resolve(value: Any, marks: Marks, report: Report) -> Any:
    """The configuration with every ``${...}`` replaced by its value, of any type."""
    ways = [(steps, text) for steps, text in strings(value) if "${" in text]
    if not ways:
        return value
    return _Resolver(value, marks, report).all(ways)


class _Resolver:
    def __init__(self, value: Any, marks: Marks, report: Report) -> None:
        self._value = value
        self._marks = marks
        self._report = report
        self._said: set[str] = set()

    def all(self, ways: list[tuple[Steps, str]]) -> Any:
        from omegaconf import OmegaConf

        few = [way for way in ways if self._is_readable(*way)]
        blank = {steps for steps, _ in ways} - {steps for steps, _ in few}
        tree = OmegaConf.create(_without(self._value, blank))
        found = {}
        for steps, text in few:
            result, ok = self._one(tree, steps)
            if ok and "oc.env" in text and isinstance(result, str):
                secrets.register(result)
            found[steps] = result
        return _replaced(self._value, found | dict.fromkeys(blank))

    def _is_readable(self, steps: Steps, text: str) -> bool:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        if text.count("${") > _MANY:
            self._wrong(steps, f"more than {_MANY} `${{` in one text")
            return False
        try:
            OmegaConf.create([text])
        except (OmegaConfBaseException, RecursionError):
            self._wrong(steps, "what stands in `${...}` cannot be read")
            return False
        return True

    def _one(self, tree: Any, steps: Steps) -> tuple[Any, bool]:
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        here = tree
        try:
            for step in steps:
                here = here[step]
            if OmegaConf.is_config(here):
                here = OmegaConf.to_container(here, resolve=True)
        except RecursionError:
            self._wrong(steps, "`${...}` leads back to itself")
            return None, False
        except OmegaConfBaseException as error:
            self._wrong(steps, _plain(str(error)))
            return None, False
        except Exception as error:  # noqa: BLE001  a resolver of the project may raise anything
            self._wrong(steps, f"`${{...}}` failed with {type(error).__name__}")
            return None, False
        return here, True

    def _wrong(self, steps: Steps, message: str) -> None:
        if message in self._said:
            return
        self._said.add(message)
        words = where(step if isinstance(step, str) else f"[{step}]" for step in steps)
        hint = '`vars` holds your own configuration: vars: {name: value}, read as "${vars.name}"'
        self._report(Problem("bad_value", message, words, self._marks.at(*steps).text, hint))


def _plain(words: str) -> str:
    line = words.strip().split("\n")[0]
    if "Interpolation key" in line:
        name = line.split("'")[1]
        return f"`${{{name}}}` leads to nothing"
    if "Environment variable" in line:
        return f"the environment variable `{line.split(chr(39))[1]}` is not set"
    if "Unsupported interpolation type" in line:
        return f"there is no resolver `{line.split()[-1]}`"
    if "ecursive" in line:
        return "`${...}` leads back to itself"
    return "`${...}` cannot be resolved"


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
