"""Kinds of the conformance table: what its header says of `fake`, `call`, `split` and `validate`."""

from contextlib import aclosing
from typing import Any, ClassVar, TypedDict

from flowllm.core.delta import Fold
from flowllm.core.errors import BadOutput
from flowllm.core.event import DeltaReceived
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node, Prompted
from flowllm.core.request import Chat, message_from_data
from flowllm.core.scope import Scope

PORTS = ("text", "value", "choice", "cost", "messages")


class Fake(Node):
    """Passes its `in` on: each port, and all of them as `value`."""

    open_inputs: ClassVar[bool] = True

    def output_ports(self, inputs, schemas):
        return {**{name: {} for name in inputs}, "value": {}}

    def run(self, **given):
        return {**given, "value": given}


class Call(Node):
    """Asks with its prompt; its answer stands on all ports."""

    calls: ClassVar[str] = "chat"
    prompt: Prompted = None

    def output_ports(self, inputs, schemas):
        return {name: {} for name in PORTS}

    async def run(self, scope: Scope, model: str = "", prompt: list | None = None) -> dict[str, Any]:
        request = Chat(model, tuple(map(message_from_data, prompt or ())))
        folded = Fold()
        async with aclosing(scope.call(request, scope)) as deltas:
            async for delta in deltas:
                folded.add(delta)
                scope.emit(DeltaReceived(scope.address, scope.clock.now(), delta))
        text = folded.reply().text
        return {"text": text, "value": text, "choice": text, "messages": prompt}


class SplitPorts(TypedDict):
    parts: Any
    gaps: Any


class Split(Node):
    """Parts between commas."""

    def run(self, text: Any) -> SplitPorts:
        return {"parts": text.split(","), "gaps": []}


class ValidatePorts(TypedDict):
    value: Any
    ok: Any
    errors: Any


class Validate(Node):
    """Refuses the text `bad`."""

    if_bad: str = "fail"

    def run(self, value: Any = None) -> ValidatePorts:
        errors = ["is bad"] if value == "bad" else []
        if errors and self.if_bad == "fail":
            raise BadOutput("is bad", value=value, errors=errors)
        return {"value": value, "ok": not errors, "errors": errors}


KINDS = Kinds({"fake": Fake, "call": Call, "split": Split, "validate": Validate})
