"""Values in emitted code: an expression, and which axes or labels its dimensions stand for.

Axes that are not there broadcast, and the order may be any: transposes and ``[:, None]`` are
written only where a consumer needs them, so ones are never multiplied in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .syntax import Expr, literal, sliced, subscript
from .target import Target

__all__ = ["Array", "Operand", "aligned"]


@dataclass(frozen=True)
class Array:
    """A quantity's value: dimension k of ``expr`` is axis ``axes[k]`` of the quantity."""

    expr: Expr
    axes: tuple[int, ...]
    #: a Python number (or an expression of sizes), not an array
    scalar: bool = False
    #: axes along which ``expr`` has one element that stands for all
    units: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Operand:
    """A factor's value: dimension k runs over label ``labels[k]`` (None: a unit axis)."""

    expr: Expr
    labels: tuple[int | None, ...]
    boolean: bool = False
    #: the product is divided by it
    below: bool = False
    scalar: bool = False
    #: a triangular mask: (row label, column label, upper, shift)
    triangle: tuple[int, int, bool, int] | None = None
    #: a mask that leaves out a diagonal
    apart: bool = False

    @property
    def known(self) -> set[int]:
        """The labels that it has."""
        return {k for k in self.labels if k is not None}

    def squeezed(self) -> Operand:
        """Without unit axes."""
        if None not in self.labels:
            return self
        items = [literal(0) if k is None else sliced() for k in self.labels]
        while items and self.labels[len(items) - 1] is not None:
            items.pop()
        kept = tuple(k for k in self.labels if k is not None)
        return replace(self, expr=subscript(self.expr, items), labels=kept)


def aligned(target: Target, operand: Operand, order: Sequence[int]) -> Expr:
    """The operand's expression laid out so that it broadcasts against labels in ``order``."""
    wanted = [k for k in order if k in operand.known]
    labels = operand.labels
    if None in labels:
        # a unit axis may stay where it stands for a label of the order that the operand lacks
        tail = list(order[len(order) - len(labels) :]) if len(labels) <= len(order) else []
        fits = tail and all(
            a == b or (a is None and b not in operand.known)
            for a, b in zip(labels, tail, strict=True)
        )
        if fits:
            return operand.expr
        operand = operand.squeezed()
        labels = operand.labels
    expr = operand.expr
    if list(labels) != wanted:
        expr = target.transposed(expr, [labels.index(k) for k in wanted])
    return target.expanded(expr, [k in operand.known for k in order])
