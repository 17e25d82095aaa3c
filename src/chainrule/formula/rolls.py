"""Indices around an axis: what is written at ``(n + 1) mod N`` is read at ``(n − 1) mod N``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..expr.extents import ONE, ZERO, Extent
from .quantity import Form, Index, Wrap, labels_in, map_labels
from .work import Work

if TYPE_CHECKING:
    from .algebra import Algebra

__all__ = ["read_around_the_axis"]


def read_around_the_axis(algebra: Algebra, work: Work) -> bool:
    """Solve an output index ``(label + …) mod N`` for a label that runs over the whole axis."""
    del algebra
    for axis, sub in enumerate(work.out):
        inner = _around(sub, work.shape[axis])
        if inner is None:
            continue
        for coef, label in inner.parts:
            if not isinstance(label, int) or coef not in (ONE, -ONE):
                continue
            if work.extents[label] != work.shape[axis] or not _bare(work, label, axis):
                continue
            place = max(work.extents) + 1
            rest = tuple((-coef * c, k) for c, k in inner.parts if k != label)
            value = Form(-coef * inner.const, ((coef, place), *rest))
            around = Wrap("mod", work.shape[axis], (map_labels(value, {}),))
            work.out[axis] = place
            work.extents[place] = work.shape[axis]
            work.rename({label: Form(ZERO, ((ONE, around),))})
            return True
    return False


def _around(sub: Index, extent: Extent) -> Form | None:
    """The form of which an index is the remainder."""
    if isinstance(sub, int) or sub.const or len(sub.parts) != 1:
        return None
    coef, key = sub.parts[0]
    if coef != ONE or not isinstance(key, Wrap) or key.kind != "mod" or key.n != extent:
        return None
    inner = key.subs[0]
    return inner if isinstance(inner, Form) else None


def _bare(work: Work, label: int, axis: int) -> bool:
    """Whether a label stands alone wherever else it occurs, and only in factors."""
    others = [s for k, s in enumerate(work.out) if k != axis] + work.constraints
    if any(label in labels_in(s) for s in others):
        return False
    return all(
        isinstance(s, int) or label not in labels_in(s) for _, subs in work.factors for s in subs
    )
