"""A model's own chat template: messages and tools to the text that the model was trained on.

It comes with the model and is not trusted: it runs in the sandbox of pipelines' templates (`text.sandbox`),
which meters every step and character. Beyond that it may do what such templates are written with: macros,
``namespace``, ``range``, ``raise_exception``, ``strftime_now``, and the methods of texts, lists and
mappings in `_METHODS`. What is not there writes nothing, true and null are written as Python does.
Importing this module imports jinja2.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jinja2 import TemplateError, TemplateSyntaxError, Undefined, nodes, pass_context
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.utils import Namespace

from flowllm.core.errors import NodeFailure, ProviderFacts, ProviderFailure
from flowllm.core.request import Chat, Message, Text, Tool
from flowllm.text.filters import ABSENT, FILTERS, TESTS, pay_tests
from flowllm.text.limits import Limits, cost
from flowllm.text.metering import generate, weight
from flowllm.text.paths import what
from flowllm.text.sandbox import Environment, Missing, Rendering, equip, run
from flowllm.text.strict_json import loads

_LONGEST: Final = 1 << 20
_LIMITS: Final = Limits(steps=4_000_000, seconds=3.0)
_WIDEST: Final = 1_000_000
"""Numbers of a range: Python has operations that look at each of them."""

_REFUSED: Final = (
    nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends, nodes.Block, nodes.CallBlock, nodes.Scope,
    nodes.EvalContextModifier,
)  # fmt: skip
_CALL: Final = 4
"""Steps of calling a macro, besides its body."""
_NOW: Final = "now in seconds"
_TOO_DEEP: Final = (SyntaxError, MemoryError, RecursionError)


class Unset(Missing):
    """What is not there: empty and false, as templates of models take it; reading from it fails."""

    __slots__ = ()

    def __contains__(self, item: object, /) -> bool:  # type: ignore[override]
        return False

    def fail(self) -> None:  # type: ignore[override]
        """Using it is no error."""


for _name in ("__iter__", "__str__", "__len__", "__bool__", "__eq__", "__ne__", "__hash__"):
    setattr(Unset, _name, getattr(Undefined, _name))


class _Generation(Extension):
    """``{% generation %}`` marks what the model writes, for training; here it is its body."""

    tags: Final = {"generation"}  # type: ignore[misc]

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class ChatEnvironment(Environment):
    """The sandbox, with macros and namespaces."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A name of a namespace, else as anywhere."""
        if isinstance(obj, Namespace):
            names = object.__getattribute__(obj, "_Namespace__attrs")
            return names[attribute] if attribute in names else self.undefined(obj=None, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """A key or an item; of nothing there is none."""
        if isinstance(obj, Unset):
            raise TypeError(f"`{argument}` is read from `{obj._undefined_name}`, which is not there")  # noqa: SLF001
        return super().getitem(obj, argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """The template's own macros are."""
        return isinstance(obj, Macro)


@pass_context
def _finalize(context: Context, value: Any) -> str:
    assert isinstance(context, Rendering)
    text = _string(context, value)
    context.meter.write(len(text))
    return text


def _tojson(
    run: Rendering,
    value: Any,
    indent: int | None = None,
    separators: Sequence[str] | None = None,
    *,
    ensure_ascii: bool = False,
    sort_keys: bool = False,
) -> str:
    run.meter.before(value)
    if indent is not None and not 0 <= indent <= 8:  # noqa: PLR2004
        raise ValueError("an indent is between 0 and 8")
    between = (str(separators[0]), str(separators[1])) if separators else None
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=between, sort_keys=sort_keys)
    run.meter.read(text)
    return text


def _refuse(run: Rendering, _: None, said: Any = "") -> None:
    raise ValueError(f"it says: {said}")


def _today(run: Rendering, _: None, form: str) -> str:
    run.meter.step(1)
    return time.strftime(str(form)[:100], time.localtime(run.resolve(_NOW)))


def _range(run: Rendering, _: None, *bounds: int) -> range:
    made = range(*bounds)
    if made and abs(made[-1] - made[0]) // abs(made.step) >= _WIDEST:
        raise NodeFailure("template_limit", f"the template asks for a range of more than {_WIDEST} numbers")
    return made


def _namespace(run: Rendering, _: None, *given: Mapping[str, Any]) -> Namespace:
    return Namespace(*given)


def _items(run: Rendering, value: Any) -> list[Any]:
    if not isinstance(value, Mapping):
        raise TypeError(f"{what(value)} has no items")
    run.meter.read(value)
    return [[key, held] for key, held in value.items()]


def _string(run: Rendering, value: Any) -> str:
    if isinstance(value, Unset):
        return ""
    run.meter.before(value)
    return value if isinstance(value, str) else str(value)


def _rejectattr(run: Rendering, value: Any, attribute: str, test: str = "", *arguments: Any) -> list[Any]:
    return _others(value, run.environment.filters["selectattr"](run, value, attribute, test, *arguments))


def _others(items: Any, kept: list[Any]) -> list[Any]:
    known = set(map(id, kept))
    return [item for item in items if id(item) not in known]


def _dictsort(run: Rendering, value: Any) -> list[Any]:
    return sorted(_items(run, value), key=lambda item: str(item[0]).lower())


def _map(run: Rendering, value: Any, *by: Any, attribute: Any = None, default: Any = ABSENT) -> Any:
    """The filter that pipelines have, and one by the name of another filter."""
    filters = run.environment.filters
    if not by:
        return FILTERS["map"](run, value, attribute=attribute, default=default)
    name, *arguments = by
    if name not in FILTERS and name not in _FILTERS:
        raise ValueError(f"there is no filter `{name}`")
    return [filters[name](run, _read(run, item), *arguments) for item in value]


def _read(run: Rendering, value: Any) -> Any:
    run.meter.read(value)
    return value


def _select(run: Rendering, value: Any, test: str = "", *arguments: Any) -> list[Any]:
    if test and test not in TESTS:
        raise ValueError(f"there is no test `{test}`")
    check = TESTS[test] if test else bool
    pay_tests(run, len(value), arguments)
    return [item for item in value if check(item, *arguments)]


def _reject(run: Rendering, value: Any, test: str = "", *arguments: Any) -> list[Any]:
    return _others(value, _select(run, value, test, *arguments))


def _enter(run: Rendering, _: None, steps: int) -> str:
    run.meter.step(_CALL + steps)
    return ""


_FUNCTIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "raise_exception": _refuse, "strftime_now": _today, "range": _range, "namespace": _namespace,
}  # fmt: skip
_FILTERS: Final[Mapping[str, Callable[..., Any]]] = {
    "tojson": _tojson, "items": _items, "string": _string, "safe": _string, "rejectattr": _rejectattr,
    "dictsort": _dictsort, "map": _map, "select": _select, "reject": _reject,
    "capitalize": lambda run, value: _string(run, value).capitalize(),
    "unique": lambda run, value: list(dict.fromkeys(value)),
    "reverse": lambda run, value: value[::-1],
}  # fmt: skip
_METHODS: Final[Mapping[str, tuple[type, ...]]] = {
    **dict.fromkeys(("split", "rsplit", "splitlines", "strip", "lstrip", "rstrip", "startswith", "endswith"), (str,)),
    **dict.fromkeys(("upper", "lower", "title", "capitalize", "removeprefix", "removesuffix"), (str,)),
    **dict.fromkeys(("find", "isdigit"), (str,)),
    **dict.fromkeys(("keys", "values", "items", "get"), (dict,)),
    **dict.fromkeys(("count", "index"), (str, list, tuple)),
}  # fmt: skip
"""Methods that templates may call, and of what: none makes more than it was given."""
_STRIPS: Final = ("strip", "lstrip", "rstrip")


