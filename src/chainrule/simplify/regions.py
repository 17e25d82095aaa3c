"""Boolean factors that are True on a box of indices: the loop nest runs over the box instead.

``a[3:8] = v`` selects by an indicator of the box [3, 8), and by its complement for what stays of
``a``.  As ranges of labels both store nothing; the complement of a box falls into boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..expr.draft import Draft
from ..expr.nodes import Map, Node, Term
from ..expr.subs import Sub, affine, parts_of
from .terms import copy

__all__ = ["split_regions"]

# (first index, step, number of indices) along one axis
_Range = tuple[int, int, int]
# the most boxes that a complement may fall into for each axis: a step of 4 leaves 3 others
_MOST = 4


def split_regions(draft: Draft, most: int) -> list[Draft]:
    """The draft over the boxes that its indicators leave; ``most``: no more drafts than that."""
    done: list[Draft] = []
    pending = [draft]
    while pending:
        current = pending.pop()
        if current.zero:
            continue
        found = _first(current, most - len(done) - len(pending))
        if found is None:
            done.append(current)
            continue
        position, boxes = found
        for box in reversed(boxes):
            part = copy(current)
            part.inline(position, box)
            pending.append(part)
    return done


def _first(draft: Draft, most: int) -> tuple[int, list[Term]] | None:
    """The first factor that is an indicator, and the boxes on which it is True."""
    for position, (node, _) in enumerate(draft.factors):
        if node.dtype.kind != "b":
            continue
        boxes = _boxes(node)
        if boxes is not None and len(boxes) <= max(most, 1):
            return position, boxes
    return None


def _boxes(node: Node) -> list[Term] | None:
    if isinstance(node, Term):
        return [node] if _region(node) is not None else None
    if isinstance(node, Map) and node.op == "logical_not":
        (inner,) = node.args
        region = _region(inner) if isinstance(inner, Term) else None
        if region is not None:
            return _complement(region, node.shape)
    return None


def _region(term: Term) -> list[_Range] | None:
    """The indices that an indicator without factors selects, axis by axis."""
    if term.factors or term.constraints or term.dtype.kind != "b":
        return None
    found: list[_Range] = []
    seen: set[int] = set()
    for sub in term.out:
        constant, parts = parts_of(sub)
        if not parts:
            found.append((constant, 1, 1))
            continue
        step, label = parts[0]
        if len(parts) > 1 or not isinstance(label, int) or label in seen:
            return None
        seen.add(label)
        count = term.extents[label]
        found.append((constant, step, count))
    return found if len(seen) == len(term.extents) else None


def _complement(region: Sequence[_Range], shape: tuple[int, ...]) -> list[Term] | None:
    """Axis by axis: inside of the region before it, outside of it here, anywhere after it."""
    boxes: list[Term] = []
    for axis, (own, extent) in enumerate(zip(region, shape, strict=True)):
        outside = list(_outside(own, extent))
        if len(outside) > _MOST:
            return None
        for other in outside:
            rest = [(0, 1, n) for n in shape[axis + 1 :]]
            box = Draft(shape, np.dtype(bool), 1, *_loops([*region[:axis], other, *rest])).term()
            assert box is not None
            boxes.append(box)
    return boxes


def _loops(
    ranges: Sequence[_Range],
) -> tuple[dict[int, int], list[tuple[Node, tuple[Sub, ...]]], list[Sub]]:
    extents = {label: count for label, (_, _, count) in enumerate(ranges)}
    return extents, [], [affine(first, [(step, k)]) for k, (first, step, _) in enumerate(ranges)]


def _outside(own: _Range, extent: int) -> Iterator[_Range]:
    """The indices below ``extent`` that a range leaves out, as ranges."""
    first, step, count = own
    if step < 0:
        first, step = first + step * (count - 1), -step
    last = first + step * (count - 1)
    if step == 1 or count == 1:
        ranges = [range(first), range(last + 1, extent)]
    else:
        others = [range((first + k) % step, extent, step) for k in range(1, step)]
        ranges = [range(first % step, first, step), range(last + step, extent, step), *others]
    for indices in ranges:
        if indices:
            yield indices.start, indices.step, len(indices)
