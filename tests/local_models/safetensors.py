"""Files of safetensors without the package: a header of JSON, and the bytes that it points to."""

import json

import numpy as np


def read_safetensors(path):
    """Arrays of single precision by name."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header.pop("__metadata__", None)
    return {
        name: np.frombuffer(content[start + at["data_offsets"][0] : start + at["data_offsets"][1]], np.float32).reshape(
            at["shape"]
        )
        for name, at in header.items()
        if at["dtype"] == "F32"
    }


def write_safetensors(path, arrays):
    """Arrays of single precision by name, as transformers reads them."""
    header, start, content = {"__metadata__": {"format": "pt"}}, 0, []
    for name, array in arrays.items():
        content.append(np.ascontiguousarray(array, np.float32).tobytes())
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [start, start + len(content[-1])]}
        start += len(content[-1])
    told = json.dumps(header).encode()
    path.write_bytes(len(told).to_bytes(8, "little") + told + b"".join(content))
