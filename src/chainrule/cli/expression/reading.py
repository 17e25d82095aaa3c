"""From text to a function: the syntax tree is checked node by node and turned into closures."""

import ast
import inspect
import io
import re
import tokenize
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chainrule.cli.expression.arithmetic import BINARY, COMPARISONS, UNARY, guarded, refused_size
from chainrule.cli.expression.errors import ExpressionError, suggestion
from chainrule.cli.expression.vocabulary import (
    ALIASES,
    ATTRIBUTES,
    CONSTANTS,
    FUNCTIONS,
    KEYWORDS,
    METHODS,
    MODULES,
)

__all__ = ["parse"]

_LONGEST = 10_000
_NODES = 3_000
_DEEPEST = 150

_ERRORS = (TypeError, ValueError, IndexError, ArithmeticError, MemoryError)

Env = dict[str, Any]
Step = Callable[[Env], Any]

_ALLOWED = (
    "An expression may use names with a --shape, numbers, + - * / // % ** @, comparisons, & | ~, "
    "indices and slices, .T and other array attributes, and NumPy and SciPy functions"
)
_REFUSED: dict[type[ast.AST], str] = {
    ast.Lambda: "lambda is not allowed",
    ast.ListComp: "comprehensions are not allowed; use array operations, such as sum(x**2)",
    ast.SetComp: "comprehensions are not allowed; use array operations",
    ast.DictComp: "comprehensions are not allowed; use array operations",
    ast.GeneratorExp: "comprehensions are not allowed; use array operations, such as sum(x**2)",
    ast.IfExp: "a choice between values is written where(condition, a, b)",
    ast.BoolOp: "'and' and 'or' do not work element by element; write & and |, with parentheses",
    ast.NamedExpr: "write 'h = …;' before the expression in place of :=",
    ast.JoinedStr: "strings are not allowed here",
    ast.Starred: "* before an argument is not allowed",
    ast.Dict: "dictionaries are not allowed",
    ast.Set: "sets are not allowed",
    ast.Await: "await is not allowed",
    ast.Yield: "yield is not allowed",
    ast.YieldFrom: "yield is not allowed",
}


def parse(
    text: str, shapes: Mapping[str, Any], extents: Mapping[str, tuple[str, int]] | None = None
) -> Callable[..., Any]:
    """The function that an expression computes; its parameters are the names it uses.

    `shapes` holds the names that are arrays, `extents` for the names of sizes the array and the
    axis that has it (`sum(x) / N`). Assignments may come first: `h = tanh(x @ w); sum(h)`.

    Raises `ExpressionError`, which points at the first thing that is not allowed.
    """
    text = "\n".join(line.strip() for line in text.strip().splitlines())
    statements = _statements(text)
    reader = _Reader(text, shapes, extents or {})
    steps: list[tuple[str | None, Step]] = []
    for number, statement in enumerate(statements):
        last = number == len(statements) - 1
        if isinstance(statement, ast.Assign):
            (target, *more) = statement.targets
            if more or not isinstance(target, ast.Name):
                raise reader.error(target, "only 'name = expression' can be assigned")
            if target.id in shapes:
                raise reader.error(target, f"{target.id!r} is an argument; use another name")
            steps.append((target.id, reader.read(statement.value)))
            reader.assigned.add(target.id)
        elif isinstance(statement, ast.Expr) and last:
            steps.append((None, reader.read(statement.value)))
        else:
            kind = type(statement).__name__.lower()
            what = "an expression before the last" if kind == "expr" else f"'{kind}'"
            raise reader.error(statement, f"{what} is not allowed. {_ALLOWED}")
    if not steps:
        raise ExpressionError(f"there is no expression. {_ALLOWED}", text, 1, 0, 1)
    unused = [name for name in shapes if name not in reader.used]
    if unused:
        raise ExpressionError(
            f"the expression does not use {unused[0]!r}, which has a --shape"
            + suggestion(unused[0], reader.used),
            text,
            1,
            0,
            len(text),
        )
    return _function(text, [n for n in reader.used if n in shapes], reader.extents, steps)


