"""Runs on a GPU with inputs and outputs that stay there, one set of buffers a shape, and a CUDA graph for each.

What goes in is copied into the shape's own buffers and what comes out is copied from them, so that addresses never
change: that is what a CUDA graph asks for. The first run of a shape makes its buffers and records nothing; later
ones name the shape's graph. Shapes beyond `MOST` run without buffers of their own.
"""

from collections.abc import Mapping
from typing import Any

from flowllm.backends.local import libraries
from flowllm.core.record import record

MOST = 96
"""Shapes that keep buffers: more than `shapes` makes of one model with a window of 512."""
_ON_GPU = "cuda"
_NO_GRAPH = -1

_Key = tuple[tuple[str, ...], tuple[tuple[str, tuple[int, ...]], ...]]


@record
class _Buffers:
    """What one shape is bound to, and the number of its graph."""

    binding: Any
    inputs: Mapping[str, Any]
    outputs: tuple[Any, ...]
    graph: int


class Bound:
    """Runs a session of ONNX Runtime on the GPU of that number; ``graphs`` as the session was opened. One at a time.

    The first shape's first run is slow, and with graphs so is its second one, which is recorded.
    """

    def __init__(self, session: Any, index: int, *, graphs: bool) -> None:
        self._session = session
        self._index = index
        self._graphs = graphs
        self._kept: dict[_Key, _Buffers] = {}

    def run(self, feeds: Mapping[str, Any], outputs: tuple[str, ...]) -> list[Any]:
        """Arrays in, arrays out."""
        key = (outputs, tuple((name, array.shape) for name, array in feeds.items()))
        kept = self._kept.get(key)
        if kept is not None:
            for name, value in kept.inputs.items():
                value.update_inplace(feeds[name])
            self._session.run_with_iobinding(kept.binding, self._options(kept.graph))
            return [value.numpy() for value in kept.outputs]
        if len(self._kept) >= MOST:
            found: list[Any] = self._session.run(list(outputs), dict(feeds), self._options(_NO_GRAPH))
            return found
        self._kept[key] = made = self._made(feeds, outputs)
        return [value.numpy() for value in made.outputs]

    def _made(self, feeds: Mapping[str, Any], outputs: tuple[str, ...]) -> _Buffers:
        """Run once where ONNX Runtime takes memory for what comes out, and keep that memory."""
        values = libraries.onnxruntime().OrtValue
        inputs = {name: values.ortvalue_from_numpy(array, _ON_GPU, self._index) for name, array in feeds.items()}
        first = self._binding(inputs)
        for name in outputs:
            first.bind_output(name, _ON_GPU, self._index)
        self._session.run_with_iobinding(first, self._options(_NO_GRAPH))
        found = tuple(first.get_outputs())
        binding = self._binding(inputs)
        for name, value in zip(outputs, found, strict=True):
            binding.bind_ortvalue_output(name, value)
        return _Buffers(binding, inputs, found, len(self._kept) + 1)

    def _binding(self, inputs: Mapping[str, Any]) -> Any:
        made = self._session.io_binding()
        for name, value in inputs.items():
            made.bind_ortvalue_input(name, value)
        return made

    def _options(self, graph: int) -> Any:
        """What a run is told: the number of its graph where graphs are recorded."""
        if not self._graphs:
            return None
        options = libraries.onnxruntime().RunOptions()
        options.add_run_config_entry("gpu_graph_id", str(graph))
        return options
