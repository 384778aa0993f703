"""`flowllm pull`: a model from a hub onto the shelf of this machine."""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from flowllm.cli.options import Command
from flowllm.cli.tables import size
from flowllm.core.record import record

if TYPE_CHECKING:
    from flowllm.backends.local.hub_files import HubFile
    from flowllm.cli.render import Screen

OFTEN = 5.0
"""Seconds between two lines about a file that comes."""


@record(kw_only=True)
class Pull(Command):
    """Fetch an ONNX model from a Hugging Face hub. Nothing else fetches models; `run` never does.

    HF_TOKEN is the token for models that need one, HF_ENDPOINT the address of another hub.
    """

    repository: Annotated[str, typer.Argument(metavar="REPO@REVISION", help="Such as acme/tiny@main.")]
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What it is called here: local/NAME (default: as the repository)."),
    ] = None
    precision: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of several graphs: fp32, fp16, int8, int4, ...")
    ] = None
    max_size: Annotated[str, typer.Option(metavar="SIZE", help="The most bytes that all files may have.")] = "16GB"

    def carry_out(self, screen: "Screen") -> int:
        """Fetch it, and print its name and folder."""
        from flowllm.api.pulling import pull_model, wish_of
        from flowllm.api.sync import run_sync
        from flowllm.cli.opening import here

        most = _bytes(self.max_size)
        wish = wish_of(here(), self.repository, name=self.name, precision=self.precision or "", max_size=most)
        done = run_sync(pull_model(here(), wish, Lines(screen.note)))
        if self.as_json:
            facts = {"commit": done.commit, "size": done.size, "fetched": done.fetched}
            screen.json({"model": f"local/{done.name}", "folder": str(done.folder), **facts})
        else:
            screen.text(f"local/{done.name}")
            said = f"{size(done.size)} in" if done.fetched else "was there already, whole, in"
            screen.note(f"{said} {done.folder}, commit {done.commit}")
        return 0


class Lines:
    """Progress as lines on stderr: what will come, then where it stands, not too often."""

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._last = clock()

    def planned(self, files: "Sequence[HubFile]", kept: int) -> None:
        """The files and their sizes, before anything comes."""
        for file in files:
            self._say(f"  {file.name}  {size(file.size)}")
        total = sum(file.size for file in files)
        self._say(f"{len(files)} files, {size(total)}" + (f", of which {size(kept)} are here" if kept else ""))
        self._last = self._clock()

    def came(self, file: "HubFile", done: int) -> None:
        """Where a file stands."""
        now = self._clock()
        if now - self._last >= OFTEN:
            self._last = now
            self._say(f"{file.name}: {size(done)} of {size(file.size)} ({done * 100 // max(1, file.size)} %)")


def _bytes(text: str) -> int:
    from flowllm.backends.local.devices import size as parsed
    from flowllm.core.errors import UsageError

    try:
        return parsed(text)
    except ValueError as error:
        raise UsageError("bad_usage", f"--max-size: {error}", hint="--max-size 16GB") from None


COMMAND = Pull
