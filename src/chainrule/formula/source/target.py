"""What an array library calls things: one table of templates a library, and what all share.

A :class:`Target` builds trees for the operations that quantities are lowered to.  Names come from
tables of templates with placeholders ``a``, ``b``, ``c`` for the arguments; what a table lacks
raises :class:`SourceError`, which names the operation and the library.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from ..symbolic import FormulaError
from .syntax import (
    Expr,
    call,
    literal,
    method,
    name,
    names_in,
    sliced,
    subscript,
    template,
    tuple_of,
    written,
)

__all__ = ["SourceError", "Target"]


class SourceError(FormulaError):
    """Code cannot be emitted: names the operation, the library and a way out."""


#: Elementwise functions written with operators: the same in every library.
OPERATORS: Mapping[str, str] = {
    "square": "a**2",
    "reciprocal": "1 / a",
    "negative": "-a",
    "stop": "a",
    "conj": "a",
    "real": "a",
    "divide": "a / b",
    "multiply": "a * b",
    "power": "a**b",
    "float_power": "a**b",
    "remainder": "a % b",
    "floor_divide": "a // b",
    "equal": "a == b",
    "not_equal": "a != b",
    "less": "a < b",
    "less_equal": "a <= b",
    "greater": "a > b",
    "greater_equal": "a >= b",
    "bitwise_and": "a & b",
    "bitwise_or": "a | b",
    "bitwise_xor": "a ^ b",
    "invert": "~a",
    "left_shift": "a << b",
    "right_shift": "a >> b",
}


class Target:
    """One array library; subclasses hold its tables and spellings."""

    name: ClassVar[str]
    module: ClassVar[str]
    axis: ClassVar[str] = "axis"
    keep: ClassVar[str] = "keepdims"
    concatenate: ClassVar[str] = "concatenate"
    imports: ClassVar[Mapping[str, str]]
    elementwise: ClassVar[Mapping[str, str]]
    calls: ClassVar[Mapping[str, str]]
    #: functions that the code defines for itself where the library has none, by name
    helpers: ClassVar[Mapping[str, str]]

    def __init__(self, reference: str) -> None:
        #: the argument whose dtype (and device) new arrays take
        self.reference = name(reference)
        #: the variables that hold sizes
        self.numbers: set[str] = set()

    # -- helpers ------------------------------------------------------------------------------
    def call(self, function: str, *args: Expr, **keywords: Expr) -> Expr:
        return call(f"{self.module}.{function}", *args, **keywords)

    def axes(self, axes: Sequence[int]) -> Expr:
        numbers = [literal(k) for k in axes]
        return numbers[0] if len(numbers) == 1 else tuple_of(numbers)

    def dtype(self) -> Expr:
        return template("a.dtype", a=self.reference)

    def unknown(self, what: str) -> SourceError:
        return SourceError(
            f"the operation {what!r} cannot be written as {self.name} code; "
            "cr.compile(cr.grad(f)) computes the derivative without emitting code"
        )

    # -- elementwise --------------------------------------------------------------------------
    def function(
        self, op: str, args: Sequence[Expr], scalar: Sequence[bool], params: Sequence[object]
    ) -> Expr:
        """An elementwise function; ``scalar`` tells which arguments are Python numbers."""
        pattern = self.elementwise.get(op) or OPERATORS.get(op)
        if pattern is None:
            raise self.unknown(op)
        known = dict(zip("abc", args, strict=False))
        known.update(zip("pq", (_plain(p) for p in params), strict=False))
        return template(pattern, **known)

    def where(self, mask: Expr, usual: Expr, other: Expr) -> Expr:
        return self.call("where", mask, usual, other)

    def masked(self, mask: Expr, value: Expr) -> Expr:
        """The value where the mask holds, else 0."""
        return self.where(mask, value, literal(0))

    def number(self) -> Callable[[Expr], Expr]:
        """Turns a Python number into a scalar of the arguments' dtype."""
        raise NotImplementedError

    def element(self, value: Expr) -> Expr:
        """A Python number as it is put into an array."""
        return value

    def as_float(self, value: Expr) -> Expr:
        return method(value, "astype", self.dtype())

    def as_index(self, value: Expr) -> Expr:
        return method(value, "astype", name("int"))

    # -- arrangement --------------------------------------------------------------------------
    def transposed(self, value: Expr, order: Sequence[int]) -> Expr:
        count = len(order)
        if list(order) == list(range(count)):
            return value
        if count == 2:
            if isinstance(value, ast.Attribute) and value.attr == "T":
                return value.value
            return template("a.T", a=value)
        if list(order) == [*range(count - 2), count - 1, count - 2]:
            return template("a.mT", a=value)
        return self.permuted(value, order)

    def permuted(self, value: Expr, order: Sequence[int]) -> Expr:
        return method(value, "transpose", *(literal(k) for k in order))

    def expanded(self, value: Expr, present: Sequence[bool]) -> Expr:
        """New unit axes where ``present`` is False; leading ones are left to broadcasting."""
        while present and not present[0]:
            present = present[1:]
        if all(present):
            return value
        if present.count(False) == 1:
            kept = self._keeping(value, list(present).index(False), len(present))
            if kept is not None:
                return kept
        tail = len(present)
        while present[tail - 1]:
            tail -= 1
        items = [sliced() if p else literal(None) for p in present]
        if tail < len(present) and len(present) > 2:
            items = items[:tail]
        return subscript(value, items)

    def _keeping(self, value: Expr, axis: int, rank: int) -> Expr | None:
        """``x.sum(axis=k)[:, None]`` as ``x.sum(axis=k, keepdims=True)``, also if scaled."""
        if isinstance(value, ast.UnaryOp):
            inner = self._keeping(value.operand, axis, rank)
            return None if inner is None else ast.UnaryOp(value.op, inner)
        if isinstance(value, ast.BinOp):
            for side, other in (("left", value.right), ("right", value.left)):
                if names_in(other) <= self.numbers and not isinstance(value.op, ast.MatMult):
                    inner = self._keeping(getattr(value, side), axis, rank)
                    if inner is None:
                        continue
                    left, right = (inner, other) if side == "left" else (other, inner)
                    return ast.BinOp(left, value.op, right)
            return None
        if not isinstance(value, ast.Call) or not isinstance(value.func, ast.Attribute):
            return None
        if value.func.attr == "sqrt" and len(value.args) == 1:
            inner = self._keeping(value.args[0], axis, rank)
            return None if inner is None else ast.Call(value.func, [inner], [])
        given = {k.arg: k.value for k in value.keywords}
        reduced = value.func.attr in ("sum", "mean", "max", "min", "amax", "amin")
        if not reduced or value.args or list(given) != [self.axis]:
            return None
        along = written(given[self.axis])
        if along not in (str(axis), str(axis - rank)):
            return None
        keep = ast.keyword(self.keep, literal(True))
        return ast.Call(value.func, [], [*value.keywords, keep])

    def reshaped(self, value: Expr, shape: Sequence[Expr]) -> Expr:
        function = value.func if isinstance(value, ast.Call) else None
        if isinstance(function, ast.Attribute) and function.attr == "reshape":
            return ast.Call(function, list(shape), [])  # of several, the last one counts
        return method(value, "reshape", *shape)

    def broadcast(self, value: Expr, shape: Sequence[Expr]) -> Expr:
        return self.call("broadcast_to", value, tuple_of(shape))

    def flipped(self, value: Expr, axis: int) -> Expr:
        items = [*(sliced() for _ in range(axis)), sliced(None, None, literal(-1))]
        return subscript(value, items)

    def padded(self, value: Expr, widths: Sequence[tuple[Expr, Expr]]) -> Expr:
        pairs = [tuple_of(pair) for pair in widths]
        return self.call("pad", value, pairs[0] if len(pairs) == 1 else tuple_of(pairs))

    def joined(self, values: Sequence[Expr], axis: int) -> Expr:
        keywords = {self.axis: literal(axis)} if axis else {}
        return self.call(self.concatenate, ast.List(list(values), ast.Load()), **keywords)

    def diagonal(self, value: Expr) -> Expr:
        return self.call("diagonal", value)

    def diag(self, value: Expr) -> Expr:
        return self.call("diag", value)

    def trace(self, value: Expr) -> Expr:
        return self.call("trace", value)

    # -- reductions and products --------------------------------------------------------------
    def reduced(self, how: str, value: Expr, axes: Sequence[int] | None, keep: bool) -> Expr:
        """``value.sum(axis=…)`` or ``mean``; over everything where ``axes`` is None."""
        keywords: dict[str, Expr] = {}
        if axes is not None:
            keywords[self.axis] = self.axes(axes)
        if keep:
            keywords[self.keep] = literal(True)
        return method(value, how, **keywords)

    def cumulated(self, value: Expr, axis: int, reverse: bool) -> Expr:
        if reverse:
            value = self.flipped(value, axis)
        total = self.call("cumsum", value, **{self.axis: literal(axis)})
        return self.flipped(total, axis) if reverse else total

    def einsum(self, equation: str, *values: Expr) -> Expr:
        return self.call("einsum", literal(equation), *values)

    def triangle(self, value: Expr, upper: bool, shift: int) -> Expr:
        function = "triu" if upper else "tril"
        return self.call(function, value, *([literal(shift)] if shift else []))

    # -- new arrays ---------------------------------------------------------------------------
    def arange(self, count: Expr, floating: bool = False) -> Expr:
        return self.call("arange", count, **({"dtype": self.dtype()} if floating else {}))

    def eye(self, count: Expr) -> Expr:
        return self.call("eye", count, dtype=self.dtype())

    def full(self, shape: Sequence[Expr], value: Expr) -> Expr:
        if _is(value, 0):
            return self.call("zeros", tuple_of(shape), dtype=self.dtype())
        if _is(value, 1):
            return self.call("ones", tuple_of(shape), dtype=self.dtype())
        return self.call("full", tuple_of(shape), value, dtype=self.dtype())

    def full_like(self, like: Expr, value: Expr, number: bool) -> Expr:
        """An array like another one, filled with a value (a ``number``, or one that broadcasts)."""
        if _is(value, 0):
            return self.call("zeros_like", like)
        if _is(value, 1):
            return self.call("ones_like", like)
        return self.call("full_like", like, value)

    def constant(self, data: Expr, floating: bool) -> Expr:
        """An array from nested lists."""
        return self.call("asarray", data, **({"dtype": self.dtype()} if floating else {}))

    # -- indices ------------------------------------------------------------------------------
    def clipped(self, index: Expr, last: Expr) -> Expr:
        return self.call("clip", index, literal(0), last)

    def scattered(
        self, shape: Sequence[Expr], index: Sequence[Expr], value: Expr
    ) -> tuple[Expr, Callable[[str], Expr] | None]:
        """Zeros to which values are added at indices: an expression, and what follows it.

        The second is a statement on the name that the first is given (None: nothing follows).
        """
        raise NotImplementedError

    # -- functions of whole arrays ------------------------------------------------------------
    def whole(self, op: str, args: Sequence[Expr], params: Sequence[object]) -> Expr:
        """A call; several results come as a tuple."""
        if op == "last_writer" and "last_writer" in self.helpers:
            return call("last_writer", *args)
        pattern = self.calls.get(op)
        if pattern is None:
            raise self.unknown(op)
        known = dict(zip("abc", args, strict=False))
        known.update(zip("pq", (_plain(p) for p in params), strict=False))
        return template(pattern, **known)

    def last_axes(self, function: str, value: Expr, count: int) -> Expr:
        """A reduction over the last axes."""
        axes = self.axes(tuple(range(-count, 0)))
        return method(value, function, **{self.axis: axes})


def _plain(value: object) -> Expr:
    if value is None or isinstance(value, bool | int | float | str):
        return literal(value)
    raise TypeError(f"no literal for the parameter {value!r}")


def _is(value: Expr, number: int) -> bool:
    found = getattr(value, "value", None)
    return type(found) in (int, float) and found == number
