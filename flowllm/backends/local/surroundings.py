"""What a process that runs or makes a model gets to know of this one's environment: no key and no secret is in it."""

import os

_NAMES = frozenset({
    "PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "HOME", "USER", "LOGNAME", "TMPDIR", "TEMP", "TMP", "LANG", "TZ",
    "XDG_CACHE_HOME", "HF_HOME", "SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "PROGRAMDATA",
})  # fmt: skip
"""Where programs, libraries and folders are."""
_FRONTS = (
    "LC_", "LD_", "DYLD_", "CUDA_", "NVIDIA_", "HIP_", "HSA_", "ROCR_", "ROCM_", "MIGRAPHX_", "ORT_", "OMP_", "GOMP_",
    "KMP_", "MKL_", "OPENBLAS_",
)  # fmt: skip
"""How all else begins that libraries of numbers and drivers of devices read."""


def known_variables() -> dict[str, str]:
    """The variables of the environment that it gets."""
    return {name: value for name, value in os.environ.items() if name in _NAMES or name.startswith(_FRONTS)}
