"""What a template says before it runs: what it reads, which names it sets, what it may not do.

One walk over Jinja's tree, made of an allow-list: a kind of node that is not known here is refused.
Importing this module imports jinja2, so it is imported at first need.
"""

import functools
import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Any, Final

from jinja2 import TemplateSyntaxError, nodes

from flowllm.core.nearest import did_you_mean
from flowllm.core.record import record
from flowllm.text.filters import FILTERS, TESTS
from flowllm.text.places import STRIDE, unspotted
from flowllm.text.plain import source_lines
from flowllm.text.sandbox import ENVIRONMENT
from flowllm.text.spots import SpotParser

_DEPTH: Final = 60
_LOOPS: Final = 12
_STEPS: Final = (str, int)
_INCLUDES: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Include: "include", nodes.Import: "import", nodes.FromImport: "from ... import",
    nodes.Extends: "extends", nodes.Macro: "macro",
}  # fmt: skip
_REFUSED: Final[Mapping[type[nodes.Node], str]] = {
    nodes.Block: "`{% block %}` has no meaning here",
    nodes.CallBlock: "`{% call %}` calls, and templates call nothing",
    nodes.Scope: "`{% autoescape %}` has no meaning here, for nothing is escaped",
    nodes.Pow: "`**` is not allowed in templates",
    nodes.NSRef: "`namespace` does not exist here, so a name with a dot cannot be set",
}
_ALLOWED: Final = (
    nodes.Output, nodes.TemplateData, nodes.Const, nodes.Tuple, nodes.List, nodes.Dict, nodes.Pair, nodes.CondExpr,
    nodes.Getitem, nodes.Getattr, nodes.Slice, nodes.Concat, nodes.Compare, nodes.Operand, nodes.Mul, nodes.Div,
    nodes.FloorDiv, nodes.Add, nodes.Sub, nodes.Mod, nodes.Not, nodes.Neg, nodes.Pos, nodes.And, nodes.Or,
    nodes.Filter, nodes.Test, nodes.Keyword,
)  # fmt: skip
_CALL_HINTS: Final = {
    "items": "loop over the mapping: {% for key in data %}{{ key }}: {{ data[key] }}{% endfor %}",
    "keys": "loop over the mapping itself: {% for key in data %}{{ key }}{% endfor %}",
    "values": "loop over the mapping: {% for key in data %}{{ data[key] }}{% endfor %}",
    "get": "write data.key | default('other')",
    "join": "write items | join(', ')",
    "range": "loop over a list; loop.index counts",
    "cycle": "use loop.index0 % 2 and {% if %}",
} | {name: f"write value | {name}" for name in ("lower", "upper", "title", "replace")} | {
    "strip": "write value | trim", "format": "write {{ a }} and {{ b }} where they belong",
}  # fmt: skip

_TAGS: Final = "tags are for, if, set, with, raw and filter"
_PARSING: Final = tuple((re.compile(said), ours, hint) for said, ours, hint in (
    (r"tag 'end(\w+)'.* closed is '(\w+)'", r"`{% end\1 %}` closes no `{% \2 %}`", r"write {% end\2 %} first"),
    (r"tag 'end(\w+)'", r"`{% end\1 %}` closes nothing", r"leave it out, or open it with {% \1 ... %}"),
    (r"unknown tag '(\w+)'", r"Encountered unknown tag '\1'", _TAGS),
    (r"closed is '(\w+)'", r"`{% \1 %}` is not closed", r"close it with {% end\1 %}"),
    (r"end of raw", "`{% raw %}` is not closed", "close it with {% endraw %}"),
    (r"end of comment", "`{#` is not closed", "close it with #}"),
    (r"end of template.* 'end of print", "`{{` is not closed", "close it with }}"),
    (r"end of template.* 'end of statement", "`{%` is not closed", "close it with %}"),
))  # fmt: skip


