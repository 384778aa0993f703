"""`flowllm export`: a model of transformers to an ONNX model on the shelf of this machine."""

from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.options import Command
from flowllm.cli.tables import size
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.cli.render import Screen


@record(kw_only=True)
class Export(Command):
    """Make an ONNX model of a folder with a model of transformers or sentence-transformers. Nothing is downloaded.

    Decoders take the extra `builder`, other models `export`; FLOWLLM_EXPORTER is a Python of another environment.
    """

    source: Annotated[str, typer.Argument(metavar="FOLDER", help="With config.json and weights in safetensors.")]
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called here: local/NAME (default: as the folder)."),
    ] = None
    to: Annotated[str | None, typer.Option(metavar="FOLDER", help="Another place than the shelf.")] = None
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="embed, rerank, classify or chat (default: by the model's class)."),
    ] = None
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="fp32, fp16, int8, or int4 (chat alone): weights of matrices.")
    ] = "fp32"

    def carry_out(self, screen: "Screen") -> int:
        """Make it, and print its name and folder."""
        from flowllm.api.exporting import export_model, order_of, reference_to
        from flowllm.cli.opening import here

        order = order_of(
            here(),
            self.source,
            to=self.to or "",
            name=self.name,
            task=self.task or "",
            precision=self.precision,
        )
        said = f"exporting {order.source} in {order.precision}: seconds to minutes, in a process of its own"
        done = export_model(order, lambda: screen.note(said))
        model = reference_to(here(), done.folder)
        if self.as_json:
            facts = {"task": done.task, "precision": done.precision, "size": done.size}
            facts |= {"exporter": done.exporter, "doubts": list(done.doubts)}
            screen.json({"model": model or None, "folder": str(done.folder), **facts})
        else:
            screen.text(model or str(done.folder))
            screen.note(f"{done.task}, {done.precision}, {size(done.size)}, by {done.exporter} in {done.folder}")
        for doubt in done.doubts:
            screen.note(f"the exporter says: {doubt}")
        return 0


COMMAND = Export
