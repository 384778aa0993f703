import numpy as np
import pytest

from flowllm.backends.local import binding, libraries
from flowllm.backends.local.binding import Bound


class Value:
    """An array that lies on a GPU, as far as anybody asks."""

    def __init__(self, array):
        self.array = array.copy()

    @classmethod
    def ortvalue_from_numpy(cls, array, device, index):
        assert (device, index) == ("cuda", 3)
        return cls(array)

    def update_inplace(self, array):
        assert array.shape == self.array.shape
        self.array[...] = array

    def numpy(self):
        return self.array.copy()


class Options:
    def __init__(self):
        self.graph = None

    def add_run_config_entry(self, word, value):
        assert word == "gpu_graph_id"
        self.graph = value


class Runtime:
    OrtValue = Value
    RunOptions = Options


class Binding:
    def __init__(self):
        self.inputs, self.outputs = {}, {}

    def bind_ortvalue_input(self, name, value):
        self.inputs[name] = value

    def bind_output(self, name, device, index):
        assert (device, index) == ("cuda", 3)
        self.outputs[name] = None

    def bind_ortvalue_output(self, name, value):
        self.outputs[name] = value

    def get_outputs(self):
        return list(self.outputs.values())


class Session:
    """Doubles and negates; notes of each run its graph and whether the memory of its results was given."""

    def __init__(self):
        self.runs = []

    def io_binding(self):
        return Binding()

    def run_with_iobinding(self, bound, options):
        given = {name: value is not None for name, value in bound.outputs.items()}
        self.runs.append((options and options.graph, all(given.values())))
        for name, array in results(bound.inputs["x"].array).items():
            if name in bound.outputs:
                if bound.outputs[name] is None:
                    bound.outputs[name] = Value(array)
                else:
                    bound.outputs[name].array[...] = array

    def run(self, outputs, feeds, options):
        self.runs.append((options and options.graph, None))
        return [results(feeds["x"])[name] for name in outputs]


def results(x):
    return {"twice": 2 * x, "less": -x}


@pytest.fixture(autouse=True)
def runtime(monkeypatch):
    monkeypatch.setattr(libraries, "onnxruntime", lambda: Runtime)


def rows(*shape, start=0):
    return np.arange(start, start + np.prod(shape), dtype=np.int64).reshape(shape)


GRAPHS = [
    (True, [("-1", False), ("1", True), ("-1", False), ("2", True), ("1", True)]),
    (False, [(None, False), (None, True), (None, False), (None, True), (None, True)]),
]


@pytest.mark.parametrize(("graphs", "expected"), GRAPHS)
def test_each_shape_has_its_buffers_and_its_graph(graphs, expected):
    session = Session()
    bound = Bound(session, 3, graphs=graphs)
    for start, shape in enumerate([(2, 4), (2, 4), (1, 4), (1, 4), (2, 4)]):
        x = rows(*shape, start=start)
        found = bound.run({"x": x}, ("twice", "less"))
        assert [one.tolist() for one in found] == [(2 * x).tolist(), (-x).tolist()]
    assert session.runs == expected


def test_what_was_given_back_does_not_change_with_the_next_run():
    bound = Bound(Session(), 3, graphs=True)
    first = [bound.run({"x": rows(1, 2)}, ("twice",))[0] for _ in range(2)]
    bound.run({"x": rows(1, 2, start=50)}, ("twice",))
    assert [one.tolist() for one in first] == [[[0, 2]]] * 2


def test_other_outputs_have_buffers_of_their_own():
    bound = Bound(Session(), 3, graphs=False)
    for name, expected in (("twice", [[0, 2]]), ("less", [[0, -1]]), ("twice", [[0, 2]])):
        assert bound.run({"x": rows(1, 2)}, (name,))[0].tolist() == expected


def test_many_shapes_do_not_take_memory_for_ever(monkeypatch):
    monkeypatch.setattr(binding, "MOST", 2)
    session = Session()
    bound = Bound(session, 3, graphs=True)
    for length in (1, 2, 3, 3, 1):
        assert bound.run({"x": rows(1, length)}, ("less",))[0].tolist() == (-rows(1, length)).tolist()
    assert session.runs == [("-1", False), ("-1", False), ("-1", None), ("-1", None), ("1", True)]
