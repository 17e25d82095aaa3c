"""Simpler forms of elementwise functions: ``exp(log x)``, ``where`` as a guard of 0/0, ``log1p``.

They hold wherever both sides are finite, which is what a formula states.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from ..expr.extents import ONE
from .normalized import softmax, sum_of_exp, without_constant
from .quantity import Add, Factor, Fun, Num, Prod, Quantity, Shape, Sym, zero
from .spectral import reciprocal_gaps

if TYPE_CHECKING:
    from .algebra import Algebra

__all__ = ["negated", "simplify_function"]

MINUS = -ONE
HALF = Fraction(1, 2)


def negated(algebra: Algebra, u: Quantity) -> Quantity:
    """``−u``."""
    return algebra.add([(MINUS, u)], u.shape)


Rule = Callable[["Algebra", tuple[Quantity, ...], Shape], "Quantity | None"]


def _first(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity:
    return args[0]


def _product(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity:
    labels = tuple(range(len(shape)))
    factors: list[Factor] = [(a, labels if a.shape else ()) for a in args]
    return algebra.prod(ONE, dict(enumerate(shape)), factors, labels, (), shape)


def _quotient(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity:
    return _product(algebra, (args[0], algebra.power(args[1], Fraction(-1))), shape)


def _powered(exponent: Fraction) -> Rule:
    return lambda algebra, args, shape: algebra.power(args[0], exponent)


def _power(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    base, exponent = args
    if isinstance(exponent, Num):
        number = exponent.value.number
        if isinstance(number, Fraction):
            return algebra.power(base, number)
    return None


def _exp(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``exp(log x)`` is x, ``exp(u − logsumexp(u))`` is ``softmax(u)``."""
    (u,) = args
    if isinstance(u, Fun) and u.op == "log":
        return u.args[0]
    if isinstance(u, Add):
        for coef, part in u.parts:
            if coef != MINUS or not isinstance(part, Prod) or len(part.factors) != 1:
                continue
            q, subs = part.factors[0]
            if isinstance(q, Fun) and q.op == "logsumexp" and part.coef == ONE:
                axis = q.params[0]
                if part.out != tuple(range(u.ndim)) or part.extents != u.shape or axis in subs:
                    continue
                rest = algebra.add([p for p in u.parts if p[1] is not part], shape)
                if without_constant(algebra, rest, axis)[0] is q.args[0]:
                    return softmax(algebra, q.args[0], axis)
    return None


def _log(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``log(exp u)`` is u, ``log Σ exp(u)`` is ``logsumexp(u)``, ``u − t`` moved outside."""
    (u,) = args
    if isinstance(u, Fun) and u.op == "exp":
        return u.args[0]
    found = sum_of_exp(u)
    if found is None:
        return None
    e, subs, axis = found
    assert isinstance(u, Prod)
    rest = tuple(s for k, s in enumerate(subs) if k != axis)
    if rest != tuple(s for s in u.out if isinstance(s, int)):
        return None
    reduced = tuple(extent for k, extent in enumerate(e.shape) if k != axis)
    inner, constant = without_constant(algebra, e.args[0], axis)
    lse = Fun("logsumexp", (inner,), reduced, (axis,), whole=True)
    total = algebra.add([(ONE, lse), *constant], reduced)
    if reduced == shape:
        return total
    extents = {k: u.extents[k] for k in rest if isinstance(k, int)}
    return algebra.prod(ONE, extents, [(total, rest)], u.out, (), shape)  # keepdims


def _where(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``where(a = b, 0, f)`` guards 0/0 or ∞ − ∞: f, where f is a − b or a power of a."""
    condition, special, usual = args
    gaps = reciprocal_gaps(condition, special, usual)
    if gaps is not None:
        return gaps
    if isinstance(condition, Add) and not condition.parts:
        return usual
    if isinstance(condition, Num) and not shape:
        return special if condition.value else usual
    if isinstance(condition, Fun) and condition.op == "logical_and":  # a = b, both infinite
        condition = next(
            (c for c in condition.args if isinstance(c, Fun) and c.op == "equal"), condition
        )
    if not isinstance(condition, Fun) or condition.op != "equal":
        return None
    a, b = condition.args
    against_zero = isinstance(b, Num) and not b.value
    if against_zero and any(usual is algebra.power(a, Fraction(k)) for k in (1, -1, -2)):
        return usual
    difference = algebra.add([(ONE, a), (MINUS, b)], shape)
    if isinstance(special, Num) and not special.value and usual is difference:
        return usual
    return None


_OPPOSITES = {
    "equal": "not_equal",
    "not_equal": "equal",
    "less": "greater_equal",
    "less_equal": "greater",
    "greater": "less_equal",
    "greater_equal": "less",
}


def _logical_not(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``¬[a ≤ b]`` is ``[a > b]``, ``¬[a = b]`` 1 where it guards 0/0 or ∞ − ∞, else ``[a ≠ b]``.

    A comparison of an argument is the user's own (``y == 1`` of labels), no guard.
    """
    (condition,) = args
    if isinstance(condition, Num):
        return zero(shape) if condition.value else algebra.scaled(ONE, Num(ONE), shape)
    if isinstance(condition, Add) and not condition.parts:
        return algebra.scaled(ONE, Num(ONE), shape)
    if not isinstance(condition, Fun) or condition.op not in _OPPOSITES:
        return None
    if condition.op == "equal":
        a, b = condition.args
        number = isinstance(b, Num) and bool(b.value)
        if not number and not isinstance(a, Sym) and not isinstance(b, Sym):
            return algebra.scaled(ONE, Num(ONE), shape)
    return algebra.fun(_OPPOSITES[condition.op], condition.args, shape)


def _logical_and(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """What is false on one side is false."""
    if any(isinstance(a, Add) and not a.parts for a in args):
        return zero(shape)
    return None


def _never(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity:
    """``isinf``, ``isnan``: formulas speak of finite values."""
    return zero(shape)


def _logaddexp(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``logaddexp(0, z)`` is ``log(1 + exp z)``."""
    for one, other in (args, args[::-1]):
        if isinstance(one, Num) and not one.value:
            return algebra.fun("log1p", (algebra.fun("exp", (other,), shape),), shape)
    return None


def _log1p(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    total = algebra.add([(ONE, Num(ONE)), (ONE, args[0])], shape)
    return algebra.fun("log", (total,), shape)


def _expm1(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    e = algebra.fun("exp", args, shape)
    return algebra.add([(ONE, e), (MINUS, Num(ONE))], shape)


RULES: dict[str, Rule] = {
    "stop": _first,
    "astype": _first,
    "real": _first,
    "conj": _first,
    "negative": lambda algebra, args, shape: negated(algebra, args[0]),
    "multiply": _product,
    "divide": _quotient,
    "square": _powered(Fraction(2)),
    "reciprocal": _powered(Fraction(-1)),
    "sqrt": _powered(HALF),
    "root": _powered(HALF),
    "cbrt": _powered(Fraction(1, 3)),
    "power": _power,
    "float_power": _power,
    "exp": _exp,
    "log": _log,
    "log1p": _log1p,
    "expm1": _expm1,
    "where": _where,
    "logical_not": _logical_not,
    "logical_and": _logical_and,
    "isinf": _never,
    "isnan": _never,
    "logaddexp": _logaddexp,
}


def simplify_function(
    algebra: Algebra,
    op: str,
    args: tuple[Quantity, ...],
    shape: Shape,
    params: tuple[object, ...],
) -> Quantity | None:
    """The simpler form of an elementwise function, None where it stays."""
    rule = RULES.get(op)
    return rule(algebra, args, shape) if rule is not None else None
