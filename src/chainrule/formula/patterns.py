"""Identities that a person would use: softmax, logsumexp, the logistic function, guards of 0/0.

Each is a small function on its own; :mod:`.algebra` tries them where they can apply.  They hold
wherever both sides are finite, which is what a formula states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from ..expr.extents import ONE, Extent, extent
from .quantity import (
    Add,
    Factor,
    Fun,
    Index,
    Num,
    Pow,
    Prod,
    Quantity,
    Shape,
    Wrap,
    labels_in,
    map_labels,
    zero,
)

if TYPE_CHECKING:
    from .algebra import Algebra
    from .work import Work

__all__ = [
    "PRODUCT_RULES",
    "canonical",
    "is_normalized",
    "simplify_function",
    "simplify_power",
    "simplify_sum",
    "unordered",
]

MINUS = -ONE
HALF = Fraction(1, 2)


def canonical(
    part: Quantity, symmetric: Callable[[Quantity], bool] | None = None, scaled: bool = True
) -> object:
    """A key under which products that differ in the order of factors are equal.

    Subscripts of ``symmetric`` factors have no order; without ``scaled`` the coefficient is left
    out.
    """
    if not isinstance(part, Prod):
        return part
    number: dict[int, Index] = {}
    for sub in part.out:
        for label in labels_in(sub):
            number.setdefault(label, len(number))
    kept = len(number)
    factors = part.factors
    if symmetric is not None:
        factors = tuple(
            (q, unordered(subs, number)) if symmetric(q) else (q, subs) for q, subs in factors
        )

    def order(factor: Factor) -> tuple[int, str]:
        q, subs = factor
        return q.uid, " ".join(str(number[s]) if s in number else "·" for s in subs)

    factors = tuple(sorted(factors, key=order))
    for sub in (*(s for _, subs in factors for s in subs), *part.constraints):
        for label in labels_in(sub):
            number.setdefault(label, len(number))
    if symmetric is not None and len(number) > kept:
        factors = tuple(
            (q, unordered(subs, number)) if symmetric(q) else (q, subs) for q, subs in factors
        )
    return (
        part.shape,
        part.coef if scaled else None,
        tuple(part.extents[label] for label in number),
        tuple((q, tuple(map_labels(s, number) for s in subs)) for q, subs in factors),
        tuple(map_labels(s, number) for s in part.out),
        frozenset(map_labels(s, number) for s in part.constraints),
    )


def unordered(subs: tuple[Index, ...], number: Mapping[int, Index]) -> tuple[Index, ...]:
    """Subscripts of a symmetric factor, the first two by number (those without one last)."""
    a, b, *rest = subs
    if not isinstance(a, int) or not isinstance(b, int):
        return subs
    most = len(number)
    places = [number.get(s, most) for s in (a, b)]
    return (b, a, *rest) if places[1] < places[0] else subs  # type: ignore[operator]


# -- products ---------------------------------------------------------------------------------
def _softmax(algebra: Algebra, work: Work) -> bool:
    """``exp(u) · 1/Σ exp(u)`` is ``softmax(u)``."""
    for i, (q, subs) in enumerate(work.factors):
        if not isinstance(q, Pow) or q.exponent >= 0:
            continue
        total = q.base
        found = _sum_of_exp(total)
        if found is None:
            continue
        e, inner, axis = found
        assert isinstance(total, Prod)
        mapping = dict(zip(total.out, subs, strict=True))
        for j, (other, other_subs) in enumerate(work.factors):
            base, exponent = (
                (other.base, other.exponent) if isinstance(other, Pow) else (other, Fraction(1))
            )
            if base is not e or exponent < 1:
                continue
            expected = [mapping.get(s) for s in inner]
            if any(
                a != b
                for k, (a, b) in enumerate(zip(expected, other_subs, strict=True))
                if k != axis
            ):
                continue
            soft = softmax(algebra, e.args[0], axis)
            kept = [f for k, f in enumerate(work.factors) if k not in (i, j)]
            kept += [(soft, other_subs), (algebra.power(total, q.exponent + 1), subs)]
            kept += [(algebra.power(e, exponent - 1), other_subs)] if exponent != 1 else []
            work.factors = [f for f in kept if not _is_unit(f[0])]
            return True
    return False


def is_normalized(inner: Prod, subs: tuple[Index, ...], work: Work) -> bool:
    """Whether ``exp(u)`` and ``1/Σ exp(u)`` meet once a product is opened: they are a softmax."""
    outer = dict(zip(inner.out, subs, strict=True))
    inside = [(q, tuple(outer.get(s) for s in ss)) for q, ss in inner.factors]
    return _meet(inside, work.factors) or _meet(work.factors, inside)


def _meet(
    ones: Sequence[tuple[Quantity, tuple[Index | None, ...]]],
    others: Sequence[tuple[Quantity, tuple[Index | None, ...]]],
) -> bool:
    """Whether an exponential among ``ones`` has its normalizing divisor among ``others``."""
    exponentials = [(q, ss) for q, ss in ones if isinstance(q, Fun) and q.op == "exp"]
    if not exponentials:
        return False
    for q, divisor in others:
        if not isinstance(q, Pow) or q.exponent >= 0:
            continue
        found = _sum_of_exp(q.base)
        if found is None:
            continue
        e, places, axis = found
        assert isinstance(q.base, Prod)
        under = dict(zip(q.base.out, divisor, strict=True))
        wanted = [under.get(s) for k, s in enumerate(places) if k != axis]
        for other, read in exponentials:
            if other is e and wanted == [s for k, s in enumerate(read) if k != axis]:
                return True
    return False


def _is_unit(q: Quantity) -> bool:
    return isinstance(q, Pow) and q.exponent == 0


def _sum_of_exp(total: Quantity) -> tuple[Fun, tuple[Index, ...], int] | None:
    """For ``Σ_c exp(u)[…c…]``: the exponential, its subscripts and the axis of c."""
    if not isinstance(total, Prod) or len(total.factors) != 1 or total.constraints:
        return None
    e, subs = total.factors[0]
    if total.coef != ONE or not isinstance(e, Fun) or e.op != "exp" or len(total.summed) != 1:
        return None
    (label,) = total.summed
    if len(set(subs)) < len(subs):
        return None
    for axis, sub in enumerate(subs):
        if not isinstance(sub, int) or total.extents[sub] != e.shape[axis]:
            return None
    return e, subs, subs.index(label)


def softmax(algebra: Algebra, u: Quantity, axis: int) -> Quantity:
    """``softmax(u)`` along an axis; what is constant along it drops out of a sum without name."""
    if u not in algebra.named:
        u, _ = _without_constant(algebra, u, axis)
    return Fun("softmax", (u,), u.shape, (axis,), whole=True)


def _without_constant(
    algebra: Algebra, u: Quantity, axis: int
) -> tuple[Quantity, list[tuple[Extent, Quantity]]]:
    """A sum without the parts that do not vary along an axis, and those parts without the axis."""
    if not isinstance(u, Add):
        return u, []
    whole = tuple(range(u.ndim))
    rest_shape = tuple(e for k, e in enumerate(u.shape) if k != axis)
    varying: list[tuple[Extent, Quantity]] = []
    constant: list[tuple[Extent, Quantity]] = []
    for coef, part in u.parts:
        if isinstance(part, Num):
            constant.append((coef, algebra.scaled(ONE, part, rest_shape)))
            continue
        if (
            isinstance(part, Prod)
            and part.out == whole
            and part.extents[: u.ndim] == u.shape
            and not part.constraints
            and not any(axis in labels_in(s) for _, subs in part.factors for s in subs)
        ):
            extents = {k: e for k, e in enumerate(part.extents) if k != axis}
            out = [k for k in whole if k != axis]
            part = algebra.prod(part.coef, extents, part.factors, out, (), rest_shape)
            constant.append((coef, part))
            continue
        varying.append((coef, part))
    if not varying:
        return u, []
    return algebra.add(varying, u.shape), constant


def _sums_to_one(algebra: Algebra, work: Work) -> bool:
    """``Σ_c softmax(u)[…c…]`` is 1."""
    summed = work.summed()
    for i, (q, subs) in enumerate(work.factors):
        if not isinstance(q, Fun) or q.op != "softmax":
            continue
        label = subs[q.params[0]]
        if isinstance(label, int) and label in summed and work.places(label) == [i]:
            if work.extents[label] != q.shape[q.params[0]]:
                continue
            if sum(1 for s in subs if s == label) == 1:
                del work.factors[i], work.extents[label]
                return True
    return False


def _negated(algebra: Algebra, u: Quantity) -> Quantity:
    return algebra.add([(MINUS, u)], u.shape)


def _logistic(algebra: Algebra, work: Work) -> bool:
    """``σ(u)·exp(−u)`` is ``1 − σ(u)``, written ``σ(−u)`` where σ(u) itself does not occur."""
    for i, (q, subs) in enumerate(work.factors):
        s, exponent = (q.base, q.exponent) if isinstance(q, Pow) else (q, Fraction(1))
        if not isinstance(s, Fun) or s.op != "expit" or exponent < 1:
            continue
        opposite = _negated(algebra, s.args[0])
        for j, (e, e_subs) in enumerate(work.factors):
            if isinstance(e, Fun) and e.op == "exp" and e.args[0] is opposite and e_subs == subs:
                if exponent > 1 or s in algebra.named:
                    other = algebra.add([(ONE, Num(ONE)), (MINUS, s)], s.shape)
                else:
                    other = Fun("expit", (opposite,), s.shape)
                work.factors[i] = (algebra.power(s, exponent - 1), subs)
                work.factors[j] = (other, subs)
                work.factors = [f for f in work.factors if not _is_unit(f[0])]
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
        opposite = _negated(algebra, q.args[0])
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


def split(q: Quantity) -> tuple[Quantity, Fraction]:
    return (q.base, q.exponent) if isinstance(q, Pow) else (q, Fraction(1))


def _mapped(
    mapping: Mapping[int, Index], subs: tuple[Index, ...], others: tuple[Index, ...]
) -> dict[int, Index] | None:
    """The mapping of labels extended by one factor's subscripts, None where that contradicts it."""
    trial = dict(mapping)
    for a, b in zip(subs, others, strict=True):
        if isinstance(a, int) and trial.setdefault(a, b) != b:
            return None
    return trial


