"""Every way in which flowllm fails: one tree of classes, one registry of stable codes.

    FlowError
    |-- PipelineInvalid      what was written is wrong: a list of problems          exit 2
    |-- UsageError           a bad input, option or override                        exit 2
    |-- SetupError           a key, an extra or a model file is missing             exit 3
    `-- Failure              something failed while a pipeline ran
        |-- NodeFailure      a node could not do its work                           exit 1
        |-- ProviderFailure  a provider refused, broke off or was not reached       exit 4
        |-- BadOutput        an answer came and is not valid                        exit 5
        |-- BudgetExceeded   the run would have cost more than allowed              exit 6
        `-- Interrupted      the user stopped the run                               exit 130

A code says what happened and whether a repeated request may help (``retryable``); nothing else
decides about retries. Codes are never renamed. ``docs/reference/errors.md`` is generated from here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Literal

from flowllm.core.origin import UNKNOWN, Origin
from flowllm.core.record import record

Severity = Literal["error", "warning", "note"]


@record
class Code:
    """One stable word for one way to fail.

    ``retryable`` says that a repeated request may help, ``attempts`` after how many in all it never does.
    """

    name: str
    meaning: str
    retryable: bool = False
    severity: Severity = "error"
    attempts: int | None = None


_WRITTEN = {
    "unknown_field": "a field, parameter or top-level key that nothing reads",
    "unknown_kind": "a node of a kind that is not installed",
    "unknown_reference": "a path whose first word is no node, input or variable",
    "unknown_port": "a node is known but has no such port",
    "unknown_model": "a model name that leads nowhere",
    "unknown_provider": "a provider that is not installed",
    "unknown_input": "an input that the pipeline does not declare",
    "not_a_path": "a slot holds text that is neither a path nor one expression",
    "text_around_expression": "a slot holds an expression with text around it",
    "bad_key": "a mapping key that is not a string, or not allowed there",
    "bad_name": "an id, input or `as` name that templates could not read",
    "bad_value": "a field holds a value that its type does not allow",
    "bad_schema": "a JSON Schema that is broken or not safe to use",
    "bad_yaml": "a file that is no acceptable YAML",
    "bad_template": "a template that does not parse or uses what is not allowed",
    "bad_override": "a word of the command line that is no override",
    "bad_around": "a region's list of nodes that cannot be",
    "hidden_name": "a template's own variable hides a node",
    "template_include": "a template that reaches for another template",
    "regions_cross": "two regions own the same node and neither owns the other",
    "as_hides": "an item name that hides another name",
    "out_of_scope": "a name that is known only inside a region",
    "own_value_inside": "a region's result read inside that region",
    "inside_a_region": "a node of a region read from outside it",
    "each_on_region": "`each` written on a region or a route",
    "policy_not_allowed": "a policy on a kind that cannot carry it out",
    "cycle": "nodes that wait for each other",
    "type_mismatch": "a value of one type goes where another is needed",
    "missing_input": "a required input or port is not given",
    "missing_field": "a required field is not written",
    "model_not_static": "a model chosen by something that is not an enumeration",
    "capability_mismatch": "a model that cannot do what the node asks of it",
    "case_missing": "a route without a case for a value its switch can have",
    "literal_secret": "a secret written into a file",
    "untrusted_resolver": "a resolver in a file that is not the project's own",
    "untrusted_key": "a key that could load code or change the configuration itself",
    "file_refused": "a file that must not or cannot be read",
    "sub_pipeline": "a sub-pipeline that cannot be loaded",
    "not_available_yet": "a feature that this version knows but does not have",
    "bad_usage": "a command that cannot be carried out as typed",
}
_WARNINGS = {
    "unreachable": "a node that no output needs",
    "retry_blind": "a repeated call that never reads what was wrong",
    "literal_path": "a template that holds a path or `${vars.x}` as its very words",
    "errors_unread": "items may fail and nothing reads their errors",
    "case_outside_region": "a case of an inner route that runs for every item",
    "model_ended": "a model that its provider has deprecated",
    "answer_cut": "an answer that was cut at its longest length",
    "over_output_limit": "`max_output_tokens` is more than the model writes",
    "over_window": "a prompt, with its answer, that may not fit the model's window",
}
_NOTES = {
    "no_model": "a needed call without a model",
    "model_ends": "a model that its provider deprecates within 90 days",
    "unchecked_type": "a type that can only be checked when the pipeline runs",
}
_SETUP = {
    "no_model": "a needed call without a model",
    "missing_key": "a provider's key is not set",
    "missing_setting": "a provider's address, or a setting such as its region, has no value",
    "missing_extra": "an optional package is not installed",
    "bad_module": "a module of the project that fails when it is imported",
    "missing_model_file": "a local model that is not there",
    "bad_model_file": "a local model whose files are broken, changed or not safe to open",
    "device_unavailable": "a device that models were to run on and cannot",
    "name_clash": "another distribution owns the same import name",
}
_RUN = {
    "node_failed": "a node could not do its work",
    "no_case": "a route without a case for the value and without a default",
    "every_item_failed": "a map in which no item went well",
    "template_failed": "a template or expression that failed on its values",
    "template_limit": "a template that ran or wrote too much",
    "timeout": "no result in the time allowed",
    "bad_output": "an answer that is not valid",
    "not_good": "a retry region whose attempts were all bad",
    "invalid_json": "text that is not strict JSON",
    "context_too_long": "a prompt that cannot fit the model's window",
    "over_budget": "the run would have cost more than allowed",
    "interrupted": "the run was stopped",
    "internal": "a fault of flowllm itself",
}
_PROVIDER = {
    "connect_error": "the server was not reached",
    "rate_limited": "the provider asks to slow down",
    "overloaded": "the provider is overloaded",
    "server_error": "the provider failed",
    "protocol_error": "the answer broke the rules of HTTP",
    "stream_interrupted": "a stream ended before its end mark",
    "truncated": "a body that is shorter than announced",
    "empty_response": "an answer without content",
    "conflict": "the provider asks for a repetition",
}
_PROVIDER_TWICE = {
    "dns_error": "the server's name was not resolved",
    "invalid_response": "an answer that is not what the provider documents",
    "worker_died": "the process of a local model ended while it worked",
}
_PROVIDER_FINAL = {
    "tls_error": "the server's certificate is not accepted",
    "redirect_refused": "the server sent the request elsewhere",
    "auth": "the key is not accepted",
    "permission": "the key may not do this",
    "quota": "no money or plan is left",
    "not_found": "the provider does not know the model or address",
    "bad_request": "the provider does not accept the request",
    "content_filter": "the provider refused the content",
    "body_too_large": "an answer larger than allowed",
    "event_too_large": "one event of a stream larger than allowed",
    "decode_error": "a body that cannot be decompressed or decoded",
    "circuit_open": "the provider failed too often to be asked again now",
}


def _registry() -> Mapping[str, Code]:
    codes = [Code(name, meaning, severity="note") for name, meaning in _NOTES.items()]
    codes += [Code(name, meaning) for name, meaning in (_WRITTEN | _SETUP | _RUN | _PROVIDER_FINAL).items()]
    codes += [Code(name, meaning, severity="warning") for name, meaning in _WARNINGS.items()]
    codes += [Code(name, meaning, retryable=True) for name, meaning in _PROVIDER.items()]
    codes += [Code(name, meaning, retryable=True, attempts=2) for name, meaning in _PROVIDER_TWICE.items()]
    found: dict[str, Code] = {}
    for code in codes:
        found.setdefault(code.name, code)
    return MappingProxyType(found)


CODES = _registry()


@record
class Problem:
    """One finding about what the user wrote.

    ``where`` is the place in the pipeline's own words (``ask.prompt``, ``outputs.reply``),
    ``origin`` the place in a file. ``source`` names the sub-pipeline that holds it, if any. ``named`` is the name
    that it speaks of, for whoever can tell more of that.
    """

    code: str
    message: str
    where: str = ""
    origin: Origin = UNKNOWN
    hint: str = ""
    severity: Severity = "error"
    source: str = ""
    named: str = ""

    def __str__(self) -> str:
        prefix = f"{self.source}: " if self.source else ""
        place = f" {self.where}:" if self.where else ""
        return f"{prefix}{self.code}{place} {self.message}"

    def within(self, source: str) -> "Problem":
        """The same problem, said of a sub-pipeline."""
        return replace(self, source=f"{source}: {self.source}" if self.source else source)


class FlowError(Exception):
    """Anything that flowllm reports; ``code`` is a key of `CODES`, ``exit`` the command's status."""

    exit: int = 1

    def __init__(self, code: str, message: str, *, hint: str = "", origin: Origin = UNKNOWN) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.origin = origin

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # printed below a traceback
        return [f"{word}: {said}" for word, said in (("at", str(self.origin)), ("hint", self.hint)) if said]