@record
class Seen:
    """A path that is read: ``line`` counts from 1, ``column`` from 0."""

    root: str
    steps: tuple[str | int, ...]
    line: int
    column: int = 0


@record
class Finding:
    """Something that may not be, at or near a column; ``near`` is the word to look for in the line."""

    code: str
    message: str
    line: int
    hint: str = ""
    near: str = ""
    column: int = 0


@record(frozen=False)
class Walk:
    """The findings of one template so far."""

    seen: dict[Seen, None] = field(default_factory=dict)
    names: dict[tuple[str, int, int], None] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    loops: int = 0
    depth: int = 0

    def refuse(self, message: str, node: nodes.Node, hint: str = "", near: str = "") -> None:
        """Note what may not be."""
        spot = node.lineno or min((child.lineno for child in node.iter_child_nodes() if child.lineno), default=0)
        line, column = unspotted(spot)
        self.findings.append(Finding("bad_template", message, line, hint, near, column))


def parse(source: str, *, expression: bool) -> nodes.Template | Finding:
    """The tree of a template, or of an expression as the one statement that keeps its value."""
    try:
        if expression:
            return _parse_expression(source)
        return SpotParser(source).parse()
    except TemplateSyntaxError as error:
        return _syntax_finding(error, source)
    except RecursionError:
        return Finding("bad_template", "the template is nested too deeply", 1)
    except ValueError:
        return Finding("bad_template", "the template holds a number that is too long", 1)


def _parse_expression(source: str) -> nodes.Template:
    parser = SpotParser(source, "variable")
    value = parser.parse_expression()
    if not parser.stream.eos:
        parser.fail(f"unexpected {parser.stream.current.value!r} after the expression")
    kept = nodes.Filter(value, "$keep", [], [], None, None, lineno=1)
    tree = nodes.Template([nodes.Output([kept], lineno=1)], lineno=1)
    tree.set_environment(ENVIRONMENT)
    return tree


def _syntax_finding(error: TemplateSyntaxError, source: str) -> Finding:
    message, hint = _in_own_words((error.message or "it does not parse").rstrip("."))
    line, column = unspotted(error.lineno)
    if error.lineno < STRIDE:  # found by the lexer, which knows lines alone
        line, column = error.lineno, _first_column(source, error.lineno)
    return Finding("bad_template", f"the template does not parse: {message}", line, hint, "", column)


def _in_own_words(message: str) -> tuple[str, str]:
    """What Jinja says of blocks and braces that are not closed or not known, and a hint."""
    for said, ours, hint in _PARSING:
        if found := said.search(message):
            return found.expand(ours), found.expand(hint)
    return message, ""


def _first_column(source: str, line: int) -> int:
    text = source_lines(source)[line - 1 : line]
    return len(text[0]) - len(text[0].lstrip()) if text else 0


def walk(tree: nodes.Template) -> Walk:
    """Everything that can be said of ``tree``; it is not changed."""
    found = Walk()
    _body(tree.body, set(), found)
    return found


def _body(body: Iterable[nodes.Node], bound: set[str], found: Walk) -> None:
    for node in body:
        _visit(node, bound, found)


def _visit(node: nodes.Node, bound: set[str], found: Walk) -> None:
    found.depth += 1
    if found.depth > _DEPTH:
        if not any(finding.message.startswith("the template is nested") for finding in found.findings):
            found.refuse("the template is nested too deeply", node)
    else:
        visit = _VISITS.get(type(node))
        if visit is not None:
            visit(node, bound, found)
        elif isinstance(node, _ALLOWED):
            _children(node, bound, found)
        else:
            _refuse(node, found)
    found.depth -= 1


def _children(node: nodes.Node, bound: set[str], found: Walk) -> None:
    for child in node.iter_child_nodes():
        _visit(child, bound, found)


