"""``{name}`` in the texts of a provider file: a setting of the provider, such as its region.

Pure text: no expression, no second pass over what was put in.
"""

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")


def placeholders(text: str) -> list[str]:
    """The names that stand in ``text``, in their order."""
    return _PLACEHOLDER.findall(text)


def filled(text: str, settings: Mapping[str, str]) -> str:
    """``text`` with the settings in their places; a name without a value stays as it is."""
    return _PLACEHOLDER.sub(lambda found: settings.get(found[1], found[0]), text)
