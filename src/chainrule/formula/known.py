"""What products are known to be: a named quantity, a solution, one entry of a row."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

from ..expr.extents import ONE, Extent
from .quantity import Factor, Fun, Index, Pow, Prod, Quantity, Wrap, map_labels

if TYPE_CHECKING:
    from .algebra import Algebra
    from .work import Work

__all__ = ["fold", "fold_inside", "one_entry", "solution"]


def _split(q: Quantity) -> tuple[Quantity, Fraction]:
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


def fold(algebra: Algebra, work: Work) -> bool:
    """Factors that make up a product with a name are that name."""
    for product in algebra.folds:
        mapping: dict[int, Index] = {}
        taken: dict[int, Fraction] = {}
        for q, subs in product.factors:
            base, exponent = _split(q)
            for i, (other, other_subs) in enumerate(work.factors):
                there, power = _split(other)
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
            base, power = _split(q)
            rest = power - taken.get(i, Fraction(0))
            if rest:
                factors.append((algebra.power(base, rest), subs))
        factors.append((product, tuple(mapping[k] for k in range(len(product.extents)))))
        work.factors = factors
        return True
    return False


def solution(algebra: Algebra, work: Work) -> bool:
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
            known = Fun("solve", (q.args[0], b), b.shape, (0,), whole=True)
            if known in algebra.kept:
                del work.extents[label]
                kept = [f for k, f in enumerate(work.factors) if k not in (i, places[0])]
                work.factors = [*kept, (known, (subs[row],))]
                return True
    return False


def fold_inside(algebra: Algebra, work: Work) -> bool:
    """``(Σ_i g_i r_i)/s`` is ``Σ_i g_i y_i`` where ``y = r/s`` has a name."""
    for product in algebra.folds:
        for k, (outer, at) in enumerate(product.factors):
            base, exponent = _split(outer)
            rest = [f for i, f in enumerate(product.factors) if i != k]
            for i, (q, subs) in enumerate(work.factors):
                there, power = _split(q)
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


def one_entry(algebra: Algebra, work: Work) -> bool:
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
