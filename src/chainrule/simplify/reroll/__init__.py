"""Loops over elements, re-rolled: a graph of one-element terms as a few terms with labels.

A function written element by element traces to a scalar expression for every element.  Scalars
that differ in their subscripts alone are of one kind and become one array (:mod:`.groups`); their
subscripts, fitted by affine forms of labels, become the array's axes (:mod:`.lattice`); an
accumulation becomes a summed label, a write to ``y[i, j]`` an output label.

This is real algebra: sums are reordered.  It serves formulas and code made from them; the primal
program of a derivative by numbers is never re-rolled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...expr.nodes import Node, Scalar, Term
from ...expr.walk import topological
from .elements import Elements, PatternError, Raw, by_element
from .groups import Groups
from .lattice import Unfit
from .scalars import Linear, Scalars

__all__ = ["PatternError", "rerolled"]


def rerolled(
    roots: Sequence[Node],
    constants: Mapping[Node, Scalar] | None = None,
    counts: Mapping[Node, int] | None = None,
) -> list[Node]:
    """Nodes that compute the same as ``roots``, with loops over elements as terms with labels.

    ``constants`` are leaves that are mere numbers; ``counts`` are arrays of counts ``…, −1, 0, 1,
    …`` and where the 0 is in them: an element of one is its subscript.
    Raises :class:`PatternError` where some subscripts are no affine functions of loop counters.
    """
    elements = Elements(constants or {})
    elements.enter(roots)
    found: list[list[Node]] = []
    failed: list[PatternError] = []
    for running in (False, True):
        tried = len(found)
        for whole in (False, True):  # x[i] − x[i] is no other kind than x[i] − x[j], or nothing
            scalars = Scalars(_raws(elements, roots), running, whole)
            try:
                found.append(_rolled(elements, roots, scalars, counts or {}))
            except PatternError as error:
                failed.append(error)
            if not scalars.cancelled:
                break
        if any(not any(map(by_element, topological(nodes))) for nodes in found[tried:]):
            break
    if not found:
        raise failed[0]
    return min(found, key=_length)


def _length(nodes: Sequence[Node]) -> int:
    order = topological(nodes)
    return len(order) + sum(2 * len(n.constraints) for n in order if isinstance(n, Term))


def _raws(elements: Elements, roots: Sequence[Node]) -> list[Raw]:
    return [raw for r in roots if not elements.opaque(r) for raw in elements.array(r).flat]


def _totals(scalars: Scalars, array: Any) -> list[tuple[tuple[int, ...], Linear]]:
    """The scalars of an array, each with its place."""
    found = np.empty(array.shape, object)
    for at in np.ndindex(array.shape):
        found[at] = scalars.of(array[at])
    found = scalars.accumulated(found, array)
    return [(at, found[at]) for at in np.ndindex(array.shape)]


def _rolled(
    elements: Elements, roots: Sequence[Node], scalars: Scalars, counts: Mapping[Node, int]
) -> list[Node]:
    loops = [root for root in roots if not elements.opaque(root)]
    raws = [elements.array(root) for root in loops]
    totals = [_totals(scalars, array) for array in raws]
    groups = Groups(counts)
    groups.enter(total for one in totals for _, total in one)
    clusters = []
    for root, one in zip(loops, totals, strict=True):
        try:
            clusters.append(groups.clusters(one, root.shape))
        except Unfit:
            raise PatternError("the elements of the result are no loop nest", [root]) from None
    groups.arrange(clusters)
    groups.build()
    made = dict(
        zip(
            loops,
            (
                groups.total(c, range(root.ndim), root.shape, root.dtype)
                for root, c in zip(loops, clusters, strict=True)
            ),
            strict=True,
        )
    )
    return [made.get(root, root) for root in roots]