def _method(name: str) -> Callable[..., Any]:
    def call(run: Rendering, value: Any, *arguments: Any) -> Any:
        if not isinstance(value, _METHODS[name]):
            raise TypeError(f"{'nothing' if isinstance(value, Unset) else what(value)} has no `{name}`")
        if name == "items":
            return _items(run, value)
        _pay(run, name, value, arguments)
        found = getattr(value, name)(*arguments)
        return list(found) if name in ("keys", "values") else _read(run, found)

    return call


def _pay(run: Rendering, name: str, value: Any, arguments: Sequence[Any]) -> None:
    """What a method does beyond going once through its value: each letter or item may be compared with all of these."""
    if not isinstance(value, str):
        run.meter.compare(value)
    elif name in _STRIPS:
        for argument in arguments:
            run.meter.step(cost(value) * cost(argument))


def _replace(run: Rendering, value: Any, *arguments: Any) -> Any:
    return run.environment.filters["replace"](run, value, *arguments)


def _join(run: Rendering, value: Any, items: Any) -> Any:
    return run.environment.filters["join"](run, items, value)


def _environment() -> ChatEnvironment:
    made = ChatEnvironment(
        undefined=Unset, optimized=False, finalize=_finalize, autoescape=False, cache_size=0,
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation],
    )  # fmt: skip
    equip(made)
    made.filters |= {"count": made.filters["length"], "d": made.filters["default"]}
    # A name with a blank cannot be written in a template: calls become these filters, which are metered.
    own = {f"call {name}": function for name, function in _FUNCTIONS.items()}
    own |= {f"method {name}": _method(name) for name in _METHODS}
    own |= {"method replace": _replace, "method join": _join, "enter macro": _enter, **_FILTERS}
    made.filters |= {name: pass_context(function) for name, function in own.items()}
    made.tests |= {"callable": lambda value: isinstance(value, Macro), "sameas": lambda value, other: value is other}
    return made


