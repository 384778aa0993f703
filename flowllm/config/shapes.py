"""What parsing needs to know of a kind: which of its fields are evaluated, and how."""

from collections.abc import Mapping
from dataclasses import field

from flowllm.config.words import BODIES
from flowllm.core.kinds import Kinds
from flowllm.core.node import Holds, Node
from flowllm.core.record import record


@record
class Shape:
    """``fields`` maps every parameter, as YAML spells it, to its field's name.

    ``held`` says what the evaluated ones hold, by YAML spelling. ``known`` is False when there is
    no such kind; then everything that is not common to all nodes is configuration.
    """

    known: bool = False
    control: str = ""
    calls: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    held: Mapping[str, Holds] = field(default_factory=dict)
    late_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    conditions: frozenset[str] = frozenset()

    def own(self, name: str) -> bool:
        """Whether the kind itself has a parameter of this name."""
        return name in self.fields

    def is_body(self, name: str) -> bool:
        """Whether ``${`` is literal in field ``name``: it holds template text."""
        if not self.known:
            return name in BODIES
        return self.held.get(name) in (Holds.TEMPLATE, Holds.PROMPT)


class Shapes:
    """Shapes by kind, each made once."""

    def __init__(self, kinds: Kinds) -> None:
        self._kinds = kinds
        self._made: dict[str, Shape] = {}

    def of(self, kind: object) -> Shape:
        """The shape of the kind of that name; `Shape()` when nothing is known of it."""
        if not isinstance(kind, str):
            return Shape()
        if kind not in self._made:
            found = self._kinds.find(kind)
            self._made[kind] = Shape() if found is None else _shape(found)
        return self._made[kind]


def _shape(kind: type[Node]) -> Shape:
    written = {name: info.alias or name for name, info in kind.model_fields.items()}
    return Shape(
        known=True,
        control=kind.control,
        calls=kind.calls,
        fields={alias: name for name, alias in written.items()},
        held={written[name]: holds for name, holds in kind.held().items()},
        late_names={written.get(name, name): names for name, names in kind.late_names.items()},
        conditions=kind.conditions,
    )
