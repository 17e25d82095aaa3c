"""Windows: constraints on labels that always hold, and labels counted from where a window starts.

``Σ_i G[i] w[i − n]`` where ``0 ≤ i − n < K`` is ``Σ_k G[n + k] w[k]``, without a condition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

from ..expr.extents import ONE, ZERO, Extent, extent
from ..expr.extents import name as named
from .quantity import Form, Index, labels_in, map_labels

if TYPE_CHECKING:
    from .algebra import Algebra
    from .work import Work

__all__ = ["counted_from_the_window", "implied"]


@lru_cache(maxsize=4096)
def never_negative(value: Extent) -> bool:
    """Whether an expression is at least 0 wherever all names are at least 1, as far as is seen."""
    if len(value.bottom) > 1 or value.bottom[0][0] or value.bottom[0][1] <= 0:
        return False
    total = ZERO
    for mono, coef in value.top:
        part = extent(coef)
        for key, power in mono:
            if power.denominator != 1 or power < 0:
                return False
            part = part * (named(key) + 1) ** int(power)
        total = total + part
    return all(coef >= 0 for _, coef in total.top)


def implied(constraint: Index, extents: Mapping[int, Extent]) -> bool:
    """Whether ``constraint ≥ 0`` holds wherever its labels run."""
    if isinstance(constraint, int):
        return True
    least = constraint.const
    for coef, key in constraint.parts:
        if not isinstance(key, int):
            return False
        if coef.negative:
            least = least + coef * (extents[key] - 1)
    return never_negative(least) or any(
        never_negative(least - (extents[key] - 1)) for key in labels_in(constraint)
    )


def counted_from_the_window(algebra: Algebra, work: Work) -> bool:
    """Drop constraints that always hold; count labels so that as few as possible are left."""
    del algebra
    if not work.constraints:
        return False
    kept = [c for c in dict.fromkeys(work.constraints) if not implied(c, work.extents)]
    changed = len(kept) < len(work.constraints)
    work.constraints = kept
    best = _measure(work)
    chosen: Work | None = None
    for other in _recounted(work):
        found = _measure(other)
        if found < best:
            best, chosen = found, other
    if chosen is not None:
        work.factors, work.out = chosen.factors, chosen.out
        work.constraints, work.extents = chosen.constraints, chosen.extents
    return changed or chosen is not None


def _measure(work: Work) -> tuple[int, int, int]:
    """How many constraints there are, and how many axes are not read or written by a label."""
    inside = [s for _, subs in work.factors for s in subs]
    return (
        len(work.constraints),
        sum(not isinstance(s, int) for s in work.out),
        sum(not isinstance(s, int) for s in inside),
    )


def _recounted(work: Work) -> Iterator[Work]:
    """The product with a label replaced by an index that it stands in: ``k = i − n``."""
    axes = list(zip(work.out, work.shape, strict=True))
    axes += [axis for q, subs in work.factors for axis in zip(subs, q.shape, strict=True)]
    for index, length in axes:
        if isinstance(index, int) or not all(isinstance(key, int) for _, key in index.parts):
            continue
        for coef, label in index.parts:
            if not isinstance(label, int) or abs(coef) != ONE:
                continue
            fresh = max(work.extents) + 1
            rest = [(-c * coef, k) for c, k in index.parts if k != label]
            value = map_labels(Form(-index.const * coef, ((coef, fresh), *rest)), {})
            yield _with(work, label, value, fresh, length)


def _with(work: Work, label: int, value: Index, fresh: int, length: Extent) -> Work:
    """The product with ``label`` replaced by ``value``, in which a fresh label stands."""
    mapping: dict[int, Index] = {label: value}
    extents = {k: e for k, e in work.extents.items() if k != label} | {fresh: length}
    last = Form(work.extents[label] - 1, ((-ONE, label),))
    constraints = [map_labels(c, mapping) for c in work.constraints]
    constraints += [value, map_labels(last, mapping)]
    return type(work)(
        work.coef,
        extents,
        [(q, tuple(map_labels(s, mapping) for s in subs)) for q, subs in work.factors],
        [map_labels(s, mapping) for s in work.out],
        [c for c in dict.fromkeys(constraints) if not implied(c, extents)],
        work.shape,
    )
