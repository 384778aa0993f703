"""An encoder of Amazon's event streams, small enough to be read beside the format's description."""

import base64
import json
import struct
import zlib


def header(name: str, value) -> bytes:
    """A header; ``value`` is text, or the type and the bytes that follow it."""
    kind, body = (7, struct.pack(">H", len(value.encode())) + value.encode()) if isinstance(value, str) else value
    return bytes([len(name)]) + name.encode() + bytes([kind]) + body


def message(payload: bytes, **of) -> bytes:
    """A message; ``of`` are headers, without their colons and with underlines for dashes."""
    headers = b"".join(header(":" + name.replace("_", "-"), value) for name, value in of.items())
    start = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    told = start + struct.pack(">I", zlib.crc32(start)) + headers + payload
    return told + struct.pack(">I", zlib.crc32(told))


def event(kind: str, data) -> bytes:
    """An event with JSON."""
    payload = json.dumps(data, ensure_ascii=False).encode()
    return message(payload, event_type=kind, content_type="application/json", message_type="event")


def events(*pairs) -> bytes:
    return b"".join(event(kind, data) for kind, data in pairs)


def chunks(*bodies) -> bytes:
    """Bodies of a model as InvokeModelWithResponseStream wraps them, padding and all."""
    wrapped = [base64.b64encode(json.dumps(data).encode()).decode() for data in bodies]
    return events(*(("chunk", {"bytes": data, "p": "abcdefgh"[:place]}) for place, data in enumerate(wrapped)))


def exception(kind: str, message_: str) -> bytes:
    payload = json.dumps({"message": message_}).encode()
    return message(payload, exception_type=kind, content_type="application/json", message_type="exception")
