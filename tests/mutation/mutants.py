"""Small faults, one at a time: a module's text to every mutant of it, drawn by a seed.

Left alone: annotations, decorators, docstrings, ``__slots__``, and what only type checkers read.
Mutants are named without line numbers, so that a reason written for one outlives edits around it.
"""

import ast
import copy
import random
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And, ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip
WORD = re.compile(r"[a-z][a-z_]*")
SHOWN = 100
SKIPPED = {"annotation", "returns", "decorator_list", "type_params"}
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the file, where and what it is, and the whole text with it."""

    path: str
    place: str
    fault: str
    text: str

    @property
    def key(self) -> str:
        """Names it, whatever stands around it."""
        return f"{self.path} {self.place}: {self.fault}"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a node hangs in the tree: its parent's field, and the place in it where that is a list."""

    parent: ast.AST
    field: str
    index: int | None
    place: str

    def put(self, node: ast.AST) -> None:
        """Hang another node there."""
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants(path: str, text: str, wanted: Collection[int] | None = None) -> Iterator[Mutant]:
    """The mutants of a module; of all of them, in the order of the text, those with these numbers."""
    tree = ast.parse(text)
    for number, (site, node, fault, changed) in enumerate(_all(tree)):
        if wanted is None or number in wanted:
            site.put(changed)
            yield Mutant(path, site.place, fault, ast.unparse(ast.fix_missing_locations(tree)))
            site.put(node)


def draw(texts: Mapping[str, str], seed: int, count: int) -> list[Mutant]:
    """``count`` mutants of the files (their texts by path), the same ones for the same seed and texts."""
    every = [(path, number) for path, text in texts.items() for number, _ in enumerate(_all(ast.parse(text)))]
    wanted: dict[str, set[int]] = {}
    for path, number in random.Random(seed).sample(every, min(count, len(every))):
        wanted.setdefault(path, set()).add(number)
    return [mutant for path in sorted(wanted) for mutant in mutants(path, texts[path], wanted[path])]


def _all(tree: ast.AST) -> Iterator[tuple[Site, ast.AST, str, ast.AST]]:
    for site, node in sites(tree, ""):
        for fault, changed in faults(node):
            yield site, node, fault, changed


def sites(node: ast.AST, place: str) -> Iterator[tuple[Site, ast.AST]]:
    """Every node below one that may be changed, with its site."""
    place = _place(node, place)
    for field, value in ast.iter_fields(node):
        if field in SKIPPED or (isinstance(node, ast.AnnAssign) and field == "target"):
            continue
        listed = isinstance(value, list)
        for index, child in enumerate(value if listed else [value]):
            if isinstance(child, ast.AST) and not is_left_alone(child):
                yield Site(node, field, index if listed else None, _place(child, place)), child
                yield from sites(child, place)


def _place(node: ast.AST, around: str) -> str:
    return f"{around}.{node.name}".removeprefix(".") if isinstance(node, Function | ast.ClassDef) else around


def is_left_alone(node: ast.AST) -> bool:
    """Whether nothing at or below a node is worth a mutant."""
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Import() | ast.ImportFrom() | ast.JoinedStr():
            return True
        case ast.Assign(targets=[ast.Name(id="__slots__" | "__all__")]):
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Call(func=ast.Name(id="TypeVar" | "cast")):
            return True
    return False


def faults(node: Any) -> Iterator[tuple[str, ast.AST]]:
    """What can be wrong at a node: said in words, and what stands there then."""
    match node:
        case ast.If() | ast.While() | ast.IfExp():
            fault, _ = _becomes(node.test, ast.UnaryOp(ast.Not(), node.test))
            yield fault, _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.Continue() | ast.Break() | ast.AugAssign():
            yield f"`{_short(node)}` removed", ast.Pass()
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            yield from _early(node)
        case ast.expr():
            changed = _other(node)
            if changed is not None:
                yield _becomes(node, changed)


def _other(node: ast.expr) -> ast.AST | None:
    """What could stand for an expression by mistake."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in SWAPS:
            return _with(node, ops=[SWAPS[type(op)]()])
        case ast.BoolOp() | ast.BinOp(op=ast.Add() | ast.Sub()):
            return _with(node, op=SWAPS[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            return node.operand
        case ast.Constant(value=bool()):
            return ast.Constant(not node.value)
        case ast.Constant(value=int() | float()):
            return ast.Constant(node.value + 1)
        case ast.Constant(value=str()) if WORD.fullmatch(node.value):
            return ast.Constant(node.value + "_")
        case ast.Call(args=[first, second, *rest]) if not isinstance(first, ast.Starred):
            return _with(node, args=[second, first, *rest]) if ast.dump(first) != ast.dump(second) else None
    return None


def _early(function: Function) -> Iterator[tuple[str, ast.AST]]:
    """A return behind each statement of the body but the last two."""
    for index, statement in enumerate(function.body[:-2]):
        if not is_left_alone(statement):
            body = [*function.body[: index + 1], ast.Return(None), *function.body[index + 1 :]]
            yield f"returns behind `{_short(statement)}`", _with(function, body=body)


def _becomes(node: ast.AST, changed: ast.AST) -> tuple[str, ast.AST]:
    return f"`{_short(node)}` becomes `{_short(ast.fix_missing_locations(changed))}`", changed


def _with(node: ast.AST, **parts: Any) -> ast.AST:
    changed = copy.copy(node)
    for name, part in parts.items():
        setattr(changed, name, part)
    return changed


def _short(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
