"""Where a Jacobian may be nonzero, coarsened into pixels: from its subscripts, at any size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..expr.nodes import Node, Term
from ..expr.subs import Sub, affine, labels_of, looks_of, parts_of, ravel
from ..lower.kernels import values_at
from .memory import check_size
from .structure import named
from .values import continues

if TYPE_CHECKING:
    from .object import Jacobian

__all__ = ["Layer", "layers", "spans"]

Array: TypeAlias = "np.ndarray[Any, Any]"

# a term of few points is looked at point by point, of a larger one at most so many
_ALL, _POINTS = 300_000, 2_000_000


@dataclass
class Layer:
    """One term: its string, the letters of its labels, the pixels that it reaches."""

    text: str
    names: dict[int, str]
    term: Term
    pixels: Array


def spans(jacobian: Jacobian) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The groups of axes along the rows and the columns of the picture."""
    groups = jacobian.out_shape, jacobian.in_shape
    return groups if jacobian.layout == "numerator" else groups[::-1]


def layers(jacobian: Jacobian, limit: int) -> list[Layer]:
    """The terms, in order of their strings, on a grid of at most ``limit`` pixels a side."""
    rows, columns = (max(prod(group), 1) for group in spans(jacobian))
    height, width = min(rows, limit), min(columns, limit)
    check_size(
        height * width * (24 + len(jacobian._terms)),
        f"a picture of {limit} pixels a side",
        None,
        "fewer pixels",
    )
    tables = _tables(jacobian)
    found = []
    for term in jacobian._terms:
        text, names = named(term, len(jacobian.out_shape))
        pixels = np.zeros((height, width), bool)
        row, column = _coordinates(term, jacobian)
        r, c = _points(term, row, column, (rows / height, columns / width), tables)
        pixels[r * height // rows, c * width // columns] = True
        found.append(Layer(text, names, term, pixels))
    return sorted(found, key=lambda layer: layer.text)


def _tables(jacobian: Jacobian) -> Mapping[Node, Any]:
    subs = [s for t in jacobian._terms for s in (*t.out, *t.constraints)]
    if not any(looks_of(s) for s in subs):
        return {}
    _, bindings = jacobian._bound()
    if any(continues(bindings[look.table]) for s in subs for look in looks_of(s)):
        raise TypeError("a Jacobian whose tables are traced has no picture")
    return bindings


def _coordinates(term: Term, jacobian: Jacobian) -> tuple[Sub, Sub]:
    n_out = len(jacobian.out_shape)
    flat = (
        ravel(term.out[:n_out], jacobian.out_shape),
        ravel(term.out[n_out:], jacobian.in_shape),
    )
    return flat if jacobian.layout == "numerator" else flat[::-1]


def _points(
    term: Term,
    row: Sub,
    column: Sub,
    pixel: tuple[float, float],
    tables: Mapping[Node, Any],
) -> tuple[Array, Array]:
    """Rows and columns of points of the term: all, or several for every pixel that it crosses."""
    labels = sorted({*labels_of(row), *labels_of(column)})
    few = prod(term.extents[k] for k in labels) <= _ALL
    steps = {k: 1 if few else _step(k, (row, column), pixel) for k in labels}
    while prod(-(-term.extents[k] // steps[k]) for k in labels) > _POINTS:
        widest = max(labels, key=lambda k: term.extents[k] // steps[k])
        steps[widest] *= 2
    axes = {}
    for axis, k in enumerate(labels):
        values = np.arange(0, term.extents[k], steps[k])
        if len(values) and values[-1] != term.extents[k] - 1:
            values = np.append(values, term.extents[k] - 1)
        axes[k] = values.reshape([-1 if a == axis else 1 for a in range(len(labels))])
    shape = tuple(axes[k].size for k in labels)
    grid = [np.broadcast_to(values_at(sub, axes, tables), shape) for sub in (row, column)]
    holds = np.ones(shape, bool)
    for sub in term.constraints:
        if all(k in axes for k in labels_of(sub)):
            holds &= values_at(sub, axes, tables) >= 0
    return grid[0][holds], grid[1][holds]


def _step(label: int, subs: Sequence[Sub], pixel: Sequence[float]) -> int:
    """A quarter of the way that a label takes within one pixel (1 where it is looked up)."""
    step = float("inf")
    for sub, size in zip(subs, pixel, strict=True):
        for coef, key in parts_of(sub)[1]:
            if key == label:
                step = min(step, size / abs(coef) / 4)
            elif not isinstance(key, int) and label in labels_of(_alone(key)):
                return 1
    return max(1, int(step)) if step != float("inf") else 1


def _alone(key: Any) -> Sub:
    return affine(0, [(1, key)])
