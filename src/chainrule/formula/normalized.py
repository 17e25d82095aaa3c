"""Sums of exponentials: softmax, logsumexp, and what drops out of them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from ..expr.extents import ONE, Extent
from .quantity import Add, Fun, Index, Num, Pow, Prod, Quantity, labels_in

if TYPE_CHECKING:
    from .algebra import Algebra
    from .work import Work

__all__ = [
    "is_normalized",
    "is_unit",
    "softmax",
    "softmax_of_product",
    "sum_of_exp",
    "sums_to_one",
    "without_constant",
]


def softmax_of_product(algebra: Algebra, work: Work) -> bool:
    """``exp(u) · 1/Σ exp(u)`` is ``softmax(u)``."""
    for i, (q, subs) in enumerate(work.factors):
        if not isinstance(q, Pow) or q.exponent >= 0:
            continue
        total = q.base
        found = sum_of_exp(total)
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
            work.factors = [f for f in kept if not is_unit(f[0])]
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
        found = sum_of_exp(q.base)
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


def is_unit(q: Quantity) -> bool:
    return isinstance(q, Pow) and q.exponent == 0


def sum_of_exp(total: Quantity) -> tuple[Fun, tuple[Index, ...], int] | None:
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
        u, _ = without_constant(algebra, u, axis)
    return Fun("softmax", (u,), u.shape, (axis,), whole=True)


def without_constant(
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


def sums_to_one(algebra: Algebra, work: Work) -> bool:
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