def _statements(text: str) -> Sequence[ast.stmt]:
    if len(text) > _LONGEST:
        raise ExpressionError(
            f"the expression has {len(text):,} characters, at most {_LONGEST:,} are read; put it "
            "into a file and name it file.py:function",
            text[:60],
            1,
            0,
            60,
        )
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        start = max((error.offset or 1) - 1, 0)
        end = (error.end_offset or 0) - 1 if error.end_lineno == error.lineno else 0
        raise ExpressionError(
            f"this is not an expression in Python's notation: {error.msg}",
            text,
            error.lineno or 1,
            start,
            max(end, start + 1),
        ) from None
    except (RecursionError, MemoryError, ValueError) as error:
        raise ExpressionError(
            f"the expression cannot be read: {error}", text[:60], 1, 0, 1
        ) from None
    _measure(tree, text)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            (line, start), (_, end) = token.start, token.end
            raise ExpressionError("a comment is not allowed here", text, line, start, end)
    return tree.body


def _measure(tree: ast.AST, text: str) -> None:
    """Refuse what is nested so deeply, or has so many parts, that walking it would not end."""
    count = 0
    layer = [tree]
    for depth in range(_DEEPEST + 1):
        count += len(layer)
        layer = [child for node in layer for child in ast.iter_child_nodes(node)]
        if not layer:
            break
        if depth == _DEEPEST or count > _NODES:
            raise ExpressionError.at(
                layer[0],
                text,
                f"the expression is too deep or too long (at most {_DEEPEST} levels and {_NODES:,} "
                "parts); name parts of it, as in 'h = …; …', or put it into a file.py:function",
            )


def _function(
    text: str,
    names: list[str],
    extents: Mapping[str, tuple[str, int]],
    steps: list[tuple[str | None, Step]],
) -> Callable[..., Any]:
    """A function with a signature of its own, which derive and inspect read."""

    def compute(*args: Any, **kwargs: Any) -> Any:
        env: Env = dict(signature.bind(*args, **kwargs).arguments)
        for name, (array, axis) in extents.items():
            env[name] = env[array].shape[axis]
        own: dict[str, Any] = {}
        _result = None
        for target, step in steps:
            _result = step(env)
            if target is not None:
                own[target] = env[target] = _result
        compute.named_values = own  # type: ignore[attr-defined]
        return _result

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    compute.__signature__ = signature  # type: ignore[attr-defined]
    compute.__name__ = compute.__qualname__ = " ".join(text.split())
    return compute


