"""Turns a checked tree into code whose every loop, join and comparison is metered.

The tree given is changed: it is used for nothing else after. Imports jinja2.
"""

from typing import Any, Final

from jinja2 import Template, nodes
from jinja2.sandbox import SandboxedEnvironment

from flowllm.text.filters import CHOOSING, MAY_BE_ABSENT
from flowllm.text.sandbox import CODE_NAME, ENVIRONMENT

_NODES_A_STEP: Final = 16
_COUNTS: Final = frozenset({"length", "count"})
_BUFFERED: Final = (nodes.AssignBlock, nodes.FilterBlock, nodes.Macro)


def generate(tree: nodes.Template, environment: SandboxedEnvironment = ENVIRONMENT) -> Template:
    """Code for ``tree``. Raises SyntaxError, MemoryError or RecursionError for what Python cannot nest.

    Another ``environment`` than ours has at least our filters.
    """
    _change(tree)
    code = environment.compile(tree, None, CODE_NAME)
    return Template.from_code(environment, code, {})


def _change(node: nodes.Node) -> None:
    for name, value in node.iter_fields():
        if isinstance(value, nodes.Node):
            _change(value)
            setattr(node, name, _metered(value, node))
        elif isinstance(value, list):
            _change_all(node, value)
    if isinstance(node, (nodes.Filter, nodes.Test)):
        _guard(node)
    if isinstance(node, nodes.For):
        node.iter = _filter("$each", node.iter, [_const(weight(node.body), node)])
    if isinstance(node, _BUFFERED):
        _write_data(node)
    if isinstance(node, nodes.CondExpr) and node.expr2 is None:
        node.expr2 = _const(None, node)


def _change_all(parent: nodes.Node, items: list[Any]) -> None:
    for index, item in enumerate(items):
        if isinstance(item, nodes.Node):
            _change(item)
            items[index] = _metered(item, parent)


def _metered(node: nodes.Node, parent: nodes.Node) -> nodes.Node:
    if isinstance(node, nodes.Concat):
        return _filter("$concat", nodes.List(node.nodes, lineno=node.lineno), [])
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
        cut = node.arg
        bounds = [bound or _const(None, node) for bound in (cut.start, cut.stop, cut.step)]
        return _filter("$slice", node.node, bounds)
    if isinstance(node, nodes.Tuple) and node.ctx == "load":
        # A tuple has a hash, which asks all that it holds, as often as it holds it and as deep as it goes.
        node = nodes.List(node.items, lineno=node.lineno)
    if isinstance(node, nodes.Operand):
        node.expr = _charged(node.expr, node.op)
    elif isinstance(node, nodes.Filter) and node.name in CHOOSING:
        return _filter("$present", node, [_const(node.name, node)])
    elif isinstance(parent, (nodes.List, nodes.Tuple, nodes.Pair)) and _is_read(node):
        return _filter("$need", node, [])
    return node


def _charged(node: nodes.Expr, operator: str) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _filter("$charge", node, [_const(operator, node)])


def _guard(node: nodes.Filter | nodes.Test) -> None:
    """What goes into a filter or test is there and paid for, unless absence is what it asks about."""
    if node.name.startswith("$"):
        return
    asks = node.name in (MAY_BE_ABSENT if isinstance(node, nodes.Test) else {"default"})
    if node.node is not None:
        word = "$maybe" if asks else "$counted" if node.name in _COUNTS else "$used"
        node.node = _filter(word, node.node, [])
    node.args = [_filter("$need", argument, []) if _is_read(argument) else argument for argument in node.args]
    if isinstance(node, nodes.Test):
        node.args = [_charged(argument, node.name) for argument in node.args]
    for named in node.kwargs:
        named.value = _filter("$need", named.value, []) if _is_read(named.value) else named.value


def _is_read(node: nodes.Node) -> bool:
    stored = isinstance(node, nodes.Name) and node.ctx == "store"
    return isinstance(node, nodes.Expr) and not isinstance(node, nodes.Const) and not stored


def _write_data(node: nodes.Node) -> None:
    # Text inside a buffered block never passes the output loop: as a constant it is written
    # through `finalize`, which counts it.
    for output in node.find_all(nodes.Output):
        output.nodes = [_counted(part) for part in output.nodes]


def _counted(part: nodes.Expr) -> nodes.Expr:
    return _const(part.data, part) if isinstance(part, nodes.TemplateData) else part


def weight(body: list[nodes.Node]) -> int:
    """The steps that one pass of a body takes, besides what it asks of filters."""
    size = sum(1 + sum(1 for _ in part.find_all(nodes.Node)) for part in body)
    return 1 + size // _NODES_A_STEP


def _const(value: Any, near: nodes.Node) -> nodes.Const:
    return nodes.Const(value, lineno=near.lineno)


def _filter(name: str, value: nodes.Node, arguments: list[Any]) -> nodes.Filter:
    made = nodes.Filter(value, name, arguments, [], None, None, lineno=value.lineno)
    made.set_environment(ENVIRONMENT)
    for argument in arguments:
        argument.set_environment(ENVIRONMENT)
    return made
