"""Triangles of matrices: masks under a constraint, factors that are triangular by themselves."""

from __future__ import annotations

from fractions import Fraction

from ..expr.extents import ONE, extent
from .masks import apart, order
from .notation import (
    HalfTriangle,
    Notation,
)
from .quantity import Add, Fun, Prod, Quantity, labels_in

__all__ = ["NoMatrixForm", "half_triangle", "is_triangular", "off_diagonal", "triangle_of"]


class NoMatrixForm(Exception):
    """A quantity that only index notation can write."""


def triangle_of(prod: Prod, out: list[int]) -> tuple[bool, bool, Prod] | None:
    """Whether it is a lower (True) or upper triangle, whether without the diagonal, and of what.

    None without constraint.
    """
    if not prod.constraints:
        return None
    if len(prod.constraints) != 1 or len(out) != 2 or out[0] == out[1]:
        raise NoMatrixForm
    found = order(prod.constraints[0])
    if found is None or {found.low, found.high} != set(out) or found.shift not in (0, 1):
        raise NoMatrixForm
    inside = Prod(prod.shape, prod.coef, prod.extents, prod.factors, prod.out)
    return found.high == out[0], found.shift == 1, inside


def off_diagonal(prod: Prod) -> tuple[int, int, Prod] | None:
    """Two labels of one extent that are nowhere equal, and the product without that; or None."""
    for k, constraint in enumerate(prod.constraints):
        gap = apart(constraint)
        if gap is None or gap.const:
            continue
        a, b = sorted(labels_in(gap))
        if prod.extents[a] == prod.extents[b]:
            rest = prod.constraints[:k] + prod.constraints[k + 1 :]
            return a, b, Prod(prod.shape, prod.coef, prod.extents, prod.factors, prod.out, rest)
    return None


def half_triangle(total: Add) -> Notation | None:
    """The mask 1 below the diagonal, ½ on it."""
    if len(total.parts) != 2 or total.ndim != 2:
        return None
    for (one, mask), (half, eye) in (total.parts, total.parts[::-1]):
        if not (isinstance(mask, Prod) and isinstance(eye, Prod)) or mask.factors or eye.factors:
            continue
        numbers = one * mask.coef == ONE and half * eye.coef == extent(Fraction(-1, 2))
        if numbers and mask.constraints and eye.out == (0, 0) and mask.out == (0, 1):
            found = triangle_of(mask, [0, 1])
            if found is not None and not found[1]:
                return HalfTriangle(total.shape[0], found[0])
            return None
    return None


def is_triangular(q: Quantity, lower: bool) -> bool:
    """Whether a matrix has nothing above (below) its diagonal, by the function it comes from."""
    if isinstance(q, Prod) and len(q.factors) == 1 and not q.constraints:
        inner, subs = q.factors[0]
        return subs == q.out[::-1] and is_triangular(inner, not lower)
    if not isinstance(q, Fun):
        return False
    return q.op == "cholesky" if lower else q.op == "qr" and q.params[-1] == 1
