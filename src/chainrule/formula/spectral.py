"""Derivatives of functions of matrices as they are written: ``L_exp(A, E)``, ``offdiag(1/(…))``.

The derivative of ``eᴬ`` along E stands in the upper right block of the exponential of
``[[A, E], [0, A]]`` (Higham, Functions of Matrices, sec. 10.6); those of eigenvectors hold the
reciprocals ``1/(w_j − w_i)`` for i ≠ j (Giles, Collected Matrix Derivative Results, sec. 3.1).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from ..expr.extents import ONE, Extent
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity

if TYPE_CHECKING:
    from .algebra import Algebra
    from .work import Work

__all__ = ["frechet", "reciprocal_gaps"]


# -- the exponential of a matrix --------------------------------------------------------------
def frechet(algebra: Algebra, work: Work) -> bool:
    """The upper right block of ``exp [[A, E], [0, A]]`` is ``L_exp(A, E)``; of E = c I ``c eᴬ``."""
    for k, (q, subs) in enumerate(work.factors):
        if not isinstance(q, Fun) or q.op != "expm" or q.ndim != 2:
            continue
        n = q.shape[0] * Fraction(1, 2)
        row, column = subs[0], _beyond(subs[1], n)
        if not isinstance(row, int) or column is None:
            continue
        if work.extents[row] != n or work.extents[column] != n:
            continue
        found = _blocks(algebra, q.args[0], n)
        if found is None:
            continue
        a, e = found
        number = _multiple_of_identity(e)
        if number is None:
            made = Fun("expm_frechet", (a, e), a.shape, (0,), whole=True)
            work.factors[k] = (made, (row, column))
        else:
            base, turned = _untransposed(a)
            made = Fun("expm", (base,), a.shape, (0,), whole=True)
            work.factors[k] = (made, (column, row) if turned else (row, column))
            work.coef = work.coef * number
        return True
    return False


def _beyond(index: Index, n: Extent) -> int | None:
    """The label k of an index ``k + n``."""
    if isinstance(index, int) or index.const != n or len(index.parts) != 1:
        return None
    coef, key = index.parts[0]
    return key if coef == ONE and isinstance(key, int) else None


def _blocks(algebra: Algebra, whole: Quantity, n: Extent) -> tuple[Quantity, Quantity] | None:
    """A and E of ``[[A, E], [0, A]]``."""
    if not isinstance(whole, Add):
        return None
    blocks: dict[tuple[bool, bool], list[tuple[Extent, Quantity]]] = {}
    for coef, part in whole.parts:
        if not isinstance(part, Prod) or part.constraints or len(part.out) != 2:
            return None
        out: list[int] = []
        for index in part.out:
            label = index if isinstance(index, int) else _beyond(index, n)
            if label is None or part.extents[label] != n:
                return None
            out.append(label)
        extents = dict(enumerate(part.extents))
        inner = algebra.prod(part.coef, extents, part.factors, out, (), (n, n))
        place = (isinstance(part.out[0], int), isinstance(part.out[1], int))
        blocks.setdefault(place, []).append((coef, inner))
    if blocks.keys() != {(True, True), (True, False), (False, False)}:
        return None
    a, e = (algebra.add(blocks[True, column], (n, n)) for column in (True, False))
    return (a, e) if a is algebra.add(blocks[False, False], (n, n)) else None


def _multiple_of_identity(e: Quantity) -> Extent | None:
    identity = isinstance(e, Prod) and not e.factors and e.out == (0, 0) and not e.constraints
    return e.coef if identity and isinstance(e, Prod) else None


def _untransposed(a: Quantity) -> tuple[Quantity, bool]:
    """Of ``Aᵀ`` the matrix A."""
    if isinstance(a, Prod) and a.out == (0, 1) and a.coef == ONE and len(a.factors) == 1:
        inner, subs = a.factors[0]
        if subs == (1, 0) and not a.constraints:
            return inner, True
    return a, False


# -- eigenvectors -----------------------------------------------------------------------------
def reciprocal_gaps(condition: Quantity, special: Quantity, usual: Quantity) -> Quantity | None:
    """``where(I, 0, 1/where(I, 1, u))`` is ``offdiag(1/u)``."""
    if _multiple_of_identity(condition) != ONE or condition.ndim != 2 or not _is(special, 0):
        return None
    if not isinstance(usual, Pow) or usual.exponent != -1 or not isinstance(usual.base, Fun):
        return None
    inner = usual.base
    if inner.op != "where" or inner.args[0] is not condition or not _is(inner.args[1], 1):
        return None
    return Fun("gaps", (inner.args[2],), condition.shape, (0,), whole=True)


def _is(q: Quantity, number: int) -> bool:
    """Whether a quantity is a number everywhere."""
    if isinstance(q, Add):
        return not q.parts and number == 0
    if isinstance(q, Prod) and not q.factors and q.out == tuple(range(q.ndim)):
        return not q.constraints and q.coef == ONE * number
    return isinstance(q, Num) and q.value == ONE * number
