"""Strings that Hydra and OmegaConf must not touch: put aside under tokens, and put back after.

Template bodies and expressions hold ``${`` as literal text: prompts hold prices and shell.
"""

import re
from secrets import token_hex
from typing import Any

from flowllm.config.shapes import Shape, Shapes
from flowllm.core.node import Holds

_SLOTS = frozenset({"in", "each", "when_failed", "model"})


class Vault:
    """Strings put aside; a token stands for each, with a mark that no file can know."""

    def __init__(self) -> None:
        mark = token_hex(8)
        self._start = f"\ue000{mark}."
        self._token = re.compile(f"\ue000{mark}\\.([0-9]+)\ue001")
        self._kept: list[str] = []

    def keep(self, text: str) -> str:
        """The token that stands for ``text`` from now on."""
        self._kept.append(text)
        return f"{self._start}{len(self._kept) - 1}\ue001"

    def keep_all(self, value: Any) -> Any:
        """A copy in which every string that means something to OmegaConf is a token."""
        if isinstance(value, str):
            return self.keep(value) if "${" in value or value == "???" else value
        if isinstance(value, dict):
            return {key: self.keep_all(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.keep_all(inner) for inner in value]
        return value

    def restore(self, value: Any) -> Any:
        """A copy with every token replaced by its string."""
        if isinstance(value, str):
            return self._token.sub(self._found, value) if self._start in value else value
        if isinstance(value, dict):
            return {key: self.restore(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.restore(inner) for inner in value]
        return value

    def _found(self, match: re.Match[str]) -> str:
        return self._kept[int(match[1])]


def put_aside(value: Any, shapes: Shapes, vault: Vault) -> Any:
    """A copy of a pipeline's configuration in which template bodies and expressions are tokens."""
    if not isinstance(value, dict):
        return value
    found = dict(value)
    if isinstance(value.get("nodes"), dict):
        nodes = value["nodes"].items()
        found["nodes"] = {name: _node(node, shapes, vault) for name, node in nodes}
    if isinstance(value.get("outputs"), dict):
        found["outputs"] = _slot(value["outputs"], vault)
    return found


def _node(node: Any, shapes: Shapes, vault: Vault) -> Any:
    if not isinstance(node, dict):
        return node
    shape = shapes.of(node.get("kind"))
    return {key: _field(key, inner, shape, vault) for key, inner in node.items()}


def _field(key: str, value: Any, shape: Shape, vault: Vault) -> Any:
    if shape.is_body(key):
        return _body(value, vault)
    if key in _SLOTS or shape.held.get(key) in (Holds.SLOT, Holds.LATE):
        return _slot(value, vault)
    return value


def _body(value: Any, vault: Vault) -> Any:
    """Text, messages or parts; ``file`` names a file and ``image`` is a slot."""
    if isinstance(value, str):
        return vault.keep(value) if "${" in value or value == "???" else value
    if isinstance(value, list):
        return [_body(inner, vault) for inner in value]
    if isinstance(value, dict):
        return {
            key: inner if key == "file" else _slot(inner, vault) if key == "image" else _body(inner, vault)
            for key, inner in value.items()
        }
    return value


def _slot(value: Any, vault: Vault) -> Any:
    """Expressions are literal; paths and constants are configuration."""
    if isinstance(value, str):
        return vault.keep(value) if "{{" in value and "${" in value else value
    if isinstance(value, list):
        return [_slot(inner, vault) for inner in value]
    if isinstance(value, dict) and set(value) != {"const"}:
        return {key: _slot(inner, vault) for key, inner in value.items()}
    return value
