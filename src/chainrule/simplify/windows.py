"""Terms that write windows of the same axes, brought to a common origin and added.

The Hessian of ``Σ (x[i+1] − x[i]²)²`` meets its diagonal twice, as ``a|a`` and as ``a+1|a+1``: over
the union of both windows they are one term.  A row or an element of its own (``0a|0a``) is a window
of extent 1.
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

__all__ = ["common_origin", "plain"]

Core: TypeAlias = Callable[[Term], tuple[Node, list[int]]]
# axis by axis: where the window begins, and its label (None: one index)
Window: TypeAlias = list[tuple[int, int | None]]


def plain(term: Term) -> Window | None:
    """The window that a term writes, None where it is not one: each axis ``c + label`` or ``c``."""
    if term.constraints:
        return None
    found: Window = []
    for sub in term.out:
        constant, parts = parts_of(sub)
        if not parts:
            found.append((constant, None))
        elif len(parts) == 1 and parts[0][0] == 1 and isinstance(parts[0][1], int):
            found.append((constant, parts[0][1]))
        else:
            return None
    return found


def _groups(one: Window, two: Window) -> list[list[int]] | None:
    """Axes that move together, one label a group, if the two windows can share labels."""
    groups: dict[object, list[int]] = {}
    for axis, ((c1, k1), (c2, k2)) in enumerate(zip(one, two, strict=True)):
        if k1 is not None or k2 is not None:
            groups.setdefault((k1, k2), []).append(axis)
        elif c1 != c2:
            groups.setdefault(c2 - c1, []).append(axis)
    firsts = [k[0] for k in groups if isinstance(k, tuple) and k[0] is not None]
    seconds = [k[1] for k in groups if isinstance(k, tuple) and k[1] is not None]
    if len(set(firsts)) < len(firsts) or len(set(seconds)) < len(seconds):
        return None
    return list(groups.values())


def common_origin(
    terms: tuple[Term, Term], windows: tuple[Window, Window], limit: int, core: Core
) -> Term | None:
    """The sum of two terms over the union of their windows, if it fits ``limit`` elements.

    ``core(term)`` gives the product of a term's factors and the labels it is over.
    """
    one, two = windows
    groups = _groups(one, two)
    if groups is None:
        return None
    first = terms[0]
    extents: dict[int, int] = {}
    # for each term: its own label of each group, and where its window begins in the union
    own: tuple[list[int | None], list[int | None]] = ([], [])
    place: tuple[list[int], list[int]] = ([], [])
    out: list[Sub] = [affine(c, []) for c, _ in one]
    for label, axes in enumerate(groups):
        shift = {two[axis][0] - one[axis][0] for axis in axes}
        if len(shift) > 1:
            return None
        (delta,) = shift
        low = min(0, delta)
        ends = []
        for k, (window, begin) in enumerate(((one, -low), (two, delta - low))):
            mine = window[axes[0]][1]
            own[k].append(mine)
            place[k].append(begin)
            ends.append(begin + (1 if mine is None else terms[k].extents[mine]))
        extents[label] = max(ends)
        for axis in axes:
            out[axis] = affine(one[axis][0] + low, [(1, label)])
    shape = tuple(extents.values())
    if prod(shape) > limit:
        return None
    dtype = np.result_type(first.dtype, terms[1].dtype)
    parts = []
    for term, labels, begins in zip(terms, own, place, strict=True):
        node, over = core(term)
        inner = {k: term.extents[k] for k in labels if k is not None}
        into = [
            affine(b, [(1, k)] if k is not None else [])
            for b, k in zip(begins, labels, strict=True)
        ]
        parts.append(Draft(shape, dtype, 1, inner, [(node, tuple(over))], into).finish())
    total = accumulate(parts, shape, dtype)
    return Draft(first.shape, dtype, 1, extents, [(total, tuple(extents))], out).term()
