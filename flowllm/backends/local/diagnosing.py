"""What speaks for and against local models here: wheels over each other, devices that work, what really runs."""

from collections.abc import Callable, Iterator

from flowllm.backends.local import libraries
from flowllm.backends.local.devices import PROVIDERS, Device, lacking
from flowllm.backends.local.sessions import probe
from flowllm.core.errors import FlowError, found_by
from flowllm.core.record import record

WHEELS = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml")
"""Distributions that hold the same files."""

Version = Callable[[str], str | None]
"""The version of a distribution, None where it is not installed."""


@record
class Look:
    """One thing that was looked at; ``ok`` False is something broken, with what helps in ``hint``."""

    name: str
    value: str
    ok: bool = True
    hint: str = ""


def wheels(version: Version) -> Look:
    """Which onnxruntime is installed; two of them wrote over each other's files."""
    found = {name: said for name in WHEELS if (said := version(name))}
    told = " and ".join(f"{name} {said}" for name, said in found.items())
    if len(found) > 1:
        kept = next(name for name in reversed(WHEELS) if name in found)
        return Look("onnxruntime", f"{told} wrote over each other's files", ok=False, hint=libraries.repair(kept))
    return Look("onnxruntime", told or "not installed (extras: local, gpu)")


def devices() -> Iterator[Look]:
    """Every kind of device that the installed wheel has a word for, and whether it can be used."""
    try:
        compiled = frozenset(libraries.onnxruntime().get_available_providers())
        for word, provider in PROVIDERS.items():
            if provider in compiled and word != "rocm":
                why = lacking(word)
                yield Look(word, f"cannot be used: {why}" if why else "can be used")
    except FlowError as error:
        yield Look("onnxruntime", error.message, ok=False, hint=error.hint)


def running(device: Callable[[], Device], name: str) -> Iterator[Look]:
    """What really runs a graph on the device that is set, or all that speaks against it."""
    try:
        yield Look("device", f"{name}, which runs on {probe(device())}")
    except FlowError as error:
        for one in found_by(error):
            yield Look("device", f"{str(one.origin) or name}: {one.message}", ok=False, hint=one.hint)