def _refuse(node: nodes.Node, found: Walk) -> None:
    word = _INCLUDES.get(type(node))
    if word is not None:
        message = f"`{{% {word} %}}` reaches for another template; a template stands alone"
        hint = "put the text into this template"
        line, column = unspotted(node.lineno)
        found.findings.append(Finding("template_include", message, line, hint, word.split()[0], column))
        return
    message = _REFUSED.get(type(node), f"`{type(node).__name__.lower()}` is not allowed in templates")
    found.refuse(message, node, "write value * value" if isinstance(node, nodes.Pow) else "")


def _name(node: nodes.Name, bound: set[str], found: Walk) -> None:
    _path(node, bound, found)


def _path(node: nodes.Node, bound: set[str], found: Walk) -> None:
    steps: list[str | int] = []
    at = node
    while not isinstance(at, nodes.Name):
        step = _static_step(at)
        if step is None:
            # What was collected so far stands after a step that is not known; forget it.
            steps = []
        else:
            steps.append(step)
        if not isinstance(at, (nodes.Getattr, nodes.Getitem)):
            _visit(at, bound, found)
            return
        if step is None:
            assert isinstance(at, nodes.Getitem)
            _index(at, bound, found)
        at = at.node
    if at.name in ("self", "caller"):
        found.refuse(f"`{at.name}` does not exist here", at, near=at.name)
    elif at.name not in bound:
        found.seen[Seen(at.name, tuple(reversed(steps)), *unspotted(at.lineno))] = None


def _index(node: nodes.Getitem, bound: set[str], found: Walk) -> None:
    if isinstance(node.arg, nodes.Tuple):
        hint = "`[]` belongs into a path without braces; in a template write | map(attribute='name')"
        found.refuse("one index or key stands in brackets", node, hint, "[")
    _visit(node.arg, bound, found)


def _static_step(node: nodes.Node) -> str | int | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    if not isinstance(node, nodes.Getitem) or not isinstance(node.arg, nodes.Const):
        return None
    value = node.arg.value
    return value if isinstance(value, _STEPS) and not isinstance(value, bool) else None


def _call(node: nodes.Call, bound: set[str], found: Walk) -> None:
    called = node.node
    word = called.name if isinstance(called, nodes.Name) else called.attr if isinstance(called, nodes.Getattr) else ""
    message = f"`{word}(...)` is a call; templates have filters only"
    near = f".{word}" if isinstance(called, nodes.Getattr) else word
    found.refuse(message, node, _CALL_HINTS.get(word) or _filter_list(), near)
    if isinstance(called, nodes.Getattr):
        _visit(called.node, bound, found)
    for child in (*node.args, *node.kwargs):
        _visit(child, bound, found)


def _filter_list() -> str:
    return f"filters are {', '.join(sorted(FILTERS))}"


def _filter(node: nodes.Filter, bound: set[str], found: Walk) -> None:
    _known("filter", node, FILTERS, found)
    _arguments(node, bound, found)
    if node.name == "selectattr":
        _check_selectattr(node, found)


def _check_selectattr(node: nodes.Filter, found: Walk) -> None:
    test = node.args[1] if len(node.args) > 1 else None
    if isinstance(test, nodes.Const) and test.value not in TESTS:
        found.refuse(f"there is no test `{test.value}`", node, _suggest("test", str(test.value), TESTS), "selectattr")


def _test(node: nodes.Test, bound: set[str], found: Walk) -> None:
    _known("test", node, TESTS, found)
    _arguments(node, bound, found)


def _arguments(node: nodes.Filter | nodes.Test, bound: set[str], found: Walk) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        found.refuse("`*` before an argument is not allowed in templates", node)
    _children(node, bound, found)


def _known(what: str, node: nodes.Filter | nodes.Test, table: Mapping[str, Any], found: Walk) -> None:
    if node.name.startswith("$"):
        return
    if node.name not in table:
        found.refuse(f"there is no {what} `{node.name}`", node, _suggest(what, node.name, table), node.name)
        return
    words = [word.key for word in node.kwargs]
    if not _fits(what, node.name, len(node.args), tuple(words)):
        takes = ", ".join(_parameters(what, node.name)) or "nothing"
        found.refuse(f"`{node.name}` is given other arguments than it takes", node, f"it takes {takes}", node.name)


