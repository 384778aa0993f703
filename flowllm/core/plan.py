"""What will run: checked, lowered, serialisable as JSON; the same YAML always gives the same digest.

A plan is one frame: the pipeline, or the inside of a region. Names in slots and templates are looked
up in the frame's names at run time: inputs (``inputs``), step ids (a mapping of ports), what the
frame captured from further out, and the frame's own variables (an item name, a region's id).
"""

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.record import record
from flowllm.core.slot import Evaluable, Path, Slot
from flowllm.core.spec import Schema

NO_STEPS: tuple[int, ...] = ()


@record
class Rescue:
    """A node's ``when_failed``: the ports to give instead, and the steps that only they need.

    In ``ports`` the node's own name stands for its failure: ``error``, ``code`` and, on a retry
    region, ``last``, ``problem``, ``attempts``.
    """

    ports: Mapping[str, Slot]
    needs: tuple[int, ...] = NO_STEPS


@record
class Step:
    """One node of one frame.

    ``inputs`` is evaluated when all ``needs`` are done and passed to the kind's ``run`` by name:
    its input ports and its slot, template and prompt fields.
    ``params`` is configuration. ``model`` is a resolved ``provider/name``, a group's name, or None;
    one chosen per item stands in ``inputs["model"]`` and its possible values in ``models``.

    A route: ``inputs`` holds ``switch``; ``cases`` the value of each case (``default`` is
    `Step.default`); ``needs`` is what the switch needs, ``early`` what every case needs, ``lazy``
    what the chosen case alone needs (key "" is the default's). ``folded`` lists the cases that a
    constant switch can never choose; they are in neither ``cases`` nor ``lazy``.

    A region (retry, cache, map, pipeline): ``body`` is its frame. ``captures`` are the paths that
    the body reads from outside, each as deep as it is known: the body's names get their roots, a
    cache region's key their values. ``inputs`` holds what is read where the region stands (``over``
    of a map; the inputs of a pipeline); ``of``, ``until``, ``problem`` are outputs of the body.

    ``unsure`` are input ports of which only a run can tell whether they are given what they take, with the
    places where that is written. ``typed`` is the word of the command line that chose the model, where one did.
    """

    id: str
    kind: str
    inputs: Mapping[str, Evaluable] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    policies: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[int, ...] = NO_STEPS
    early: tuple[int, ...] = NO_STEPS
    lazy: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    cases: Mapping[str, Slot] = field(default_factory=dict)
    default: Slot | None = None
    folded: tuple[str, ...] = ()
    rescue: Rescue | None = None
    body: "Plan | None" = None
    captures: tuple[Path, ...] = ()
    model: str | None = None
    models: tuple[str, ...] = ()
    unsure: Mapping[str, Origin] = field(default_factory=dict)
    origin: Origin = field(default=UNKNOWN, compare=False)
    typed: Origin = field(default=UNKNOWN, compare=False)

    @property
    def asked_at(self) -> Origin:
        """The place of what has to be said of the model that is asked."""
        return self.origin if self.typed == UNKNOWN else self.typed


@record
class Plan:
    """A frame: ``steps`` in topological order, ``roots`` the steps that ``outputs`` read.

    ``inputs`` (schemas by name, a pipeline's frame only) validate what is given; a ``default`` in a
    schema fills in. ``output_schemas`` tells what is known of the outputs' types.
    ``models`` are the pipeline's named groups.
    """

    name: str
    steps: tuple[Step, ...] = ()
    roots: tuple[int, ...] = NO_STEPS
    outputs: Mapping[str, Slot] = field(default_factory=dict)
    inputs: Mapping[str, Schema] = field(default_factory=dict)
    output_schemas: Mapping[str, Schema] = field(default_factory=dict)
    models: Mapping[str, Any] = field(default_factory=dict)
    print: str | None = None
    digest: str = ""
