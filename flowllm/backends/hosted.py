"""Whose model it is that Amazon Bedrock hosts, read from the names of models."""

_GROUPS = frozenset({"us", "us-gov", "eu", "apac", "jp", "au", "ca", "sa", "il", "me", "af", "mx", "global"})
_AMAZON = ("nova", "titan")
_OWN_WORDS = {"meta": "llama"}


def family_of(name: str) -> str:
    """The family of a model by its id, its inference profile or its ARN; empty where the name does not say.

    ``us.anthropic.claude-x`` is ``anthropic``, ``amazon.nova-x`` is ``nova``, ``meta.llama-x`` is ``llama``.
    """
    parts = name.rpartition("/")[2].split(".")
    if parts[0] in _GROUPS:
        del parts[0]
    if len(parts) < 2:  # noqa: PLR2004
        return ""
    vendor, model = parts[0], parts[1]
    if vendor == "amazon":
        return next((family for family in _AMAZON if model.startswith(family)), "")
    return _OWN_WORDS.get(vendor, vendor)