def _fold(algebra: Algebra, work: Work) -> bool:
    """Factors that make up a product with a name are that name."""
    for product in algebra.folds:
        mapping: dict[int, Index] = {}
        taken: dict[int, Fraction] = {}
        for q, subs in product.factors:
            base, exponent = split(q)
            for i, (other, other_subs) in enumerate(work.factors):
                there, power = split(other)
                if i in taken or there is not base or power / exponent < 1:
                    continue
                turned = (other_subs[1], other_subs[0], *other_subs[2:]) if len(subs) > 1 else ()
                ways = (other_subs, turned) if algebra.symmetric(base) else (other_subs,)
                trial = next(
                    (t for w in ways if (t := _mapped(mapping, subs, w)) is not None), None
                )
                if trial is not None:
                    mapping = trial
                    taken[i] = exponent
                    break
            else:
                break
        if len(taken) < len(product.factors):
            continue
        factors: list[Factor] = []
        for i, (q, subs) in enumerate(work.factors):
            base, power = split(q)
            rest = power - taken.get(i, Fraction(0))
            if rest:
                factors.append((algebra.power(base, rest), subs))
        factors.append((product, tuple(mapping[k] for k in range(len(product.extents)))))
        work.factors = factors
        return True
    return False


def _solution(algebra: Algebra, work: Work) -> bool:
    """``A⁻¹ b`` is the solution of ``A x = b`` where that is known already."""
    summed = work.summed()
    for i, (q, subs) in enumerate(work.factors):
        if not isinstance(q, Fun) or q.op not in ("inv", "inverse") or len(subs) != 2:
            continue
        ways = [(0, 1)] if not algebra.symmetric(q) else [(0, 1), (1, 0)]
        for row, column in ways:
            label = subs[column]
            if not isinstance(label, int) or label not in summed:
                continue
            places = [k for k in work.places(label) if k != i]
            if len(places) != 1 or places[0] < 0 or subs[row] == label:
                continue
            b, b_subs = work.factors[places[0]]
            if b_subs != (label,):
                continue
            solution = Fun("solve", (q.args[0], b), b.shape, (0,), whole=True)
            if solution in algebra.kept:
                del work.extents[label]
                kept = [f for k, f in enumerate(work.factors) if k not in (i, places[0])]
                work.factors = [*kept, (solution, (subs[row],))]
                return True
    return False