ENVIRONMENT: Final = _environment()


def _parsed(source: str) -> nodes.Template:
    """The tree with calls as filters; raises TemplateSyntaxError for what no chat template may hold."""
    tree = ENVIRONMENT.parse(source)
    for node in tree.find_all(_REFUSED):
        raise TemplateSyntaxError(f"`{type(node).__name__.lower()}` is not allowed", node.lineno)
    macros = {macro.name for macro in tree.find_all(nodes.Macro)}
    for macro in tree.find_all(nodes.Macro):
        steps = nodes.Const(weight(macro.body), lineno=macro.lineno)
        entered = nodes.Filter(_none(macro), "enter macro", [steps], [], None, None, lineno=macro.lineno)
        macro.body.insert(0, nodes.Output([entered], lineno=macro.lineno))
    for choice in tree.find_all(nodes.CondExpr):
        choice.expr2 = nodes.Const("", lineno=choice.lineno) if choice.expr2 is None else choice.expr2
    _without_calls(tree, macros)
    return tree


def _none(near: nodes.Node) -> nodes.Const:
    return nodes.Const(None, lineno=near.lineno)


def _without_calls(node: nodes.Node, macros: set[str]) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            _without_calls(value, macros)
            setattr(node, name, _called(value, macros))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, nodes.Node):
                    _without_calls(item, macros)
                    value[index] = _called(item, macros)


