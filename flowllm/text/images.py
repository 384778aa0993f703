"""Images of a prompt: a data URL, an https URL, or ``{media_type, data}`` with base64 data."""

import re
from collections.abc import Mapping
from typing import Any, Final

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import Origin

_MEDIA: Final = r"image/[a-z0-9.+-]{1,60}"
_BASE64: Final = r"[A-Za-z0-9+/]+={0,2}"
_KEYS: Final = frozenset({"media_type", "data"})
_HINT: Final = "give a data: URL, an https: URL, or {media_type: image/png, data: base64 text}"


def image_of(value: Any, origin: Origin) -> dict[str, str] | None:
    """``{"url"}`` or ``{"media_type", "data"}``; None for null. Raises `NodeFailure` for anything else."""
    if value is None:
        return None
    if isinstance(value, str) and value.startswith("https://"):
        return {"url": value}
    if isinstance(value, str) and value.startswith("data:"):
        head, _, data = value[len("data:") :].partition(",")
        return _checked(head.removesuffix(";base64"), data, origin)
    if isinstance(value, Mapping) and set(value) == _KEYS:
        return _checked(value["media_type"], value["data"], origin)
    raise _refused("the value of an image slot is no image", origin)


def _checked(media_type: Any, data: Any, origin: Origin) -> dict[str, str]:
    if not isinstance(media_type, str) or not re.fullmatch(_MEDIA, media_type):
        raise _refused("the media type of an image is not image/...", origin)
    if not isinstance(data, str) or not re.fullmatch(_BASE64, data):
        raise _refused("the data of an image is not base64", origin)
    return {"media_type": media_type, "data": data}


def _refused(message: str, origin: Origin) -> NodeFailure:
    return NodeFailure("template_failed", message, hint=_HINT, origin=origin)
