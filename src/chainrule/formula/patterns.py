"""Identities that a person would use, by name: rewrites of products, sums and powers.

Each is a small function on its own; :mod:`.algebra` tries them where they can apply.  They hold
wherever both sides are finite, which is what a formula states.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from ..expr.extents import ONE, extent
from .elementary import negated
from .known import fold, fold_inside, one_entry, solution
from .normalized import is_unit, softmax_of_product, sums_to_one
from .quantity import Add, Factor, Fun, Num, Pow, Quantity
from .rolls import read_around_the_axis
from .spectral import frechet
from .windows import counted_from_the_window

if TYPE_CHECKING:
    from .algebra import Algebra
    from .work import Work

__all__ = ["PRODUCT_RULES", "simplify_power", "simplify_sum"]

MINUS = -ONE


# -- products ---------------------------------------------------------------------------------
def _logistic(algebra: Algebra, work: Work) -> bool:
    """``σ(u)·exp(−u)`` is ``1 − σ(u)``, written ``σ(−u)`` where σ(u) itself does not occur."""
    for i, (q, subs) in enumerate(work.factors):
        s, exponent = (q.base, q.exponent) if isinstance(q, Pow) else (q, Fraction(1))
        if not isinstance(s, Fun) or s.op != "expit" or exponent < 1:
            continue
        opposite = negated(algebra, s.args[0])
        for j, (e, e_subs) in enumerate(work.factors):
            if isinstance(e, Fun) and e.op == "exp" and e.args[0] is opposite and e_subs == subs:
                if exponent > 1 or s in algebra.named:
                    other = algebra.add([(ONE, Num(ONE)), (MINUS, s)], s.shape)
                else:
                    other = Fun("expit", (opposite,), s.shape)
                work.factors[i] = (algebra.power(s, exponent - 1), subs)
                work.factors[j] = (other, subs)
                work.factors = [f for f in work.factors if not is_unit(f[0])]
                return True
    return False


def _logistic_pair(algebra: Algebra, work: Work) -> bool:
    """``σ(u) σ(−u)`` is ``σ(u) (1 − σ(u))``; of the two, what has a name (or is older) stays."""
    found = [
        (i, q, subs)
        for i, (q, subs) in enumerate(work.factors)
        if isinstance(q, Fun) and q.op == "expit"
    ]
    for i, q, subs in found:
        opposite = negated(algebra, q.args[0])
        for j, other, other_subs in found:
            if j == i or other_subs != subs or other.args[0] is not opposite:
                continue
            stays, k = (
                (q, j)
                if (q not in algebra.named, q.uid) < (other not in algebra.named, other.uid)
                else (other, i)
            )
            work.factors[k] = (algebra.add([(ONE, Num(ONE)), (MINUS, stays)], q.shape), subs)
            return True
    return False


#: Rewrites of a product under construction, by name; each says whether it applied.
PRODUCT_RULES: dict[str, Callable[[Algebra, Work], bool]] = {
    "softmax": softmax_of_product,
    "probabilities sum to 1": sums_to_one,
    "logistic": _logistic,
    "logistic derivative": _logistic_pair,
    "named product": fold,
    "named product in a sum": fold_inside,
    "known solution": solution,
    "one entry of a row": one_entry,
    "derivative of the exponential": frechet,
    "counted from the window": counted_from_the_window,
    "read around the axis": read_around_the_axis,
}


# -- sums -------------------------------------------------------------------------------------
def simplify_sum(algebra: Algebra, total: Quantity) -> Quantity | None:
    """One rewrite of a collected sum, None where it stays."""
    if not isinstance(total, Add) or total in algebra.kept:
        return None
    return _quadratic(algebra, total)


def _quadratic(algebra: Algebra, total: Add) -> Quantity | None:
    """``1 − 3 h + 2 h²`` is ``(1 − h) (1 − 2 h)``: whole reciprocals of roots."""
    if len(total.parts) != 3:
        return None
    powers: dict[Fraction, Fraction] = {}
    base: Quantity | None = None
    for coef, part in total.parts:
        inner, power = (part, Fraction(0)) if isinstance(part, Num) else algebra.split(part)
        value = (coef * part.value if isinstance(part, Num) else coef).number
        if not isinstance(value, Fraction) or (power and base not in (None, inner)):
            return None
        base = inner if power else base
        powers[power] = value
    if base is None or set(powers) != {0, 1, 2}:
        return None
    c, b, a = (powers[Fraction(k)] for k in range(3))
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return None
    root = Fraction(math.isqrt(discriminant.numerator), math.isqrt(discriminant.denominator))
    slopes = [(b + sign * root) / (2 * c) for sign in (1, -1)]
    if root * root != discriminant or any(s.denominator != 1 for s in slopes):
        return None
    labels = tuple(range(total.ndim))
    one = (ONE, Num(ONE))
    factors: list[Factor] = [
        (algebra.add([one, (extent(s), base)], total.shape), labels) for s in slopes
    ]
    return algebra.prod(extent(c), dict(enumerate(total.shape)), factors, labels, (), total.shape)


# -- powers -----------------------------------------------------------------------------------
def simplify_power(algebra: Algebra, base: Quantity, exponent: Fraction) -> Quantity | None:
    """``1/(1 + exp(u))`` is ``σ(−u)``."""
    whole = exponent.denominator == 1 and exponent < 0
    if whole and isinstance(base, Add) and len(base.parts) == 2:
        for (c, one), (d, e) in (base.parts, base.parts[::-1]):
            if (
                c == ONE
                and d == ONE
                and isinstance(one, Num)
                and one.value == ONE
                and isinstance(e, Fun)
                and e.op == "exp"
            ):
                logistic = Fun("expit", (negated(algebra, e.args[0]),), base.shape)
                return algebra.power(logistic, -exponent)
    return None