class PipelineInvalid(FlowError):
    """What was written cannot run; ``problems`` holds every finding, errors first."""

    exit = 2

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        first = self.problems[0]
        super().__init__(first.code, "\n".join(map(str, self.problems)), hint=first.hint, origin=first.origin)

    def __str__(self) -> str:
        return "\n".join(map(_told, self.problems))

    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]  # each problem says its own
        return []


def _told(problem: Problem) -> str:
    """A problem with its place in front and its hint behind."""
    place = str(problem.origin)
    return (f"{place}: " if place else "") + str(problem) + (f" (hint: {problem.hint})" if problem.hint else "")


class UsageError(FlowError):
    """A command, option, override or input value that cannot be carried out."""

    exit = 2


def found_by(error: FlowError) -> tuple[Problem, ...]:
    """What an error has to say, as problems."""
    if isinstance(error, PipelineInvalid):
        return error.problems
    return (Problem(error.code, error.message, "", error.origin, error.hint),)


def joined(errors: Iterable[FlowError]) -> FlowError:
    """One error that says all that several do; a single one as it is."""
    first, *others = errors
    if not others:
        return first
    return PipelineInvalid(dict.fromkeys(problem for error in (first, *others) for problem in found_by(error)))


class SetupError(FlowError):
    """Something outside the pipeline is missing: a key, a package, a model file."""

    exit = 3

    def needed_at(self, origin: Origin) -> "SetupError":
        """Name the place that needs it, unless one is named already; returns itself."""
        self.origin = self.origin if self.origin != UNKNOWN else origin
        return self


