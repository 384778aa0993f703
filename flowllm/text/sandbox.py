"""Jinja as flowllm allows it: importing this module imports jinja2, so it is imported at first need.

No globals, no calls, no attribute of any Python object: a dot finds a mapping's key or a fact about
the loop, nothing else. Filters and tests are ours. `run` renders with a `Meter` and turns whatever
goes wrong into a `NodeFailure` that knows its line.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import GeneratorType, TracebackType
from typing import Any, Final, NoReturn

from jinja2 import StrictUndefined, Template, TemplateRuntimeError, UndefinedError, pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from flowllm.core.errors import NodeFailure
from flowllm.core.origin import Origin
from flowllm.text.filters import ABSENT, FILTERS, TESTS
from flowllm.text.limits import Limits, Meter, cost
from flowllm.text.paths import look, what
from flowllm.text.places import unspotted
from flowllm.text.writing import written

CODE_NAME: Final = "<pipeline template>"
LOOP_FACTS: Final = frozenset(
    {"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem"}
)
_NUMBERS: Final = (int, float, Decimal)
_BITS: Final = 8192
_SEARCHES: Final = frozenset({"in", "notin"})
_SHOWN: Final = 200


class Missing(StrictUndefined):
    """What is not there; any use of it but ``is defined`` and ``default`` fails in our words."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        if self._undefined_obj is missing:
            return f"`{self._undefined_name}` is not known here"
        _, said = look(self._undefined_obj, self._undefined_name or "")
        return f"`{self._undefined_name}` is read from a value that {said}"

    def fail(self) -> NoReturn:
        """Raise the error of using it."""
        self._fail_with_undefined_error()


class Rendering(Context):
    """Names of one rendering with its meter; ``kept`` is the value of an expression.

    ``spot`` is where the output limit was passed.
    """

    meter: Meter
    kept: Any = None
    spot: int = 0


