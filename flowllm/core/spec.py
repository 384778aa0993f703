"""What was asked: a pipeline as written, with every place kept, before any name is looked up.

``config`` makes it from YAML or from a mapping, ``compiler`` turns it into a `Plan`. Values in
``params`` and ``policies`` are configuration: plain JSON values after Hydra resolved ``${...}``.
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.record import record
from flowllm.core.slot import Evaluable, Slot

Schema = Mapping[str, Any]
"""A JSON Schema (2020-12) as a mapping."""


@record
class InputSpec:
    """One declared input. ``schema`` holds no ``sample``; a key ``default`` in it makes it optional.

    ``sample`` is ``{"file": path}`` or ``{"const": value}``, used by ``flowllm run`` alone.
    """

    name: str
    schema: Schema
    sample: Mapping[str, Any] | None = None
    origin: Origin = UNKNOWN


@record
class NodeSpec:
    """One node as written.

    ``ports`` is ``in``; ``fields`` are the kind's slot, template and prompt fields (``prompt``,
    ``over``, ``of``, ``rules`` ...) parsed; ``params`` its other fields; ``cases``/``default``/
    ``switch`` of a route stand in ``fields`` too (``cases`` as a `Late`). ``each`` and its
    companions (``as``, ``at_once``, ``keep_going``) stand here so that the compiler can put the map
    around. ``model`` is a name, an `Expression`, or None.
    ``origins`` gives the place of each field by its name or dotted path (``in.value``, ``cases.a``),
    ``keys`` the place of the key of what stands in such a field; ``written`` gives the scalars of ``params``
    and ``each_params`` as they were written (``012``, ``no``).
    """

    id: str
    kind: str
    ports: Mapping[str, Slot] = field(default_factory=dict)
    fields: Mapping[str, Evaluable] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    when_failed: Mapping[str, Slot] | None = None
    around: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    each: Slot | None = None
    each_params: Mapping[str, Any] = field(default_factory=dict)
    model: Any = None
    origin: Origin = UNKNOWN
    origins: Mapping[str, Origin] = field(default_factory=dict)
    keys: Mapping[str, Origin] = field(default_factory=dict)
    written: Mapping[str, str] = field(default_factory=dict)

    def place(self, name: str) -> Origin:
        """Where field ``name`` was written, else where the node was."""
        while name:
            if name in self.origins:
                return self.origins[name]
            name = name.rpartition(".")[0]
        return self.origin

    def key_place(self, name: str) -> Origin:
        """Where the name itself of what stands in a field (``in.value``) was written."""
        return self.keys.get(name) or self.place(name)


@record
class PipelineSpec:
    """A whole pipeline. ``folder`` is what relative paths in it start from; ``file`` names it in errors.

    ``defaults`` holds ``model`` and ``embedder``; ``policies`` the defaults for every call.
    ``pipelines`` maps each ``use:`` to the sub-pipeline's own spec, loaded by the config layer.
    ``problems`` are findings that did not stop the parse; the compiler reports them with its own.
    """

    name: str
    inputs: Mapping[str, InputSpec] = field(default_factory=dict)
    nodes: Mapping[str, NodeSpec] = field(default_factory=dict)
    outputs: Mapping[str, Slot] = field(default_factory=dict)
    description: str = ""
    model: str | None = None
    embedder: str | None = "builtin/lexical"
    models: Mapping[str, Any] = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    print: str | None = None
    file: str = ""
    folder: str = ""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    keys: Mapping[str, Origin] = field(default_factory=dict)
    pipelines: Mapping[str, "PipelineSpec"] = field(default_factory=dict)
    problems: tuple[Any, ...] = ()

    def place(self, name: str) -> Origin:
        """Where ``name`` (``outputs.reply``, ``nodes.ask.prompt``) was written, else its parent."""
        while name:
            if name in self.origins:
                return self.origins[name]
            name = name.rpartition(".")[0]
        return self.origins.get("", Origin(self.file))

    def key_place(self, name: str) -> Origin:
        """Where the last word of ``name`` (``policies.retry.attempts``) was written as a key."""
        return self.keys.get(name) or self.place(name)
