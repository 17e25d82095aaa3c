"""Terms that write shifted windows of the same axes, brought to a common origin and added.

The Hessian of ``Σ (x[i+1] − x[i]²)²`` meets its diagonal twice, as ``a|a`` and as ``a+1|a+1``: over
the union of both windows they are one term.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TypeAlias

import numpy as np

from ..expr.draft import Draft
from ..expr.nodes import Node, Term
from ..expr.subs import Sub, affine, parts_of
from .sums import accumulate

__all__ = ["common_origin", "pattern"]

Core: TypeAlias = Callable[[Term], tuple[Node, list[int]]]


def _plain(sub: Sub) -> tuple[int, int | None] | None:
    """``(constant, label)`` of a subscript ``c + label`` (label None for a constant)."""
    constant, parts = parts_of(sub)
    if not parts:
        return constant, None
    if len(parts) == 1 and parts[0][0] == 1 and isinstance(parts[0][1], int):
        return constant, parts[0][1]
    return None


def pattern(term: Term) -> tuple[object, ...] | None:
    """What terms must share to be windows of the same axes: the labels axis by axis."""
    if term.constraints:
        return None
    plain = [_plain(sub) for sub in term.out]
    if any(p is None for p in plain):
        return None
    return (term.shape, tuple(p[1] if p[1] is not None else -1 - p[0] for p in plain if p))


def common_origin(first: Term, second: Term, limit: int, core: Core) -> Term | None:
    """The sum of two terms of one pattern over the union of their windows, if it fits ``limit``.

    ``core(term)`` gives the product of a term's factors and the labels it is over.
    """
    shift: dict[int, int] = {}
    for s1, s2 in zip(first.out, second.out, strict=True):
        one, two = _plain(s1), _plain(s2)
        assert one is not None
        assert two is not None
        label = one[1]
        if label is None:
            continue
        delta = two[0] - one[0]
        if shift.setdefault(label, delta) != delta:
            return None
    extents: dict[int, int] = {}
    places: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for label, delta in shift.items():
        low = min(0, delta)
        extents[label] = max(first.extents[label], delta + second.extents[label]) - low
        places[0][label], places[1][label] = -low, delta - low
    labels = sorted(shift)
    shape = tuple(extents[k] for k in labels)
    if prod(shape) > limit:
        return None
    dtype = np.result_type(first.dtype, second.dtype)
    parts = [
        _placed(term, labels, shape, place, dtype, core)
        for term, place in zip((first, second), places, strict=True)
    ]
    total = accumulate(parts, shape, dtype)
    out: list[Sub] = []
    for sub in first.out:
        plain = _plain(sub)
        assert plain is not None
        constant, label = plain
        out.append(sub if label is None else affine(constant - places[0][label], [(1, label)]))
    return Draft(first.shape, dtype, 1, extents, [(total, tuple(labels))], out).term()


def _placed(
    term: Term,
    labels: list[int],
    shape: tuple[int, ...],
    place: dict[int, int],
    dtype: np.dtype[np.generic],
    core: Core,
) -> Node:
    """The term's value over the union of the windows, zero outside of its own."""
    node, over = core(term)
    extents = {k: term.extents[k] for k in labels}
    out = [affine(place[k], [(1, k)]) for k in labels]
    return Draft(shape, dtype, 1, extents, [(node, tuple(over))], out).finish()