def _called(node: nodes.Node, macros: set[str]) -> nodes.Node:
    if isinstance(node, nodes.Name) and (node.name, node.ctx) == ("varargs", "load"):
        return nodes.Filter(node, "list", [], [], None, None, lineno=node.lineno)  # a tuple would have a hash
    if not isinstance(node, nodes.Call) or (isinstance(node.node, nodes.Name) and node.node.name in macros):
        return node
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise TemplateSyntaxError("`*` before an argument is not allowed", node.lineno)
    called, on = node.node, _none(node)
    word = ""
    if isinstance(called, nodes.Getattr):
        word, on = f"method {called.attr}", called.node  # type: ignore[assignment]
    elif isinstance(called, nodes.Name):
        word = f"call {called.name}"
    if word not in ENVIRONMENT.filters:
        raise TemplateSyntaxError(f"`{word.partition(' ')[2]}(...)` may not be called", node.lineno)
    arguments, named = node.args, node.kwargs
    if word == "call namespace" and named:  # one mapping: keywords keep the names that templates give
        pairs = [nodes.Pair(nodes.Const(pair.key, lineno=node.lineno), pair.value) for pair in named]
        arguments, named = [*arguments, nodes.Dict(pairs, lineno=node.lineno)], []
    return nodes.Filter(on, word, arguments, named, None, None, lineno=node.lineno)


class ChatTemplate:
    """One model's template. ``names`` are what it may read besides: ``bos_token``, ``eos_token`` and their like."""

    def __init__(self, source: str, names: Mapping[str, Any], *, limits: Limits = _LIMITS) -> None:
        """Raises `NodeFailure` ``bad_template`` for what does not parse or may not be."""
        self._names = dict(names)
        self._limits = limits
        try:
            if len(source) > _LONGEST:
                raise TemplateSyntaxError(f"it is longer than {_LONGEST} characters", 1)
            self._code = generate(_parsed(source), ENVIRONMENT)
        except TemplateError as error:
            raise NodeFailure("bad_template", f"the model's chat template is refused: {error.message}") from None
        except _TOO_DEEP:
            raise NodeFailure("bad_template", "the model's chat template is nested too deeply") from None

    def render(self, request: Chat, wall: float, more: Mapping[str, Any] | None = None) -> str:
        """The prompt, open for the model's answer. ``wall`` is now in seconds since 1970; ``more`` are further names.

        Raises `NodeFailure` where the template fails or refuses, with its own words.
        """
        tools = [tool_data(tool) for tool in request.tools] or None
        messages = _named([message_data(message) for message in request.messages])
        given = {"messages": messages, "tools": tools, "documents": None, "add_generation_prompt": True, _NOW: wall}
        try:
            return run(self._code, {**self._names, **(more or {}), **given}, self._limits)[0]
        except NodeFailure as failure:
            message = f"the model's chat template failed: {failure.message}"
            raise NodeFailure(failure.code, message) from None


def message_data(message: Message) -> dict[str, Any]:
    """A message in the shape that chat templates read; `ProviderFailure` ``capability_mismatch`` for an image."""
    if not all(isinstance(part, Text) for part in message.parts):
        said = "this local model reads text, and a message holds an image"
        raise ProviderFailure("capability_mismatch", said, facts=ProviderFacts("local"), hint="leave `images` out")
    data: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.tool_calls:
        data["tool_calls"] = [
            {
                "type": "function",
                "id": call.id,
                "function": {"name": call.name, "arguments": _arguments(call.arguments)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id:
        data["tool_call_id"] = message.tool_call_id
    if message.thoughts:
        data["reasoning_content"] = "".join(thought.text for thought in message.thoughts)
    return data


def _named(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results of tools with the names of the calls that they answer, which some templates write."""
    names: dict[str, str] = {}
    for message in messages:
        names |= {call["id"]: call["function"]["name"] for call in message.get("tool_calls", ())}
        if message.get("tool_call_id") in names:
            message["name"] = names[message["tool_call_id"]]
    return messages


def tool_data(tool: Tool) -> dict[str, Any]:
    """A tool in the shape that chat templates read."""
    told = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": told}


def _arguments(text: str) -> Any:
    """Arguments as a mapping, which most templates write as JSON again; as text where they are none."""
    try:
        found = loads(text or "{}")
    except (NodeFailure, ValueError):
        return text
    return found if isinstance(found, Mapping) else text
