"""A limit on the memory of a process that runs a model, set by the process itself before it opens the model.

A graph may ask for any amount while it runs. With the limit that is an error of the run, and not the end of whatever
else the machine does. The system counts addresses and not what is written to, so that drivers of devices, which
reserve many, run without one; so do systems that do not tell what a process has.
"""

import os
from contextlib import suppress
from pathlib import Path

from flowllm.backends.local.devices import Device, settled

_THREAD = 80 * 2**20
"""Addresses that a thread takes for its stack and its heap."""
_OTHER_THREADS = 8
_STATE = Path("/proc/self/statm")


def limit_memory(device: Device, more: int | None) -> None:
    """Let this process take ``more`` bytes beside what it has and what its threads need; None: as many as it likes.

    Raises `SetupError` as `devices.settled`.
    """
    if more is None or settled(device).provider != "cpu" or not _STATE.exists():
        return
    import resource

    cores = os.cpu_count() or 1
    threads = (device.threads or cores) + cores + _OTHER_THREADS
    has = int(_STATE.read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = has + threads * _THREAD + more
    if hard == resource.RLIM_INFINITY or most < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
