"""Several steps that each may fail over what was written: all of them are tried, and all that they said is told."""

from dataclasses import field
from types import TracebackType

from flowllm.core.errors import FlowError, PipelineInvalid, UsageError
from flowllm.core.record import record


@record(frozen=False)
class Gathered:
    """``with gathered:`` around each step keeps its `PipelineInvalid` or `UsageError`; other errors pass."""

    errors: list[FlowError] = field(default_factory=list)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> bool:
        del kind, at
        if not isinstance(error, PipelineInvalid | UsageError):
            return False
        self.errors.append(error)
        return True