class Environment(ImmutableSandboxedEnvironment):
    """The one environment: what a name, a dot, a bracket and an operator may do."""

    intercepted_binops = frozenset({"*", "%", "**", "+"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A mapping's key or a fact about the loop; never an attribute of data."""
        if isinstance(obj, Mapping):
            return obj[attribute] if attribute in obj else self.undefined(obj=obj, name=attribute)
        if isinstance(obj, LoopContext) and attribute in LOOP_FACTS:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A mapping's key, or an item of a list or text."""
        _use(obj, argument)
        found, value = look(obj, argument)
        return value if found else self.undefined(_read_from(argument, value), obj, argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """Nothing is: templates call nothing."""
        return False

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """No attribute is."""
        return False

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """``+`` of texts and lists within the limits, of numbers; ``*`` and ``%`` of numbers alone."""
        _use(left, right)
        if _is_number(left) and _is_number(right) and operator != "**":
            _check_size(operator, left, right)
        elif operator != "+" or type(left) is not type(right) or not isinstance(left, (str, list, tuple)):
            raise TypeError(f"`{operator}` does not work between {what(left)} and {what(right)}")
        else:
            _meter(context).fit(len(left) + len(right))
            _meter(context).step(cost(left) + cost(right))
        return self.binop_table[operator](left, right)


def _read_from(argument: Any, said: str) -> str:
    shown = argument if isinstance(argument, str) else f"[{argument}]"
    return f"`{shown}` is read from a value that {said}"


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


def _check_size(operator: str, left: Any, right: Any) -> None:
    if operator != "*" or not isinstance(left, int) or not isinstance(right, int):
        return
    if left.bit_length() + right.bit_length() > _BITS:
        raise ValueError("a number grows too large")


def _use(*values: Any) -> None:
    for value in values:
        if isinstance(value, Missing):
            value.fail()


def _meter(context: Context) -> Meter:
    assert isinstance(context, Rendering)
    return context.meter


@pass_context
def _finalize(context: Context, value: Any) -> str:
    _use(value)
    _meter(context).before(value)
    text = written(value)
    _meter(context).write(len(text))
    return text


@pass_context
def _each(context: Context, value: Any, weight: int) -> Any:
    _use(value)
    if not hasattr(value, "__len__"):
        raise TypeError(f"{what(value)} has no items to loop over")
    _meter(context).step(1 + len(value) * weight)
    return value


@pass_context
def _charge(context: Context, value: Any, operator: str) -> Any:
    """What is compared is paid for with all that it holds; a text that is searched, letter by letter."""
    if operator in _SEARCHES and isinstance(value, (str, Mapping)):
        _meter(context).step(1 if isinstance(value, Mapping) else cost(value))
    elif not isinstance(value, Missing):
        _meter(context).compare(value)
    return value


@pass_context
def _counted(context: Context, value: Any) -> Any:
    _use(value)
    _meter(context).step(1)
    return value


@pass_context
def _concat(context: Context, values: list[Any]) -> str:
    _meter(context).before(*values)
    texts = [written(value) for value in values]
    _meter(context).build(sum(map(len, texts)))
    return "".join(texts)


@pass_context
def _slice(context: Context, value: Any, start: Any, stop: Any, step: Any) -> Any:
    if isinstance(value, Mapping) or not hasattr(value, "__getitem__"):
        raise TypeError(f"{what(value)} cannot be cut into pieces")
    piece = value[start:stop:step]
    _meter(context).read(piece)
    return piece


@pass_context
def _keep(context: Context, value: Any) -> str:
    _use(value)
    assert isinstance(context, Rendering)
    context.kept = value
    return ""


def _need(value: Any) -> Any:
    _use(value)
    return value


@pass_context
def _used(context: Context, value: Any) -> Any:
    _use(value)
    _meter(context).read(value)
    return value


@pass_context
def _present(context: Context, value: Any, name: str) -> Any:
    return context.environment.undefined(f"`{name}` was given nothing to choose from") if value is ABSENT else value


def _maybe(value: Any) -> Any:
    return ABSENT if isinstance(value, Missing) else value


# Names with a dollar cannot be written in a template: `text.metering` puts them in.
_INNER: Final = {
    "$each": _each, "$charge": _charge, "$concat": _concat, "$slice": _slice, "$keep": _keep, "$need": _need,
    "$used": _used, "$counted": _counted, "$present": _present, "$maybe": _maybe,
}  # fmt: skip


def equip(environment: Environment) -> Environment:
    """Give an environment our filters and tests, and nothing of Jinja's own."""
    environment.globals.clear()
    environment.policies.clear()
    environment.filters = {name: pass_context(function) for name, function in FILTERS.items()} | _INNER
    environment.tests = dict(TESTS)
    return environment


ENVIRONMENT: Final = equip(
    Environment(undefined=Missing, optimized=False, finalize=_finalize, autoescape=False, cache_size=0)
)


def run(template: Template, names: Mapping[str, Any], limits: Limits) -> tuple[str, Any]:
    """The text that ``template`` writes, and what it kept. Raises `NodeFailure`; its origin
    is the line and column in the template, 0 where they are not known.
    """
    context = Rendering(template.environment, names, None, {})  # type: ignore[arg-type]
    context.meter = Meter(limits)
    try:
        return _collect(template, context), context.kept
    except NodeFailure as failure:
        raise _placed(failure, template, context.spot) from failure.__cause__
    except UndefinedError as error:
        raise _placed(_failed(str(error.message), error), template) from None
    except TemplateRuntimeError as error:
        raise _placed(_failed(str(error), error), template) from None
    except RecursionError as error:
        raise _placed(_failed("the values or the template are nested too deeply", error), template) from None
    except (TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise _placed(_failed(str(error) or type(error).__name__, error), template) from None


def _collect(template: Template, context: Rendering) -> str:
    pieces: list[str] = []
    length = 0
    writing = template.root_render_func(context)
    for piece in writing:
        pieces.append(piece)
        length += len(piece)
        if length > context.meter.limits.output:
            # The generator rests at the line that wrote too much; no traceback will name it.
            assert isinstance(writing, GeneratorType)
            assert writing.gi_frame is not None
            context.spot = template.get_corresponding_lineno(writing.gi_frame.f_lineno)
            context.meter.fit(length)
    return "".join(pieces)


def _failed(said: str, error: BaseException) -> NodeFailure:
    failure = NodeFailure("template_failed", said[:_SHOWN])
    return failure.with_traceback(error.__traceback__)


def _placed(failure: NodeFailure, template: Template, spot: int = 0) -> NodeFailure:
    spot = spot or _spot(failure.__traceback__, template)
    line, column = unspotted(spot)
    failure.origin = Origin(line=line, column=column + 1) if spot else Origin()
    return failure


def _spot(traceback: TracebackType | None, template: Template) -> int:
    spot = 0
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == CODE_NAME:
            spot = template.get_corresponding_lineno(traceback.tb_lineno)
        traceback = traceback.tb_next
    return spot
