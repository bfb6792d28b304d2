"""Small changes to a module, each of which a test should notice: what `mutants.py` tries."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

SWAPPED: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
}
UNREAD = ("annotation", "returns", "decorator_list")
"""Parts that do not run, or are as good as never wrong."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A changed module: where, what was changed, and its whole source."""

    line: int
    what: str
    source: str


@dataclass(frozen=True, slots=True)
class _Edit:
    """A change that can be made to a tree and taken back."""

    node: ast.AST
    what: str
    do: Callable[[], None]
    undo: Callable[[], None]


def find_mutations(source: str) -> Iterator[Mutation]:
    """Every mutation of a module, in the order of its lines.

    Comparisons, `and`, `or`, arithmetic and numbers are changed; conditions become true or false; statements, `with` and keyword
    arguments are left out; results become None; a handler raises on. Texts stay as they are, as does what only imports or declares.
    """
    tree = ast.parse(source)
    for edit in sorted(_find_edits(tree), key=lambda edit: getattr(edit.node, "lineno", 0)):
        edit.do()
        yield Mutation(getattr(edit.node, "lineno", 0), edit.what, ast.unparse(tree))
        edit.undo()


def _find_edits(node: ast.AST) -> Iterator[_Edit]:
    for name, value in ast.iter_fields(node):
        if name in UNREAD or (_runs_elsewhere(node) and name != "orelse"):
            continue
        if isinstance(value, ast.AST):
            yield from (_set(node, name, what, new) for what, new in _replacements(value))
            yield from _find_edits(value)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, ast.AST):
                    yield from (_set_item(value, index, what, new) for what, new in _replacements(item))
                    yield from _find_edits(item)
    if isinstance(node, ast.Compare | ast.BoolOp | ast.BinOp | ast.AugAssign):
        yield from _swaps(node)
    if isinstance(node, ast.Call):
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is not None:
                yield _drop(node.keywords, index, f"without {keyword.arg}=", node)
    if isinstance(node, ast.comprehension):
        for index, test in enumerate(node.ifs):
            yield _drop(node.ifs, index, f"without if {ast.unparse(test)}", test)


def _runs_elsewhere(node: ast.AST) -> bool:
    """Whether a node is for type checkers, or for another system than those the tests are run on."""
    return isinstance(node, ast.If) and any(word in ast.unparse(node.test) for word in ("TYPE_CHECKING", "'win32'"))


def _replacements(node: ast.AST) -> Iterator[tuple[str, list[ast.AST]]]:
    """What a node may become: a description, and what takes its place."""
    text = ast.unparse(node).partition("\n")[0]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", [ast.Constant(not node.value)]
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield f"{node.value} -> {node.value + 1}", [ast.Constant(node.value + 1)]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"{text} without not", [node.operand]
    elif isinstance(node, ast.IfExp):
        yield f"always {ast.unparse(node.body)}", [node.body]
        yield f"always {ast.unparse(node.orelse)}", [node.orelse]
    elif _is_effect(node):
        yield f"without {text}", [ast.Pass()]
    elif isinstance(node, ast.Return) and not (node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)):
        yield f"None for {text}", [ast.Return(ast.Constant(None))]
    elif isinstance(node, ast.If) and not _runs_elsewhere(node):
        yield f"always {text}", [ast.If(ast.Constant(True), node.body, node.orelse)]
        yield f"never {text}", [ast.If(ast.Constant(False), node.body, node.orelse)]
    elif isinstance(node, ast.With) and all(item.optional_vars is None for item in node.items):
        yield f"without {text}", [*node.body]
    elif isinstance(node, ast.ExceptHandler):
        yield f"{text} raises on", [ast.ExceptHandler(node.type, node.name, [ast.Raise()])]


def _is_effect(node: ast.AST) -> bool:
    """Whether a node is a statement that can be left out without taking a name away."""
    if isinstance(node, ast.Expr):
        return not isinstance(node.value, ast.Constant | ast.Yield | ast.YieldFrom)  # no docstring, and a generator stays one
    if isinstance(node, ast.Assign):
        return any(not isinstance(target, ast.Name) for target in node.targets)
    return isinstance(node, ast.AugAssign | ast.Raise | ast.Delete | ast.Continue | ast.Break)


def _swaps(node: ast.Compare | ast.BoolOp | ast.BinOp | ast.AugAssign) -> Iterator[_Edit]:
    before = ast.unparse(node)
    for index, operator in enumerate(node.ops if isinstance(node, ast.Compare) else [node.op]):
        other = SWAPPED.get(type(operator))
        if other is None:
            continue
        what = f"{type(operator).__name__} -> {other.__name__} in {before}"
        edit = _set_item(node.ops, index, what, [other()]) if isinstance(node, ast.Compare) else _set(node, "op", what, [other()])
        yield _Edit(node, what, edit.do, edit.undo)


def _set(node: ast.AST, name: str, what: str, new: list[ast.AST]) -> _Edit:
    old = getattr(node, name)
    return _Edit(old, what, lambda: setattr(node, name, _located(new[0], old)), lambda: setattr(node, name, old))


def _set_item(items: list[Any], index: int, what: str, new: list[ast.AST]) -> _Edit:
    old = items[index]

    def do() -> None:
        items[index : index + 1] = [_located(each, old) for each in new]

    def undo() -> None:
        items[index : index + len(new)] = [old]

    return _Edit(old, what, do, undo)


def _drop(items: list[Any], index: int, what: str, where: ast.AST) -> _Edit:
    old = items[index]
    return _Edit(where, what, lambda: items.__delitem__(index), lambda: items.insert(index, old))


def _located(new: ast.AST, old: ast.AST) -> ast.AST:
    return new if hasattr(new, "lineno") else ast.fix_missing_locations(ast.copy_location(new, old))