class Failure(FlowError):
    """Something failed while a pipeline ran; ``address`` is the step it happened in."""

    address: str = ""

    @property
    def retryable(self) -> bool:
        """Whether the same request may be sent again."""
        return CODES[self.code].retryable

    def at(self, address: str, origin: Origin = UNKNOWN) -> "Failure":
        """Name the step, unless an inner one is named already; returns itself."""
        if not self.address:
            self.address = address
            self.origin = self.origin if self.origin != UNKNOWN else origin
        return self


class NodeFailure(Failure):
    """A node could not do its work."""


class BadOutput(Failure):
    """An answer came and is not valid; ``value`` is what was refused, ``errors`` say why."""

    exit = 5

    def __init__(
        self,
        message: str,
        *,
        code: str = "bad_output",
        value: object = None,
        errors: Iterable[str] = (),
        hint: str = "",
    ) -> None:
        super().__init__(code, message, hint=hint)
        self.value = value
        self.errors = tuple(errors) or (message,)


class BudgetExceeded(Failure):
    """The next call would cost more than the run may."""

    exit = 6


class Interrupted(Failure):
    """The user stopped the run."""

    exit = 130


@record
class ProviderFacts:
    """What is known of the exchange that failed. Times in seconds; None is unknown.

    ``partial_text`` is what had come of the answer, for whoever catches the failure, and in ``--json``.
    """

    provider: str = ""
    model: str = ""
    status: int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    partial_text: str = ""


class ProviderFailure(Failure):
    """A provider refused, broke off or was not reached.

    ``facts.should_retry`` is the provider's own word and wins over the code. ``attempts`` lists
    what was tried before, one line each.
    """

    exit = 4

    def __init__(self, code: str, message: str, *, facts: ProviderFacts | None = None, hint: str = "") -> None:
        super().__init__(code, message, hint=hint)
        self.facts = facts or ProviderFacts()
        self.attempts: tuple[str, ...] = ()

    @property
    def retryable(self) -> bool:
        """The provider's own word, else what the code says."""
        said = self.facts.should_retry
        return CODES[self.code].retryable if said is None else said
