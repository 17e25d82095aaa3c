"""Python syntax trees, built from templates and written as ``ruff format`` would.

Emitted code is a tree of :mod:`ast` nodes until the last step.  :func:`template` parses a pattern
such as ``"np.where(a, b, c)"`` once and puts trees in place of its placeholders; :func:`written`
is the only place where trees become text, and an unknown kind of node is an error there.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator, Sequence

__all__ = [
    "assigned",
    "binary",
    "call",
    "literal",
    "method",
    "name",
    "names_in",
    "negated",
    "replaced",
    "same",
    "sliced",
    "subscript",
    "template",
    "tuple_of",
    "values_in",
    "written",
]

Expr = ast.expr

_BINARY: dict[type[ast.operator], tuple[str, int]] = {
    ast.BitOr: ("|", 7),
    ast.BitXor: ("^", 8),
    ast.BitAnd: ("&", 9),
    ast.Add: ("+", 11),
    ast.Sub: ("-", 11),
    ast.Mult: ("*", 12),
    ast.MatMult: ("@", 12),
    ast.Div: ("/", 12),
    ast.FloorDiv: ("//", 12),
    ast.Mod: ("%", 12),
    ast.Pow: ("**", 14),
}
_COMPARED: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_COMPARE, _UNARY, _ATOM = 6, 13, 16
_OPERATORS = {text: kind for kind, (text, _) in _BINARY.items()}


# -- building -------------------------------------------------------------------------------------
def name(text: str) -> Expr:
    """A variable, or a dotted name."""
    first, *rest = text.split(".")
    found: Expr = ast.Name(first, ast.Load())
    for part in rest:
        found = ast.Attribute(found, part, ast.Load())
    return found


def literal(value: complex | str | bool | None) -> Expr:
    """A constant; negative numbers as negated ones."""
    if isinstance(value, int | float) and not isinstance(value, bool) and value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def binary(left: Expr, operator: str, right: Expr) -> Expr:
    """``left operator right``."""
    return ast.BinOp(left, _OPERATORS[operator](), right)


def negated(inner: Expr) -> Expr:
    """``-inner``."""
    return ast.UnaryOp(ast.USub(), inner)


def call(function: str | Expr, *args: Expr, **keywords: Expr) -> Expr:
    """``function(*args, **keywords)``."""
    head = name(function) if isinstance(function, str) else function
    return ast.Call(head, list(args), [ast.keyword(k, v) for k, v in keywords.items()])


def method(target: Expr, attribute: str, *args: Expr, **keywords: Expr) -> Expr:
    """``target.attribute(*args, **keywords)``."""
    return call(ast.Attribute(target, attribute, ast.Load()), *args, **keywords)


def tuple_of(items: Sequence[Expr]) -> Expr:
    """``(a, b, …)``."""
    return ast.Tuple(list(items), ast.Load())


def subscript(target: Expr, items: Sequence[Expr]) -> Expr:
    """``target[a, b, …]``."""
    index = items[0] if len(items) == 1 else tuple_of(items)
    return ast.Subscript(target, index, ast.Load())


def sliced(start: Expr | None = None, stop: Expr | None = None, step: Expr | None = None) -> Expr:
    """``start:stop:step`` inside a subscript."""
    return ast.Slice(start, stop, step)


class _Fill(ast.NodeTransformer):
    def __init__(self, args: dict[str, Expr]) -> None:
        self.args = args

    def visit_Name(self, node: ast.Name) -> Expr:
        return self.args.get(node.id, node)


def template(text: str, **args: Expr) -> Expr:
    """The expression ``text`` with trees in place of some of its names."""
    tree = ast.parse(text, mode="eval").body
    filled: Expr = _Fill(args).visit(tree)
    return filled


def assigned(target: str, value: Expr) -> ast.stmt:
    """``target = value``."""
    return ast.Assign([ast.Name(target, ast.Store())], value)


# -- looking at trees -----------------------------------------------------------------------------
def names_in(tree: ast.AST) -> set[str]:
    """The names that occur, heads of dotted names among them."""
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def same(left: Expr, right: Expr) -> bool:
    """Whether two expressions are the same text."""
    return left is right or written(left) == written(right)


def values_in(tree: Expr) -> Iterator[Expr]:
    """Parts of an expression that are array values on their own, the outermost first."""
    for part in _operands(tree):
        if isinstance(part, ast.BinOp | ast.Call | ast.Compare):
            yield part
        yield from values_in(part)


def _operands(tree: Expr) -> list[Expr]:
    if isinstance(tree, ast.BinOp):
        return [tree.left, tree.right]
    if isinstance(tree, ast.UnaryOp):
        return [tree.operand]
    if isinstance(tree, ast.Compare):
        return [tree.left, *tree.comparators]
    if isinstance(tree, ast.Subscript):
        return [tree.value, *_computed(tree.slice)]
    if isinstance(tree, ast.Attribute):
        return [tree.value]
    if isinstance(tree, ast.Call):
        bound = isinstance(tree.func, ast.Attribute) and not isinstance(tree.func.value, ast.Name)
        found = [tree.func.value] if bound and isinstance(tree.func, ast.Attribute) else []
        for argument in tree.args:
            listed = isinstance(argument, ast.Tuple | ast.List)
            found += _computed(argument) if listed else [argument]
        return found
    return []


def _computed(items: Expr) -> list[Expr]:
    """Index arrays and pieces among subscripts and lists: what calls something."""
    parts = items.elts if isinstance(items, ast.Tuple | ast.List) else [items]
    return [p for p in parts if any(isinstance(n, ast.Call) for n in ast.walk(p))]


class _Swap(ast.NodeTransformer):
    def __init__(self, old: Expr, new: Expr) -> None:
        self.old, self.new = written(old), new
        self.kind = type(old)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, self.kind) and written(node) == self.old:
            return self.new
        return super().generic_visit(node)


def replaced(tree: Expr, old: Expr, new: Expr) -> Expr:
    """The expression with one part (wherever it occurs) replaced."""
    result: Expr = _Swap(old, new).visit(copy.deepcopy(tree))
    return result


# -- writing --------------------------------------------------------------------------------------
def written(tree: Expr) -> str:
    """The text of an expression, on one line."""
    return _text(tree)[0]


def _within(tree: Expr, level: int) -> str:
    text, binds = _text(tree)
    return text if binds >= level else f"({text})"


def _text(tree: Expr) -> tuple[str, int]:
    if isinstance(tree, ast.Name):
        return tree.id, _ATOM
    if isinstance(tree, ast.Constant):
        return _constant(tree.value), _ATOM
    if isinstance(tree, ast.Attribute):
        return f"{_within(tree.value, _ATOM)}.{tree.attr}", _ATOM
    if isinstance(tree, ast.Call):
        items = [_text(a)[0] for a in tree.args]
        items += [f"{k.arg}={_text(k.value)[0]}" for k in tree.keywords]
        return f"{_within(tree.func, _ATOM)}({', '.join(items)})", _ATOM
    if isinstance(tree, ast.Subscript):
        return f"{_within(tree.value, _ATOM)}[{_index(tree.slice)}]", _ATOM
    if isinstance(tree, ast.Tuple):
        return f"({_listed(tree.elts)}{',' if len(tree.elts) == 1 else ''})", _ATOM
    if isinstance(tree, ast.List):
        return f"[{_listed(tree.elts)}]", _ATOM
    if isinstance(tree, ast.UnaryOp):
        if isinstance(tree.op, ast.Not):
            return f"not {_within(tree.operand, 5)}", 5
        sign = {ast.USub: "-", ast.Invert: "~", ast.UAdd: "+"}[type(tree.op)]
        power = isinstance(tree.operand, ast.BinOp) and isinstance(tree.operand.op, ast.Pow)
        return sign + _within(tree.operand, _ATOM if power else _UNARY), _UNARY  # -(x**2)
    if isinstance(tree, ast.BinOp):
        return _binary(tree)
    if isinstance(tree, ast.Compare):
        operator = _COMPARED[type(tree.ops[0])]
        parts = [_within(tree.left, _COMPARE + 1), _within(tree.comparators[0], _COMPARE + 1)]
        return f"{parts[0]} {operator} {parts[1]}", _COMPARE
    raise TypeError(f"no rule says how to write the syntax node {type(tree).__name__}")


def _binary(tree: ast.BinOp) -> tuple[str, int]:
    operator, binds = _BINARY[type(tree.op)]
    if operator == "**":
        left, right = _within(tree.left, binds + 1), _within(tree.right, _UNARY)
        gap = "" if _simple(tree.left) and _simple(tree.right) else " "
    else:
        left, right, gap = _within(tree.left, binds), _within(tree.right, binds + 1), " "
    return f"{left}{gap}{operator}{gap}{right}", binds


def _simple(tree: Expr) -> bool:
    """What ``ruff format`` puts next to ``**`` and ``:`` without spaces."""
    if isinstance(tree, ast.UnaryOp):
        return isinstance(tree.operand, ast.Constant | ast.Name)
    if isinstance(tree, ast.Attribute):
        return _simple(tree.value) and not isinstance(tree.value, ast.Constant)
    if isinstance(tree, ast.Constant):
        return not isinstance(tree.value, str)
    return isinstance(tree, ast.Name)


def _listed(items: Sequence[Expr]) -> str:
    return ", ".join(_text(item)[0] for item in items)


def _index(tree: Expr) -> str:
    if isinstance(tree, ast.Tuple) and len(tree.elts) > 1:
        return ", ".join(_index(item) for item in tree.elts)
    if not isinstance(tree, ast.Slice):
        return _text(tree)[0]
    bounds = [tree.lower, tree.upper, tree.step]
    texts = ["" if b is None else _text(b)[0] for b in bounds]
    loose = any(b is not None and not _simple(b) for b in bounds)
    start, stop, step = texts
    if not loose:
        return f"{start}:{stop}" + (f":{step}" if step else "")
    text = (f"{start} :" if start else ":") + (f" {stop}" if stop else "")
    return text + (f" : {step}" if step and stop else f": {step}" if step else "")


def _constant(value: object) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if value is Ellipsis:
        return "..."
    if isinstance(value, float) and value.is_integer() and abs(value) >= 1e16:
        return repr(value)
    return repr(value)