@dataclass
class _Reader:
    """Turns nodes into steps; whatever it does not know it refuses."""

    text: str
    shapes: Mapping[str, Any]
    known_extents: Mapping[str, tuple[str, int]]
    used: dict[str, None] = field(default_factory=dict)
    extents: dict[str, tuple[str, int]] = field(default_factory=dict)
    assigned: set[str] = field(default_factory=set)

    def error(self, node: ast.AST, message: str) -> ExpressionError:
        return ExpressionError.at(node, self.text, message)

    def read(self, node: ast.expr, argument: bool = False) -> Step:
        """One node; `argument` says that strings, None and tuples may stand here."""
        if isinstance(node, ast.Constant):
            return self._constant(node, argument)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.BinOp):
            return self._binary(node)
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, ast.Tuple | ast.List):
            if not argument:
                raise self.error(node, "a list or tuple can only be an argument; write stack([…])")
            items = [self.read(item, True) for item in node.elts]
            make = tuple if isinstance(node, ast.Tuple) else list
            return lambda env: make(item(env) for item in items)
        what = _REFUSED.get(type(node), f"{type(node).__name__} is not allowed")
        raise self.error(node, f"{what}. {_ALLOWED}")

    # -- leaves -------------------------------------------------------------------------------
    def _constant(self, node: ast.Constant, argument: bool) -> Step:
        value = node.value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(value, complex):
            raise self.error(node, "complex numbers have no formulas here; use real ones")
        if not number and not (argument and (value is None or isinstance(value, bool | str))):
            raise self.error(node, f"{value!r} cannot stand here. {_ALLOWED}")
        if isinstance(value, int) and abs(value) > 10**15:
            raise self.error(node, "this whole number is too large; write it as 1e16")
        return lambda env: value

    def _name(self, node: ast.Name) -> Step:
        name = node.id
        if name in self.shapes or name in self.assigned:
            self.used.setdefault(name)
            return lambda env: env[name]
        if name in self.known_extents:
            self.extents[name] = self.known_extents[name]
            self.used.setdefault(self.known_extents[name][0])
            return lambda env: env[name]
        if name in CONSTANTS:
            value = CONSTANTS[name]
            return lambda env: value
        if name in FUNCTIONS:
            raise self.error(node, f"{name!r} is a function: write {name}(…)")
        hint = suggestion(name, [*self.shapes, *self.assigned, *self.known_extents])
        raise self.error(
            node, f"the shape of {name!r} is not given{hint or f': add --shape {name}=N,D'}"
        )

    # -- operators ----------------------------------------------------------------------------
    def _binary(self, node: ast.BinOp) -> Step:
        operation = BINARY.get(type(node.op))
        if operation is None:
            raise self.error(node, f"this operator is not allowed. {_ALLOWED}")
        if isinstance(node.op, ast.BitXor):
            raise self.error(node, "^ is not a power here; write ** (or != for exclusive or)")
        left, right = self.read(node.left), self.read(node.right)
        return self._located(node, lambda env: operation(left(env), right(env)))

    def _unary(self, node: ast.UnaryOp) -> Step:
        operation = UNARY.get(type(node.op))
        if operation is None:
            raise self.error(node, "'not' does not work element by element; write ~")
        inner = self.read(node.operand)
        return self._located(node, lambda env: operation(inner(env)))

    def _comparison(self, node: ast.Compare) -> Step:
        if len(node.ops) > 1:
            raise self.error(node, "write a < b < c as (a < b) & (b < c)")
        operation = COMPARISONS.get(type(node.ops[0]))
        if operation is None:
            raise self.error(node, f"'in' and 'is' are not allowed. {_ALLOWED}")
        left, right = self.read(node.left), self.read(node.comparators[0])
        return self._located(node, lambda env: operation(left(env), right(env)))

    # -- calls and attributes -----------------------------------------------------------------
    def _call(self, node: ast.Call) -> Step:
        name, owner, function = self._function(node.func)
        args = [self.read(arg, True) for arg in node.args]
        keywords: dict[str, Step] = {}
        for keyword in node.keywords:
            if keyword.arg is None:
                raise self.error(keyword.value, "** before arguments is not allowed")
            if keyword.arg not in KEYWORDS:
                hint = suggestion(keyword.arg, KEYWORDS)
                raise self.error(keyword, f"the keyword {keyword.arg!r} is not allowed{hint}")
            keywords[keyword.arg] = self.read(keyword.value, True)

        def run(env: Env) -> Any:
            given = [arg(env) for arg in args]
            named = {key: step(env) for key, step in keywords.items()}
            if owner is None:
                refused_size(name, given, named)
                return function(*given, **named)
            array = guarded(owner(env))
            refused_size(name, [array, *given], named)
            return getattr(array, name)(*given, **named)

        return self._located(node, run)

    def _function(self, node: ast.expr) -> tuple[str, Step | None, Callable[..., Any]]:
        """The name of what is called; the array whose method it is, or else the function."""
        if isinstance(node, ast.Name):
            if node.id in FUNCTIONS:
                return node.id, None, FUNCTIONS[node.id]
            if node.id in self.shapes or node.id in self.assigned:
                raise self.error(node, f"{node.id!r} is an array, not a function; * multiplies")
            alias = ALIASES.get(node.id)
            hint = f"; did you mean {alias!r}?" if alias else suggestion(node.id, FUNCTIONS)
            raise self.error(node, f"unknown function {node.id!r}{hint}")
        if not isinstance(node, ast.Attribute):
            raise self.error(node, f"this cannot be called. {_ALLOWED}")
        module = _dotted(node.value)
        if module is not None and module.split(".")[0] not in {*self.shapes, *self.assigned}:
            functions = MODULES.get(module)
            if functions is None:
                if module in FUNCTIONS or "." in module:
                    raise self.error(node.value, f"{module!r} is not a module that may be used")
            elif node.attr in functions:
                return node.attr, None, functions[node.attr]
            else:
                alias = ALIASES.get(node.attr)
                hint = f"; did you mean {alias!r}?" if alias else suggestion(node.attr, functions)
                raise self.error(node, f"{module}.{node.attr} is not allowed{hint}")
        array = self.read(node.value)
        if node.attr not in METHODS:
            hint = suggestion(node.attr, METHODS)
            more = "" if hint else f"; arrays have {', '.join(sorted(METHODS))}"
            raise self.error(node, f"the method {node.attr!r} is not allowed{hint}{more}")
        return node.attr, array, getattr

    def _attribute(self, node: ast.Attribute) -> Step:
        module = _dotted(node)
        if module is not None and module.rpartition(".")[0] in MODULES:
            if node.attr in CONSTANTS:
                value = CONSTANTS[node.attr]
                return lambda env: value
            raise self.error(node, f"{module} is a function: write {module}(…)")
        inner, name = self.read(node.value), node.attr
        if node.attr not in ATTRIBUTES:
            if node.attr in METHODS:
                raise self.error(node, f".{node.attr} is a method: write .{node.attr}()")
            hint = suggestion(node.attr, ATTRIBUTES | METHODS)
            more = "" if hint else f"; allowed are {', '.join(sorted(ATTRIBUTES))} and methods"
            raise self.error(node, f"the attribute {node.attr!r} is not allowed{hint}{more}")
        return self._located(node, lambda env: getattr(guarded(inner(env)), name))

    def _subscript(self, node: ast.Subscript) -> Step:
        whole = self.read(node.value)
        items = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        steps = [self._index(item) for item in items]
        single = not isinstance(node.slice, ast.Tuple)

        def run(env: Env) -> Any:
            index = tuple(step(env) for step in steps)
            return whole(env)[index[0] if single else index]

        return self._located(node, run)

    def _index(self, node: ast.expr) -> Step:
        if isinstance(node, ast.Slice):
            parts = [
                (lambda env: None) if part is None else self.read(part)
                for part in (node.lower, node.upper, node.step)
            ]
            return lambda env: slice(*(part(env) for part in parts))
        if isinstance(node, ast.Constant) and (node.value is None or node.value is Ellipsis):
            value = node.value
            return lambda env: value
        return self.read(node, argument=True)

    # -- errors while computing ---------------------------------------------------------------
    def _located(self, node: ast.AST, step: Step) -> Step:
        """The step; what NumPy says of shapes and values is shown at this place."""

        def run(env: Env) -> Any:
            try:
                return guarded(step(env))
            except ExpressionError:
                raise
            except _ERRORS as error:
                raise self.error(node, self._named(_plain(error), env)) from error

        return run

    def _named(self, message: str, env: Env) -> str:
        """The message with the names of sizes in place of the numbers that stand for them."""
        for name, (array, axis) in self.known_extents.items():
            if array in env:
                message = re.sub(rf"\b{env[array].shape[axis]}\b(?!-)", name, message)
        return message


def _plain(error: Exception) -> str:
    """NumPy's message, or ours without the line of Python it names (there is none)."""
    lines = [line for line in str(error).splitlines() if not line.startswith("  at ")]
    return "; ".join(line.strip() for line in lines) or type(error).__name__


def _dotted(node: ast.expr) -> str | None:
    """`scipy.special` where a node is a path of names."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])
