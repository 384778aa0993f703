"""The failure of a request that a model of this machine cannot carry out as it is."""

from flowllm.core.errors import ProviderFacts, ProviderFailure


def refused(model: str, message: str, hint: str = "", code: str = "bad_request") -> ProviderFailure:
    """``model`` is ``local/NAME``."""
    return ProviderFailure(code, message, facts=ProviderFacts("local", model), hint=hint)