@functools.cache
def _fits(what: str, name: str, arguments: int, words: tuple[str, ...]) -> bool:
    signature = inspect.signature((FILTERS if what == "filter" else TESTS)[name])
    before = 2 if what == "filter" else 1
    try:
        signature.bind(*[None] * (before + arguments), **dict.fromkeys(words))
    except TypeError:
        return False
    return True


def _parameters(what: str, name: str) -> list[str]:
    names = list(inspect.signature((FILTERS if what == "filter" else TESTS)[name]).parameters)
    return names[2 if what == "filter" else 1 :]


def _suggest(what: str, name: str, names: Iterable[str]) -> str:
    words = list(names)
    return did_you_mean(name, words, f"{what}s are {', '.join(sorted(word for word in words if word.isalpha()))}")


def _concat(node: nodes.Concat, bound: set[str], found: Walk) -> None:
    if found.loops:
        found.refuse("`~` in a loop is not allowed", node, "write {{ a }}{{ b }} one after the other", "~")
    _children(node, bound, found)


def _for(node: nodes.For, bound: set[str], found: Walk) -> None:
    _visit(node.iter, bound, found)
    inner = bound | _bind(node.target, found) | {"loop"}
    if node.recursive:
        found.refuse("a loop cannot be recursive here", node, near="recursive")
    if found.loops == _LOOPS:
        found.refuse(f"more than {_LOOPS} loops stand in each other", node)
    found.loops += 1
    if node.test is not None:
        _visit(node.test, inner - {"loop"} | (bound & {"loop"}), found)
    _body(node.body, inner, found)
    found.loops -= 1
    _body(node.else_, set(bound), found)


def _bind(target: nodes.Node, found: Walk) -> set[str]:
    if isinstance(target, nodes.NSRef):
        _refuse(target, found)
        return set()
    names = [target] if isinstance(target, nodes.Name) else list(target.find_all(nodes.Name))
    found.names.update(dict.fromkeys((name.name, *unspotted(name.lineno)) for name in names))
    return {name.name for name in names}


def _if(node: nodes.If, bound: set[str], found: Walk) -> None:
    _visit(node.test, bound, found)
    after: list[set[str]] = []
    branches: list[list[Any]] = [node.body, *([branch] for branch in node.elif_), node.else_]
    for branch in branches:
        inside = set(bound)
        _body(branch, inside, found)
        after.append(inside)
    # A name is the template's own after the branches only when every one of them sets it.
    bound |= set.intersection(*after)


def _assign(node: nodes.Assign, bound: set[str], found: Walk) -> None:
    _visit(node.node, bound, found)
    bound |= _bind(node.target, found)


def _assign_block(node: nodes.AssignBlock, bound: set[str], found: Walk) -> None:
    if node.filter is not None:
        _visit(node.filter, bound, found)
    _body(node.body, set(bound), found)
    bound |= _bind(node.target, found)


def _with(node: nodes.With, bound: set[str], found: Walk) -> None:
    for value in node.values:
        _visit(value, bound, found)
    inner = set(bound)
    for target in node.targets:
        inner |= _bind(target, found)
    _body(node.body, inner, found)


def _filter_block(node: nodes.FilterBlock, bound: set[str], found: Walk) -> None:
    _visit(node.filter, bound, found)
    _body(node.body, set(bound), found)


_VISITS: Final[dict[type[nodes.Node], Any]] = {
    nodes.Name: _name, nodes.Getattr: _path, nodes.Getitem: _path, nodes.Call: _call, nodes.Filter: _filter,
    nodes.Test: _test, nodes.Concat: _concat, nodes.For: _for, nodes.If: _if, nodes.Assign: _assign,
    nodes.AssignBlock: _assign_block, nodes.With: _with, nodes.FilterBlock: _filter_block,
}  # fmt: skip
