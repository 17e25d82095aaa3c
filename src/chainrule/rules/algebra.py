"""A thin notation for rules: nodes with ``+ - * / **`` so that tables read like a textbook's."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import scipy.special

from ..expr.build import cast, is_zero, linear, map_, product
from ..expr.nodes import Const, Map, Node, Scalar

__all__ = ["Num", "Operand", "fn", "node_of"]


class Num:
    """One node under arithmetic; all operands have one shape or are Python scalars."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    def __add__(self, other: Operand) -> Num:
        return _sum(self, 1, other)

    def __radd__(self, other: Operand) -> Num:
        return _sum(other, 1, self)

    def __sub__(self, other: Operand) -> Num:
        return _sum(self, -1, other)

    def __rsub__(self, other: Operand) -> Num:
        return _sum(other, -1, self)

    def __neg__(self) -> Num:
        return self * -1

    def __mul__(self, other: Operand) -> Num:
        if isinstance(other, Num) and isinstance(other.node, Const):
            other = other.node.value
        if not isinstance(other, Num):
            if isinstance(self.node, Const):
                return Num(Const(self.node.value * other))
            if isinstance(other, int | float) and other == 1:
                return self
            return Num(product(self.node, coef=other))
        if isinstance(self.node, Const):
            return other * self.node.value
        return Num(product(self.node, other.node))

    __rmul__ = __mul__

    def __truediv__(self, other: Operand) -> Num:
        if not isinstance(other, Num):
            return self * (1 / other)
        return self * fn("reciprocal", other)

    def __rtruediv__(self, other: Scalar) -> Num:
        return fn("reciprocal", self) * other

    def __pow__(self, exponent: Scalar) -> Num:
        return fn("power", self, exponent)


Operand: TypeAlias = Num | Scalar


def node_of(value: Operand) -> Node:
    """The node of an operand; Python scalars become Const."""
    return value.node if isinstance(value, Num) else Const(value)


def _sum(left: Operand, sign: int, right: Operand) -> Num:
    a, b = node_of(left), node_of(right)
    if isinstance(a, Const) and isinstance(b, Const):
        return Num(Const(a.value + sign * b.value))
    if is_zero(a) and not isinstance(b, Const):
        return Num(b) * sign
    if is_zero(b) and not isinstance(a, Const):
        return Num(a)
    return Num(linear((1, a), (sign, b)))


def _folded(op: str, values: list[Scalar]) -> Scalar:
    """A function of Python scalars, computed now."""
    with np.errstate(all="ignore"):
        function = getattr(np, op, None) or getattr(scipy.special, op)
        result: Scalar = function(*(v if isinstance(v, bool) else v * 1.0 for v in values)).item()
    return result


def fn(op: str, *args: Operand, params: tuple[object, ...] = ()) -> Num:
    """An elementwise function by name."""
    nodes = [node_of(a) for a in args]
    if all(isinstance(n, Const) for n in nodes) and not params:
        return Num(Const(_folded(op, [n.value for n in nodes if isinstance(n, Const)])))
    if op == "power" and isinstance(nodes[1], Const):
        exponent = nodes[1].value
        if exponent == 1:
            return Num(nodes[0])
        if exponent == 2:
            return Num(map_("square", nodes[0]))
        if exponent == -1:
            return fn("reciprocal", Num(nodes[0]))
    if op == "reciprocal" and nodes[0].dtype.kind in "biu":
        nodes[0] = cast(nodes[0], np.dtype(float))  # NumPy's integer reciprocal is 0
    if op == "reciprocal" and isinstance(nodes[0], Map) and nodes[0].op == "reciprocal":
        return Num(nodes[0].args[0])
    return Num(map_(op, *nodes, params=params))