def _fold_inside(algebra: Algebra, work: Work) -> bool:
    """``(Σ_i g_i r_i)/s`` is ``Σ_i g_i y_i`` where ``y = r/s`` has a name."""
    for product in algebra.folds:
        for k, (outer, at) in enumerate(product.factors):
            base, exponent = split(outer)
            rest = [f for i, f in enumerate(product.factors) if i != k]
            for i, (q, subs) in enumerate(work.factors):
                there, power = split(q)
                if there is not base or power / exponent < 1:
                    continue
                for j, (inner, inner_subs) in enumerate(work.factors):
                    if not (isinstance(inner, Prod) and inner.summed) or inner in algebra.kept:
                        continue
                    made = _pushed(algebra, product, rest, (at, subs), inner, inner_subs)
                    if made is None:
                        continue
                    work.factors[j] = (made, inner_subs)
                    left = algebra.power(base, power - exponent) if power != exponent else None
                    if left is None:
                        del work.factors[i]
                    else:
                        work.factors[i] = (left, subs)
                    return True
    return False


def _pushed(
    algebra: Algebra,
    product: Prod,
    rest: list[Factor],
    outer: tuple[tuple[Index, ...], tuple[Index, ...]],
    inner: Prod,
    subs: tuple[Index, ...],
) -> Quantity | None:
    """A sum with one more factor inside, where that makes up a product with a name."""
    at, outside = outer
    back = {s: k for k, s in zip(inner.out, subs, strict=True) if isinstance(k, int)}
    if inner.constraints or not all(s in back for s in outside):
        return None
    mapping = _mapped({}, at, tuple(back[s] for s in outside))
    if mapping is None:
        return None
    factors = list(inner.factors)
    for q, q_subs in rest:
        for i, (other, other_subs) in enumerate(factors):
            trial = _mapped(mapping, q_subs, other_subs) if other is q else None
            if trial is not None:
                mapping = trial
                del factors[i]
                break
        else:
            return None
    factors.append((product, tuple(mapping[k] for k in range(len(product.extents)))))
    extents = dict(enumerate(inner.extents))
    return algebra.prod(inner.coef, extents, factors, inner.out, (), inner.shape)


