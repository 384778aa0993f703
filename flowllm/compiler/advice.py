"""Warnings: what can run and is probably not meant so."""

import re
from collections.abc import Iterator

from flowllm.compiler.findings import Findings
from flowllm.compiler.frames import Frame, Unit, every_unit, inner_frames
from flowllm.compiler.graph import reached
from flowllm.core.slot import Evaluable, Path, PromptTemplate, Template
from flowllm.text.paths import parse_path

_CONFIGURATION = r"\$\{vars\.(?:\w+\.)*(\w+)\}"
TOLD = frozenset({"problem", "last"})
"""Ports of a retry region that say what was wrong."""


def needed_units(root: Frame, *, folded: bool = False) -> set[Unit]:
    """All units that can be needed, those inside regions included."""
    found: set[Unit] = set()
    pending = [root]
    while pending:
        frame = pending.pop()
        units = [frame.units[name] for name in reached(frame, folded=folded)]
        found.update(units)
        pending.extend(unit.body for unit in units if unit.body is not None)
    return found


def advise(root: Frame, read: "ReadPaths", findings: Findings) -> None:
    """Report everything that deserves a second look."""
    needed = needed_units(root, folded=True)
    for frame in inner_frames(root):
        if frame.owner is None or frame.owner in needed:
            _unreachable(frame, needed, findings)
    for unit in every_unit(root):
        if unit in needed:
            if unit.control == "retry":
                _retry_blind(unit, needed, read, findings)
            if unit.control == "map":
                _errors_unread(unit, read, findings)
            _literal_path(unit, root, findings)


def _unreachable(frame: Frame, needed: set[Unit], findings: Findings) -> None:
    what = f"nothing in `{frame.owner.id}` needs it" if frame.owner else "no output needs it"
    for unit in frame.units.values():
        if unit not in needed:
            message = f"`{unit.id}` never runs: {what}"
            findings.report("unreachable", message, unit.id, unit.node.origin, f"read it, or write after: [{unit.id}]")


def _retry_blind(unit: Unit, needed: set[Unit], read: "ReadPaths", findings: Findings) -> None:
    assert unit.body is not None
    inside = [inner for inner in every_unit(unit.body) if inner in needed]
    if unit.params.get("attempts", 3) == 1 or not any(inner.kind and inner.kind.calls for inner in inside):
        return
    paths = (path for inner in inside for path in read.of(inner))
    if any(path.root == unit.id and (not path.steps or path.steps[0] in TOLD) for path in paths):
        return
    message = f"no node in `{unit.id}` reads `{unit.id}.problem`, so every attempt asks the same"
    hint = f"{{% if {unit.id}.problem %}}Your last answer was wrong: {{{{ {unit.id}.problem }}}}{{% endif %}}"
    findings.report("retry_blind", message, unit.id, unit.node.origin, hint)


def _errors_unread(unit: Unit, read: "ReadPaths", findings: Findings) -> None:
    if unit.params.get("keep_going") is not True:
        return
    if any(not path.steps or path.steps[0] in ("errors", "indexes") for path in read.to(unit)):
        return
    message = f"items of `{unit.id}` may fail, and nothing reads `{unit.id}.errors`"
    findings.report("errors_unread", message, unit.id, unit.node.place("keep_going"), f"failed: {unit.id}.errors")


def _literal_path(unit: Unit, root: Frame, findings: Findings) -> None:
    """Templates whose words are a path that is known, or configuration: both are sent as they are written."""
    for name, field in unit.node.fields.items():
        for template in _templates(field):
            where, source = f"{unit.id}.{name}", template.source.strip()
            path = parse_path(source, template.origin)
            if path is not None and path.steps and _is_known(path, unit, root):
                message = f"`{name}` is the words `{source}`, not the value"
                findings.report("literal_path", message, where, template.origin, f'{name}: "{{{{ {source} }}}}"')
            found = re.search(_CONFIGURATION, source)
            if found:
                whole, name_inside = found[0], found[1]
                hint = f'a node reads it: {{kind: prompt, in: {{{name_inside}: {{const: "{whole}"}}}}, text: ...}}'
                findings.report(
                    "literal_path", f"`{whole}` is literal text in a template", where, template.origin, hint
                )


def _templates(field: Evaluable) -> Iterator[Template]:
    if isinstance(field, Template):
        yield field
    elif isinstance(field, PromptTemplate):
        yield from (part for message in field.messages for part in message.parts if isinstance(part, Template))


def _is_known(path: Path, unit: Unit, root: Frame) -> bool:
    """Whether a path's first words are an input, a port of the node's own or another node."""
    if path.root == "inputs":
        return True
    return path.root in unit.node.ports or any(path.root == other.id for other in every_unit(root))


class ReadPaths:
    """Every path that was looked up, by who read it and by what it leads to."""

    def __init__(self) -> None:
        self._by_reader: dict[Unit | None, list[Path]] = {}
        self._by_target: dict[Unit, list[Path]] = {}

    def keep(self, path: Path, reader: Unit | None, target: Unit | None) -> None:
        """Remember one look-up."""
        if reader is not None:
            self._by_reader.setdefault(reader, []).append(path)
        if target is not None and target.control == "map":
            self._by_target.setdefault(target, []).append(path)

    def of(self, reader: Unit) -> Iterator[Path]:
        """What one unit reads."""
        return iter(self._by_reader.get(reader, ()))

    def to(self, target: Unit) -> Iterator[Path]:
        """How one map is read."""
        return iter(self._by_target.get(target, ()))
