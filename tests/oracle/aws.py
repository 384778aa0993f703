"""Amazon's own types: botocore's service models check the parameters and serialise them again.

A body is accepted when its operation exists, the parameters are valid (types, required and unknown names, and, beyond
what botocore checks, enumerations, patterns and sizes), and botocore's serialiser makes the same path and the same
JSON of them. The bodies of InvokeModel are opaque to Amazon's types; what is inside is checked where another operation
has the same shape: that of Nova is the one of Converse.
"""

import base64
import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

import botocore
import botocore.session
from botocore.serialize import create_serializer
from botocore.validate import ParamValidator

from tests.oracle.verdicts import main

OPERATIONS = (
    (re.compile(r"/model/([^/]+)/converse"), "bedrock-runtime", "Converse"),
    (re.compile(r"/model/([^/]+)/converse-stream"), "bedrock-runtime", "ConverseStream"),
    (re.compile(r"/model/([^/]+)/invoke"), "bedrock-runtime", "InvokeModel"),
    (re.compile(r"/model/([^/]+)/invoke-with-response-stream"), "bedrock-runtime", "InvokeModelWithResponseStream"),
    (re.compile(r"/rerank"), "bedrock-agent-runtime", "Rerank"),
)
# Words of Nova's own bodies that Converse has no member for.
NOVA_WORDS = {"schemaVersion", "reasoningConfig"}
SESSION = botocore.session.get_session()


def judge(row) -> str:
    """What is wrong with a request, empty where nothing is."""
    found = next(((m, s, o) for pattern, s, o in OPERATIONS if (m := pattern.fullmatch(row["path"]))), None)
    if found is None or row["method"] != "POST":
        return f"no operation has {row['method']} {row['path']}"
    match, service, name = found
    model = SESSION.get_service_model(service)
    operation = model.operation_model(name)
    uri = {"modelId": unquote(match[1])} if match.groups() else {}
    if name.startswith("Invoke"):
        inner = _nova(row["body"], model) if "amazon.nova" in uri["modelId"] else ""
        return inner or _checked(operation, model, {**uri, "body": json.dumps(row["body"]).encode()}, row)
    return _checked(operation, model, {**uri, **_with_blobs(row["body"], operation.input_shape)}, row)


def _nova(body, model) -> str:
    """The body of Nova as parameters of Converse."""
    shape = model.operation_model("Converse").input_shape
    known = {name: value for name, value in body.items() if name not in NOVA_WORDS}
    return _problems({"modelId": "amazon.nova-lite-v1:0", **_with_blobs(known, shape)}, shape)


def _checked(operation, model, parameters, row) -> str:
    if problems := _problems(parameters, operation.input_shape):
        return problems
    sent = create_serializer(model.metadata["protocol"], include_validation=False).serialize_to_request(
        parameters, operation
    )
    if sent["url_path"] != row["path"]:
        return f"botocore's path is {sent['url_path']}"
    same = json.loads(sent["body"]) == row["body"]
    return "" if same else f"botocore's body is {sent['body'].decode()[:500]}"


def _problems(parameters, shape) -> str:
    report = ParamValidator().validate(parameters, shape)
    return "; ".join([*filter(None, [report.generate_report()]), *_beyond(parameters, shape, "")])


def _with_blobs(value, shape):
    """JSON as parameters: what travels as base64 is bytes."""
    if shape.type_name == "structure" and isinstance(value, dict) and not shape.metadata.get("document"):
        known = shape.members
        return {name: _with_blobs(v, known[name]) if name in known else v for name, v in value.items()}
    if shape.type_name == "list" and isinstance(value, list):
        return [_with_blobs(item, shape.member) for item in value]
    if shape.type_name == "blob" and isinstance(value, str):
        return base64.b64decode(value, validate=True)
    return value


def _beyond(value, shape, place) -> Iterator[str]:
    """Enumerations, patterns, the greatest sizes and unions, which botocore leaves to the service."""
    if getattr(shape, "is_document_type", False):
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        if getattr(shape, "is_tagged_union", False) and len(value) != 1:
            yield f"{place} must have exactly one member, not {sorted(value)}"
        for name, inner in value.items():
            if name in shape.members:
                yield from _beyond(inner, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list" and isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _beyond(inner, shape.member, f"{place}[{index}]")
    elif shape.type_name == "string" and isinstance(value, str):
        yield from _string(value, shape, place)
    elif isinstance(value, int | float) and value > shape.metadata.get("max", value):
        yield f"{place} is greater than {shape.metadata['max']}"


def _string(value, shape, place) -> Iterator[str]:
    if shape.enum and value not in shape.enum:
        yield f"{place} is none of {shape.enum}"
    if len(value) > shape.metadata.get("max", len(value)):
        yield f"{place} is longer than {shape.metadata['max']}"
    pattern = shape.metadata.get("pattern")
    if pattern and not re.fullmatch(pattern, value):
        yield f"{place} is not of the form {pattern[:80]}"


def _planted(body, path="/model/m/converse", method="POST"):
    return {"method": method, "path": path, "body": body}


SAID = {"role": "user", "content": [{"text": "Hi"}]}
PLANTED = [
    _planted({"messages": [SAID]}, path="/model/m/chat"),
    _planted({"messages": [SAID]}, method="GET"),
    _planted({"messages": [SAID]}, path="/model/us.x:0/converse"),
    _planted({"messages": [SAID], "temperature": 1}),
    _planted({"messages": [{"role": "tool", "content": []}]}),
    _planted({"messages": [{"content": [{"text": "Hi"}]}]}),
    _planted({"messages": [{"role": "user", "content": [{"text": "Hi", "cachePoint": {"type": "default"}}]}]}),
    _planted({"messages": [{"role": "user", "content": [{"image": {"format": "jpg", "source": {"bytes": "AAAA"}}}]}]}),
    _planted({"messages": [{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": "%"}}}]}]}),
    _planted({"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "a/b", "content": []}}]}]}),
    _planted({"messages": [{"role": "user", "content": [{"toolResult": {"toolUseId": "a" * 65, "content": []}}]}]}),
    _planted({"messages": [SAID], "inferenceConfig": {"maxTokens": 0}}),
    _planted({"messages": [SAID], "inferenceConfig": {"temperature": 1.5}}),
    _planted({"messages": [SAID], "toolConfig": {"tools": []}}),
    _planted({"messages": [SAID], "toolConfig": {"tools": [{"toolSpec": {"name": "f"}}]}}),
    _planted({"messages": [SAID], "model": "x"}, path="/model/amazon.nova-lite-v1%3A0/invoke"),
    _planted({"queries": []}, path="/rerank"),
]

if __name__ == "__main__":
    main(f"botocore {botocore.__version__}", judge, PLANTED)
