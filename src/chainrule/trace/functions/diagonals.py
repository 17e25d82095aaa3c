"""Diagonals, triangles and windows: one factor under repeated, constrained or added labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...expr import build
from ...expr.build import broadcast, view
from ...expr.draft import Draft
from ...expr.subs import Sub, add, affine
from ..array import traced
from .common import axes_of, axis_of, implements, node_array

__all__: list[str] = []


@implements(np.diagonal)
def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    node = node_array(a)
    i, j = axis_of(axis1, node.ndim), axis_of(axis2, node.ndim)
    if i == j:
        raise ValueError("axis1 and axis2 cannot be the same")
    row, column = max(0, -offset), max(0, offset)
    length = max(0, min(node.shape[i] - row, node.shape[j] - column))
    rest = [k for k in range(node.ndim) if k not in (i, j)]
    shape = (*(node.shape[k] for k in rest), length)
    if 0 in shape:
        return traced(build.zeros(shape, node.dtype))
    label = node.ndim
    subs: list[Sub] = list(range(node.ndim))
    subs[i], subs[j] = affine(row, [(1, label)]), affine(column, [(1, label)])
    extents = {k: node.shape[k] for k in rest} | {label: length}
    return traced(view(node, extents, subs, [*rest, label], shape))


@implements(np.diag)
def diag(v: Any, k: int = 0) -> Any:
    node = node_array(v)
    if node.ndim == 2:
        return diagonal(v, k)
    if node.ndim != 1:
        raise ValueError("Input must be 1- or 2-d.")
    n = node.shape[0] + abs(k)
    out = [affine(max(0, -k), [(1, 0)]), affine(max(0, k), [(1, 0)])]
    if node.size == 0:
        return traced(build.zeros((n, n), node.dtype))
    draft = Draft((n, n), node.dtype, 1, {0: node.shape[0]}, [(node, (0,))], out)
    return traced(draft.finish())


@implements(np.diagflat)
def diagflat(v: Any, k: int = 0) -> Any:
    return diag(np.ravel(v), k)


def _triangle(m: Any, k: int, lower: bool) -> Any:
    node = node_array(m)
    if node.ndim == 1:
        node = broadcast(node, (node.shape[0], node.shape[0]))
    labels = list(range(node.ndim))
    row, column = labels[-2:]
    sign = 1 if lower else -1
    below = affine(sign * k, [(sign, row), (-sign, column)])
    extents = dict(enumerate(node.shape))
    draft = Draft(node.shape, node.dtype, 1, extents, [(node, tuple(labels))], labels, [below])
    return traced(draft.finish())


@implements(np.tril)
def tril(m: Any, k: int = 0) -> Any:
    return _triangle(m, int(k), True)


@implements(np.triu)
def triu(m: Any, k: int = 0) -> Any:
    return _triangle(m, int(k), False)


@implements(np.vander)
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Any:
    count = x.shape[0] if N is None else N
    powers = np.arange(count) if increasing else np.arange(count)[::-1]
    return np.stack([x ** int(p) for p in powers], axis=-1)


@implements(np.lib.stride_tricks.sliding_window_view)
def sliding_window_view(x: Any, window_shape: Any, axis: Any = None, **_: Any) -> Any:
    node = node_array(x)
    sizes = (window_shape,) if isinstance(window_shape, int) else tuple(window_shape)
    axes = tuple(range(node.ndim)) if axis is None else axes_of(axis, node.ndim)
    if len(axes) != len(sizes):
        raise ValueError("window_shape and axis must have the same length")
    subs: list[Sub] = list(range(node.ndim))
    extents = dict(enumerate(node.shape))
    out: list[Sub] = list(range(node.ndim))
    for size, k in zip(sizes, axes, strict=True):
        label = len(extents)
        extents[label] = int(size)
        extents[k] -= int(size) - 1
        if extents[k] <= 0:
            raise ValueError("window shape cannot be larger than input array shape")
        subs[k] = add(subs[k], label)
        out.append(label)
    shape = tuple(extents[k] for k in out if isinstance(k, int))
    return traced(view(node, extents, subs, out, shape))
