"""What the regions offer: the bounds of their parameters and the types of their ports."""

import pytest
from pydantic import ValidationError

from flowllm.core.kinds import Kinds

KINDS = Kinds()


@pytest.mark.parametrize(
    ("kind", "name", "least", "most"),
    [("map", "at_once", 1, 10_000), ("retry", "attempts", 1, 100)],
)
def test_bounds(kind, name, least, most):
    model = KINDS.find(kind)
    assert [getattr(model.model_validate({name: value}), name) for value in (least, most)] == [least, most]
    for value in (least - 1, most + 1):
        with pytest.raises(ValidationError):
            model.model_validate({name: value})


def test_the_ports_of_a_map_hold_the_type_of_one_result():
    node = KINDS.find("map").model_validate({})
    error = {"index": {"type": "integer"}, "code": {"type": "string"}, "message": {"type": "string"}}
    assert node.output_ports({"of": {"type": "string"}}, {}) == {
        "items": {"type": "array", "items": {"type": "string"}},
        "errors": {
            "type": "array",
            "items": {"type": "object", "properties": error, "required": ["index", "code", "message"]},
        },
        "indexes": {"type": "array", "items": {"type": "integer"}},
    }