def _one_hot(algebra: Algebra, work: Work) -> bool:
    """``Σ_i [i = t[n]]`` is 1: a look-up lies within the axis that it selects from."""
    summed = work.summed()
    for k, (q, subs) in enumerate(work.factors):
        if not isinstance(q, Prod) or q.summed or q.constraints:
            continue
        loose = [axis for axis, s in enumerate(q.out) if not isinstance(s, int)]
        if len(loose) != 1 or not _is_lookup(q.out[loose[0]], q.shape[loose[0]]):
            continue
        label = subs[loose[0]]
        if not isinstance(label, int) or label not in summed or work.places(label) != [k]:
            continue
        pairs = [(a, s) for a, s in zip(q.out, subs, strict=True) if isinstance(a, int)]
        mapping: dict[int, Index] = dict(pairs)
        if len(mapping) < len(pairs) or len(mapping) < len(q.extents) or label in mapping.values():
            continue
        work.factors[k : k + 1] = [
            (f, tuple(map_labels(s, mapping) for s in inner)) for f, inner in q.factors
        ]
        work.coef = work.coef * q.coef
        del work.extents[label]
        return True
    return False


def _is_lookup(index: Index, extent: Extent) -> bool:
    """Whether an index is one entry of an integer array, within an axis of an extent."""
    if isinstance(index, int) or index.const or len(index.parts) != 1:
        return False
    coef, key = index.parts[0]
    return coef == ONE and isinstance(key, Wrap) and key.kind == "look" and key.n == extent


#: Rewrites of a product under construction, by name; each says whether it applied.
PRODUCT_RULES: dict[str, Callable[[Algebra, Work], bool]] = {
    "softmax": _softmax,
    "probabilities sum to 1": _sums_to_one,
    "logistic": _logistic,
    "logistic derivative": _logistic_pair,
    "named product": _fold,
    "named product in a sum": _fold_inside,
    "known solution": _solution,
    "one entry of a row": _one_hot,
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
                logistic = Fun("expit", (_negated(algebra, e.args[0]),), base.shape)
                return algebra.power(logistic, -exponent)
    return None


# -- functions --------------------------------------------------------------------------------
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
                if _without_constant(algebra, rest, axis)[0] is q.args[0]:
                    return softmax(algebra, q.args[0], axis)
    return None


def _log(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``log(exp u)`` is u, ``log Σ exp(u)`` is ``logsumexp(u)``, ``u − t`` moved outside."""
    (u,) = args
    if isinstance(u, Fun) and u.op == "exp":
        return u.args[0]
    found = _sum_of_exp(u)
    if found is None:
        return None
    e, subs, axis = found
    assert isinstance(u, Prod)
    rest = tuple(s for k, s in enumerate(subs) if k != axis)
    if rest != tuple(s for s in u.out if isinstance(s, int)):
        return None
    reduced = tuple(extent for k, extent in enumerate(e.shape) if k != axis)
    inner, constant = _without_constant(algebra, e.args[0], axis)
    lse = Fun("logsumexp", (inner,), reduced, (axis,), whole=True)
    total = algebra.add([(ONE, lse), *constant], reduced)
    if reduced == shape:
        return total
    extents = {k: u.extents[k] for k in rest if isinstance(k, int)}
    return algebra.prod(ONE, extents, [(total, rest)], u.out, (), shape)  # keepdims


def _where(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``where(a = b, 0, f)`` guards 0/0 or ∞ − ∞: f, where f is a − b or a power of a."""
    condition, special, usual = args
    if isinstance(condition, Add) and not condition.parts:
        return usual
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


def _logical_not(algebra: Algebra, args: tuple[Quantity, ...], shape: Shape) -> Quantity | None:
    """``¬[a = b]``, ``¬([a = b] ∧ isinf(a))``: guards of 0/0, ∞ − ∞, 1 where all is finite."""
    (condition,) = args
    false = isinstance(condition, Add) and not condition.parts
    if false or (isinstance(condition, Fun) and condition.op == "equal"):
        return algebra.scaled(ONE, Num(ONE), shape)
    return None


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
    "negative": lambda algebra, args, shape: _negated(algebra, args[0]),
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
