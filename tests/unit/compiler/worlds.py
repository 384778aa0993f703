"""What tests of the compiler compile with: a few kinds, a few providers, one line to compile."""

from collections.abc import Mapping
from typing import Any, ClassVar

from flowllm.compiler import Compiled, compile_spec
from flowllm.config import parse_mapping
from flowllm.core.card import Catalog, ModelCard, ProviderCard
from flowllm.core.errors import PipelineInvalid
from flowllm.core.kinds import Kinds
from flowllm.core.node import Node, Slotted


class Fake(Node):
    """Passes its `in` on."""

    open_inputs: ClassVar[bool] = True
    level: int = 1
    extra: Slotted = None

    def output_ports(self, inputs, schemas):
        return {**inputs, "value": {}}

    def run(self, **given):
        return {**given, "value": given}


class Typed(Node):
    """Takes a number, and a text if one is given."""

    extra: Slotted = None

    def run(self, number: int, text: str | None = None, numbers: list[int] | None = None) -> int:
        return number


KINDS = Kinds({"fake": Fake, "typed": Typed})
CATALOG = Catalog(
    {
        "acme": ProviderCard(
            "acme",
            base_url="https://acme.example",
            wire={"chat": "openai_chat"},
            open_models=False,
            models={
                "large": ModelCard("large", supports=frozenset({"tools", "images", "json_schema"})),
                "small": ModelCard("small", supports=frozenset()),
                "tiny": ModelCard("tiny", context=100),
                "vectors": ModelCard("vectors", tasks=frozenset({"embed"})),
            },
        ),
        "open": ProviderCard("open", wire={"chat": "openai_chat"}),
        "builtin": ProviderCard("builtin", local=True),
    }
)


def spec_of(pipeline: Mapping[str, Any], files: Mapping[str, Any] | None = None):
    """A parsed pipeline; one output is made up where none is written."""
    return parse_mapping(pipeline, kinds=KINDS, pipelines=files or {})


def compiled(pipeline: Mapping[str, Any], files: Mapping[str, Any] | None = None, **options) -> Compiled:
    """The compiled pipeline."""
    return compile_spec(spec_of(pipeline, files), kinds=KINDS, catalog=CATALOG, **options)


def errors(pipeline: Mapping[str, Any], files: Mapping[str, Any] | None = None, **options) -> list[str]:
    """What is wrong, as text; empty when nothing is."""
    return [str(problem) for problem in problems(pipeline, files, **options)]


def problems(pipeline, files=None, **options):
    """What is wrong; empty when nothing is."""
    try:
        compiled(pipeline, files, **options)
    except PipelineInvalid as invalid:
        return list(invalid.problems)
    return []


def nodes(outputs: Mapping[str, Any] | None = None, /, **written) -> dict[str, Any]:
    """A pipeline of these nodes with a few inputs; the first node's value is the output."""
    first = next(iter(written))
    return {
        "model": "acme/large",
        "inputs": {
            "text": "string",
            "n": "integer",
            "xs": {"type": "array", "items": {"type": "object", "properties": {"id": {"type": "string"}}}},
            "which": {"type": "string", "enum": ["a", "b"]},
            "any": {},
        },
        "nodes": written,
        "outputs": outputs or {"o": f"{first}.value"},
    }
